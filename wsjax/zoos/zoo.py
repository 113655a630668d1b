"""Model zoos: sets of networks with labels and a split.

    Zoo(vectors [network, entry], spec, labels {name: [network]}, splits {name: [i]})
    networks i and j of one training run never sit in different splits

`zoos.sine` makes one by training, `zoos.store` keeps zoos on disk, `zoos.datasheet` says
what a sine zoo is.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from wsjax.networks import Params, Spec, check, ravel, unravel


@dataclasses.dataclass(frozen=True)
class Zoo:
    """Networks of one architecture, with what is known about them.

    Attributes:
        vectors: [network, entry] float32, each row a network as `ravel` lays it out.
        spec: what the entries mean.
        labels: name -> [network] float32, such as the frequency an INR was fitted to.
        splits: name -> networks in it, int; disjoint. Empty for a zoo not yet split.
    """

    vectors: np.ndarray
    spec: Spec
    labels: Mapping[str, np.ndarray]
    splits: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        n = len(self.vectors)
        if self.vectors.ndim != 2 or self.vectors.shape[1] != self.spec.count:
            raise ValueError(
                f"expected vectors [network, {self.spec.count}], got {self.vectors.shape}"
            )
        if n == 0:
            raise ValueError("the zoo is empty: expected at least one network, got 0")
        wrong = [f"label {k!r} {np.shape(v)}" for k, v in self.labels.items() if len(v) != n]
        if wrong:
            raise ValueError(f"expected labels of {n} networks, got {', '.join(wrong)}")
        members = np.concatenate([np.zeros(0, int), *self.splits.values()])
        if len(np.unique(members)) != len(members):
            raise ValueError("a network sits in two splits")
        if len(members) and not (members.min() >= 0 and members.max() < n):
            raise ValueError(f"a split names networks outside 0..{n - 1}")
        check(unravel(self.vectors, self.spec), self.spec)

    def __len__(self) -> int:
        return len(self.vectors)

    def params(self, i: int | slice) -> Params:
        """One network, or several with a batch axis, as named arrays."""
        return unravel(self.vectors[i], self.spec)

    def part(self, split: str, label: str) -> tuple[np.ndarray, np.ndarray]:
        """The vectors [network, entry] and labels [network] of a split.

        Raises:
            ValueError: there is no such split or label.
        """
        if split not in self.splits:
            raise ValueError(f"expected a split of {sorted(self.splits)}, got {split!r}")
        if label not in self.labels:
            raise ValueError(f"expected a label of {sorted(self.labels)}, got {label!r}")
        rows = self.splits[split]
        return self.vectors[rows], self.labels[label][rows]


def from_params(params: Params, spec: Spec, labels: Mapping[str, np.ndarray]) -> Zoo:
    """A zoo from named arrays [network, ...], checked against the spec."""
    check(params, spec)
    vectors = np.asarray(ravel(params, spec), np.float32)
    return Zoo(vectors, spec, {k: np.asarray(v, np.float32) for k, v in labels.items()})


def split(zoo: Zoo, sizes: Mapping[str, int], seed: int) -> Zoo:
    """Deals the networks of a zoo at random into disjoint parts of the given sizes.

    Raises:
        ValueError: the sizes add up to more networks than there are.
    """
    if sum(sizes.values()) > len(zoo):
        raise ValueError(f"expected at most {len(zoo)} networks in all splits, got {dict(sizes)}")
    order, start, parts = np.random.default_rng(seed).permutation(len(zoo)), 0, {}
    for name, size in sizes.items():
        parts[name] = order[start : start + size]
        start += size
    return dataclasses.replace(zoo, splits=parts)
