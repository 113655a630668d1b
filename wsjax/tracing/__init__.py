"""A JAX function -> the Spec of its parameters, verified by running it."""

from wsjax.tracing.traced import Traced, trace

__all__ = ["Traced", "trace"]
