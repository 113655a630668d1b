"""Models of other people's kind, re-typed small: what `wsjax.trace` has to read."""
