"""Model zoos: sets of networks with labels and a split; how they are made and kept."""

from wsjax.zoos.zoo import Zoo, from_params, split

__all__ = ["Zoo", "from_params", "split"]
