"""Zoos of several architectures, and of training runs with several checkpoints each.

    vectors [network, longest]  --which-->  specs        runs [network]: never in two splits

A zoo of classifiers with two activations has two specs already: an activation is part of
what a network is.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from wsjax.networks import Spec
from wsjax.zoos import Zoo


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Networks of several architectures, with what is known about them.

    Attributes:
        vectors: [network, longest] float32, each row as `ravel` lays out a network of its
            spec, zero beyond it.
        specs: the architectures.
        which: [network], the architecture of each, as an index of `specs`.
        labels: name -> [network] float32, such as a test accuracy.
        runs: [network], a number for each training run; its checkpoints share it.
        splits: name -> networks in it, int; disjoint, and each run in at most one.
    """

    vectors: np.ndarray
    specs: tuple[Spec, ...]
    which: np.ndarray
    labels: Mapping[str, np.ndarray]
    runs: np.ndarray
    splits: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        n, longest = len(self.vectors), max((s.count for s in self.specs), default=0)
        if self.vectors.ndim != 2 or self.vectors.shape[1] < longest:
            raise ValueError(
                f"expected vectors [network, {longest} or more], got {self.vectors.shape}"
            )
        for name, array in {"which": self.which, "runs": self.runs, **self.labels}.items():
            if np.shape(array) != (n,):
                raise ValueError(f"expected {name!r} of {n} networks, got {np.shape(array)}")
        if n == 0 or not (self.which.min() >= 0 and self.which.max() < len(self.specs)):
            raise ValueError(
                f"expected networks of architectures 0..{len(self.specs) - 1}, got "
                f"{sorted(set(self.which.tolist()))} of {n} networks"
            )
        owner = {}
        for name, rows in self.splits.items():
            if len(rows) and not (min(rows) >= 0 and max(rows) < n):
                raise ValueError(f"split {name!r} names networks outside 0..{n - 1}")
            for run in np.unique(self.runs[rows]).tolist():
                if owner.setdefault(run, name) != name:
                    raise ValueError(f"run {run} sits in two splits, {owner[run]!r} and {name!r}")
            if len(np.unique(rows)) != len(rows):
                raise ValueError(f"split {name!r} names a network twice")
        for s, spec in enumerate(self.specs):  # a Zoo looks at every weight
            mine = self.which == s
            if self.vectors[mine, spec.count :].any():
                raise ValueError(
                    f"expected zeros beyond the {spec.count} weights of architecture {s}"
                )
            if mine.any():
                Zoo(self.vectors[mine, : spec.count], spec, {})

    def __len__(self) -> int:
        return len(self.vectors)

    def select(self, networks: np.ndarray) -> "Mixture":
        """Some of the networks, in the order given; splits keep those that are among them.

        Args:
            networks: [i] int, each at most once; or [network] bool.
        """
        networks = np.asarray(networks)
        if networks.dtype == bool:
            networks = np.flatnonzero(networks)
        place = np.full(len(self), -1)
        place[networks] = np.arange(len(networks))
        splits = {k: place[v][place[v] >= 0] for k, v in self.splits.items()}
        labels = {k: v[networks] for k, v in self.labels.items()}
        rest = (self.which[networks], labels, self.runs[networks], splits)
        return Mixture(self.vectors[networks], self.specs, *rest)

    def compact(self) -> "Mixture":
        """The same networks, without architectures that none of them has."""
        present, which = np.unique(self.which, return_inverse=True)
        specs = tuple(self.specs[s] for s in present)
        longest = max(s.count for s in specs)
        vectors = self.vectors[:, :longest]
        return dataclasses.replace(self, vectors=vectors, specs=specs, which=which)

    def part(self, split: str, label: str) -> tuple["Mixture", np.ndarray]:
        """The networks of a split, and their labels [network].

        Raises:
            ValueError: there is no such split or label.
        """
        if split not in self.splits:
            raise ValueError(f"expected a split of {sorted(self.splits)}, got {split!r}")
        if label not in self.labels:
            raise ValueError(f"expected a label of {sorted(self.labels)}, got {label!r}")
        rows = self.splits[split]
        return self.select(rows), self.labels[label][rows]

    def of(self, s: int) -> Zoo:
        """The networks of architecture `s`, with their share of the splits.

        Raises:
            ValueError: there is none of them.
        """
        mine = self.select(self.which == s) if (self.which == s).any() else None
        if mine is None:
            raise ValueError(f"expected networks of architecture {s}, got none of {len(self)}")
        spec = self.specs[s]
        return Zoo(mine.vectors[:, : spec.count], spec, mine.labels, mine.splits)


