"""The layers of a function, read off its jaxpr: `structure`, and with its axes the Spec."""

from wsjax.tracing.layers.structure import Structure, spec_of, structure

__all__ = ["Structure", "spec_of", "structure"]
