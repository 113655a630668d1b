"""Model zoos: sets of networks with labels and splits; how they are made and kept."""

from wsjax.zoos.zoo import Zoo, concatenate, from_params, join, split

__all__ = ["Zoo", "concatenate", "from_params", "join", "split"]
