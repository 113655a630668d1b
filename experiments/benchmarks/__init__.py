"""Speed and memory: each benchmark appends records of its own."""
