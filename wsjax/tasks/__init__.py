"""Tasks: train an encoder with a head on a zoo, keep it, restore it."""
