"""A JAX function -> the Spec of its parameters, verified by running it."""

from wsjax.tracing.torch_modules import from_torch
from wsjax.tracing.traced import Traced, trace

__all__ = ["Traced", "from_torch", "trace"]