def mix(parts: Sequence[tuple[Zoo, np.ndarray]]) -> Mixture:
    """Zoos as one, each with the runs [network] of its networks; splits are left out.

    Zoos of one spec share it. Runs with one number are one run, in whatever zoos.

    Raises:
        ValueError: there is no zoo, or they have other labels than the first.
    """
    if not parts:
        raise ValueError("expected at least one zoo, got none")
    names = set(parts[0][0].labels)
    specs, which, rows = [], [], []
    longest = max(zoo.spec.count for zoo, _ in parts)
    for zoo, _ in parts:
        if set(zoo.labels) != names:
            raise ValueError(f"expected labels {sorted(names)}, got {sorted(zoo.labels)}")
        if zoo.spec not in specs:
            specs.append(zoo.spec)
        which.append(np.full(len(zoo), specs.index(zoo.spec)))
        rows.append(np.pad(zoo.vectors, [(0, 0), (0, longest - zoo.vectors.shape[1])]))
    labels = {k: np.concatenate([zoo.labels[k] for zoo, _ in parts]) for k in sorted(names)}
    runs = np.concatenate([np.asarray(r) for _, r in parts])
    return Mixture(np.concatenate(rows), tuple(specs), np.concatenate(which), labels, runs)


def join(mixtures: Sequence[Mixture]) -> Mixture:
    """Mixtures as one; no run of one is a run of another, and all stay in their splits.

    Labels are those that all have.

    Raises:
        ValueError: there is no mixture.
    """
    if not mixtures:
        raise ValueError("expected at least one mixture, got none")
    specs = tuple(dict.fromkeys(s for m in mixtures for s in m.specs))
    longest = max(m.vectors.shape[1] for m in mixtures)
    names = sorted(set.intersection(*(set(m.labels) for m in mixtures)))
    which, runs, splits, vectors, start = [], [], {}, [], 0
    for i, m in enumerate(mixtures):
        which.append(np.array([specs.index(s) for s in m.specs])[m.which])
        _, own = np.unique(m.runs, return_inverse=True)
        runs.append(own if not i else own + 1 + runs[-1].max())
        vectors.append(np.pad(m.vectors, [(0, 0), (0, longest - m.vectors.shape[1])]))
        for name, rows in m.splits.items():
            splits.setdefault(name, []).append(rows + start)
        start += len(m)
    labels = {k: np.concatenate([m.labels[k] for m in mixtures]) for k in names}
    splits = {k: np.concatenate(v) for k, v in splits.items()}
    whole = np.concatenate(vectors), specs, np.concatenate(which), labels, np.concatenate(runs)
    return Mixture(*whole, splits)


def single(zoo: Zoo) -> Mixture:
    """A zoo of one architecture as a mixture, each network a run of its own; keeps splits."""
    none = np.zeros(len(zoo), int)
    return Mixture(zoo.vectors, (zoo.spec,), none, zoo.labels, np.arange(len(zoo)), zoo.splits)


def split(mixture: Mixture, sizes: Mapping[str, int], seed: int) -> Mixture:
    """Deals training runs at random into disjoint parts; a run's checkpoints stay together.

    Args:
        mixture: its own splits are dropped.
        sizes: name -> number of runs.
        seed: of the deal.

    Raises:
        ValueError: the sizes add up to more runs than there are.
    """
    runs = np.unique(mixture.runs)
    if sum(sizes.values()) > len(runs):
        raise ValueError(f"expected at most {len(runs)} runs in all splits, got {dict(sizes)}")
    order, start, parts = np.random.default_rng(seed).permutation(runs), 0, {}
    for name, size in sizes.items():
        parts[name] = np.flatnonzero(np.isin(mixture.runs, order[start : start + size]))
        start += size
    return dataclasses.replace(mixture, splits=parts)
