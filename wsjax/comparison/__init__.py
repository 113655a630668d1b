"""Two networks."""
