"""Commands that make model zoos."""
