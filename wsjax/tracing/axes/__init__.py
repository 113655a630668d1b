"""The axes of a function's parameters: which are the same neurons, and which are fixed."""

from wsjax.tracing.axes.naming import Axes, axes

__all__ = ["Axes", "axes"]
