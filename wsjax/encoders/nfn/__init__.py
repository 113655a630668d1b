"""NFN: permutation-equivariant neural functionals."""

from wsjax.encoders.nfn.nfn import NFN

__all__ = ["NFN"]
