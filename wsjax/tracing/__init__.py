"""A JAX function -> the Spec of its parameters, verified by running it."""
