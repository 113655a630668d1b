"""The set of networks that everything learns from: `Zoo`.

    vectors [network, longest]  --which-->  specs        runs [network]: never in two splits

A zoo has networks of one architecture or of several, and of each training run one checkpoint
or several. Two activations are two architectures: an activation is part of a `Spec`.

    zoo = Zoo.of_spec(vectors, spec, {"accuracy": accuracies})
    zoo = split(zoo, {"train": 800, "validation": 100, "test": 100}, seed=0)
    networks, accuracies = zoo.part("train", "accuracy")
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from wsjax import checks, summaries
from wsjax.networks import Params, Spec, check, mistakes, ravel, real, unravel

Labels = Mapping[str, np.ndarray]
Splits = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Zoo:
    """Networks with their labels, training runs and splits.

    Lists and arrays of other number types become arrays of these.

    Attributes:
        vectors: [network, longest] float32; each row as `ravel` lays out a network of its
            spec, zero beyond it.
        specs: the architectures.
        which: [network], the architecture of each, as an index of `specs`.
        labels: name -> [network] float32, such as a test accuracy.
        runs: [network], a number for each training run; its checkpoints share it.
        splits: name -> networks in it, int; disjoint, and each run in at most one. Empty for
            a zoo not yet split.

    Raises:
        ValueError: shapes disagree, a weight is not finite (named by array and network), a row
            is not zero beyond its network, or a run sits in two splits.
        TypeError: a field holds something else than such arrays; says which.
    """

    vectors: np.ndarray
    specs: tuple[Spec, ...]
    which: np.ndarray
    labels: Labels
    runs: np.ndarray
    splits: Splits = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.specs, list | tuple):
            raise TypeError(f"specs: expected a tuple of Specs, got {type(self.specs).__name__}")
        for spec in self.specs:
            checks.expect("specs", spec, Spec)
        for field in ("labels", "splits"):
            checks.expect(field, getattr(self, field), Mapping)
        arrays = {
            "vectors": _numbers("vectors", self.vectors, np.float32),
            "specs": tuple(self.specs),
            "which": _whole("which", self.which),
            "labels": {k: _numbers(f"label {k!r}", x) for k, x in self.labels.items()},
            "runs": _whole("runs", self.runs),
            "splits": {k: _whole(f"split {k!r}", x) for k, x in self.splits.items()},
        }
        for field, value in arrays.items():
            object.__setattr__(self, field, value)
        longest = max((s.count for s in self.specs), default=0)
        if self.vectors.ndim != 2 or self.vectors.shape[1] < longest:
            raise ValueError(
                f"expected vectors [network, {longest} or more], got {self.vectors.shape}"
            )
        if (n := len(self.vectors)) == 0:
            raise ValueError("the zoo is empty: expected at least one network, got 0")
        for name, array in {"which": self.which, "runs": self.runs, **self.labels}.items():
            if np.shape(array) != (n,):
                raise ValueError(f"expected {name!r} of {n} networks, got {np.shape(array)}")
        if not (self.which.min() >= 0 and self.which.max() < len(self.specs)):
            raise ValueError(
                f"expected networks of architectures 0..{len(self.specs) - 1}, got "
                f"{sorted(set(self.which.tolist()))} of {n} networks"
            )
        self._check_splits()
        self.check()

    def check(self) -> None:
        """Raises a ValueError unless weights are finite, and zero beyond each network."""
        wrong = []
        for s, spec in enumerate(self.specs):
            members = np.flatnonzero(self.which == s)
            vectors = self.vectors[members]
            if vectors[:, spec.count :].any():
                raise ValueError(
                    f"expected zeros beyond the {spec.count} weights of architecture {s}"
                )
            wrong += mistakes(unravel(vectors[:, : spec.count], spec), spec, members)
        checks.raise_all("networks do not match their specs", wrong)

    def _check_splits(self):
        owner = {}
        for name, rows in self.splits.items():
            if rows.ndim != 1:
                raise ValueError(f"split {name!r}: expected networks [i], got shape {rows.shape}")
            if len(rows) and not (min(rows) >= 0 and max(rows) < len(self)):
                raise ValueError(f"split {name!r} names networks outside 0..{len(self) - 1}")
            for run in np.unique(self.runs[rows]).tolist():
                if owner.setdefault(run, name) != name:
                    raise ValueError(f"run {run} sits in two splits, {owner[run]!r} and {name!r}")
            if len(np.unique(rows)) != len(rows):
                raise ValueError(f"split {name!r} names a network twice")

    @classmethod
    def of_spec(
        cls,
        vectors: np.ndarray,
        spec: Spec,
        labels: Labels,
        splits: Splits | None = None,
        runs: np.ndarray | None = None,
    ) -> "Zoo":
        """A zoo of one architecture.

        Args:
            vectors: [network, spec.count] float32.
            spec: the architecture.
            labels: name -> [network] float32.
            splits: name -> networks in it.
            runs: [network]; each network a run of its own if None.

        Raises:
            ValueError, TypeError: vectors are of another length, or as `Zoo`.
        """
        checks.expect("spec", spec, Spec)
        if np.ndim(vectors) != 2 or np.shape(vectors)[1] != spec.count:
            raise ValueError(f"expected vectors [network, {spec.count}], got {np.shape(vectors)}")
        n = len(vectors)
        runs = np.arange(n) if runs is None else np.asarray(runs)
        splits = {} if splits is None else splits
        return cls(vectors, (spec,), np.zeros(n, int), labels, runs, splits)

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        runs = summaries.count(len(np.unique(self.runs)), "run")
        parts = [f"{summaries.count(len(self), 'network')} of {runs}"]
        parts.append(summaries.architectures(self.specs))
        splits = ", ".join(f"{k} {len(v):,}" for k, v in self.splits.items()) or "none"
        parts += [f"splits {splits}", f"labels {', '.join(self.labels) or 'none'}"]
        return f"Zoo({summaries.cut('; '.join(parts))})"

    @property
    def spec(self) -> Spec:
        """The architecture of all networks.

        Raises:
            ValueError: there are several.
        """
        if len(self.specs) != 1:
            raise ValueError(f"expected networks of one architecture, got {len(self.specs)}")
        return self.specs[0]

    def params(self, i: int | slice | np.ndarray) -> dict[str, np.ndarray]:
        """One network, or several with a batch axis, as named arrays; of one architecture.

        Raises:
            ValueError: there are no such networks, or several architectures.
        """
        try:
            return unravel(self.vectors[i, : self.spec.count], self.spec)
        except IndexError as error:
            raise ValueError(f"expected networks 0..{len(self) - 1}, got {i!r}") from error

    def select(self, networks: np.ndarray) -> "Zoo":
        """Some of the networks, in the order given; splits keep those that are among them.

        Args:
            networks: [i] int, each at most once; or [network] bool.

        Raises:
            ValueError, TypeError: these are no such networks.
        """
        networks = np.asarray(networks)
        if networks.dtype == bool and networks.shape == (len(self),):
            networks = np.flatnonzero(networks)
        networks = _whole("networks", networks)
        inside = (networks >= 0) & (networks < len(self))
        if networks.ndim != 1 or not inside.all() or len(np.unique(networks)) < networks.size:
            raise ValueError(
                f"expected different networks [i] of 0..{len(self) - 1}, got {networks.tolist()}"
            )
        place = np.full(len(self), -1)
        place[networks] = np.arange(len(networks))
        splits = {k: place[v][place[v] >= 0] for k, v in self.splits.items()}
        labels = {k: v[networks] for k, v in self.labels.items()}
        rest = (self.which[networks], labels, self.runs[networks], splits)
        return Zoo(self.vectors[networks], self.specs, *rest)

    def compact(self) -> "Zoo":
        """The same networks, without architectures that none of them has."""
        present, which = np.unique(self.which, return_inverse=True)
        specs = tuple(self.specs[s] for s in present)
        longest = max(s.count for s in specs)
        vectors = self.vectors[:, :longest]
        return dataclasses.replace(self, vectors=vectors, specs=specs, which=which)

    def members(self, split: str) -> np.ndarray:
        """The networks of a split, [i].

        Raises:
            ValueError: there is no such split, or no network in it.
        """
        if split not in self.splits:
            raise ValueError(f"expected a split of {sorted(self.splits)}, got {split!r}")
        if not len(self.splits[split]):
            raise ValueError(
                f"split {split!r} is empty: expected at least 1 network, got 0 of {len(self)}"
            )
        return np.asarray(self.splits[split])

    def label(self, split: str, label: str) -> np.ndarray:
        """The labels of a split's networks, [i].

        Raises:
            ValueError: there is no such split or label, the split is empty, or a label is NaN or
                infinite (networks are named).
        """
        rows = self.members(split)
        if label not in self.labels:
            raise ValueError(f"expected a label of {sorted(self.labels)}, got {label!r}")
        values = self.labels[label][rows]
        if len(bad := rows[~np.isfinite(values)]):
            raise ValueError(
                f"label {label!r}: {len(bad)} of {len(rows)} values of the split {split!r} are "
                f"NaN or infinite, of {checks.some('network', bad.tolist())}; expected a number "
                "for each"
            )
        return values

    def part(self, split: str, label: str) -> tuple["Zoo", np.ndarray]:
        """The networks of a split, and their labels [network]; raises as `label`."""
        values = self.label(split, label)
        return self.select(self.splits[split]), values

    def of(self, s: int) -> "Zoo":
        """The networks of architecture `s`, with their share of the splits.

        Raises:
            ValueError: there is none of them.
        """
        if not (self.which == s).any():
            raise ValueError(f"expected networks of architecture {s}, got none of {len(self)}")
        return self.select(self.which == s).compact()


def from_params(params: Params, spec: Spec, labels: Labels) -> Zoo:
    """A zoo from named arrays [network, ...], checked against the spec."""
    check(params, spec)
    vectors = np.asarray(ravel(params, spec), np.float32)
    return Zoo.of_spec(vectors, spec, {k: np.asarray(v, np.float32) for k, v in labels.items()})


def split(zoo: Zoo, sizes: Mapping[str, int], seed: int, sort: bool = True) -> Zoo:
    """Shuffles training runs into disjoint splits; a run's checkpoints stay together.

    Args:
        zoo: its own splits are dropped.
        sizes: name -> number of runs.
        seed: of the shuffle.
        sort: networks of a split keep the order of the zoo; otherwise runs are in the order
            of the shuffle.

    Raises:
        ValueError: the sizes add up to more runs than there are, or are no numbers of runs.
        TypeError: this is no zoo, no sizes or no seed.
    """
    checks.expect("zoo", zoo, Zoo)
    checks.expect("sizes", sizes, Mapping)
    if any(_whole("sizes", size) < 0 for size in sizes.values()) or _whole("seed", seed) < 0:
        raise ValueError(f"expected sizes and a seed of at least 0, got {dict(sizes)} and {seed}")
    runs = np.unique(zoo.runs)
    if sum(sizes.values()) > len(runs):
        raise ValueError(f"expected at most {len(runs)} runs in all splits, got {dict(sizes)}")
    order, start, splits = np.random.default_rng(seed).permutation(runs), 0, {}
    for name, size in sizes.items():
        chosen = order[start : start + size]
        members = np.flatnonzero(np.isin(zoo.runs, chosen))
        if not sort:
            rank = {run: i for i, run in enumerate(chosen.tolist())}
            members = np.array(sorted(members, key=lambda i: rank[int(zoo.runs[i])]), int)
        splits[name] = members
        start += size
    return dataclasses.replace(zoo, splits=splits)


def concatenate(zoos: Sequence[Zoo]) -> Zoo:
    """Zoos as one; runs of one number are one run, in whatever zoo. Splits are left out.

    Raises:
        ValueError: there is no zoo, or they have other labels than the first.
    """
    _expect_some(zoos)
    names = set(zoos[0].labels)
    for zoo in zoos:
        if set(zoo.labels) != names:
            raise ValueError(f"expected labels {sorted(names)}, got {sorted(zoo.labels)}")
    return _stacked(zoos, sorted(names), np.concatenate([zoo.runs for zoo in zoos]), {})


def join(zoos: Sequence[Zoo]) -> Zoo:
    """Zoos as one; no run of one is a run of another, and all networks stay in their splits.

    Labels are those that all have.

    Raises:
        ValueError: there is no zoo.
    """
    _expect_some(zoos)
    names = sorted(set.intersection(*(set(zoo.labels) for zoo in zoos)))
    runs, splits, start = [], {}, 0
    for zoo in zoos:
        _, own = np.unique(zoo.runs, return_inverse=True)
        runs.append(own + (1 + runs[-1].max() if runs else 0))
        for name, rows in zoo.splits.items():
            splits.setdefault(name, []).append(rows + start)
        start += len(zoo)
    splits = {k: np.concatenate(v) for k, v in splits.items()}
    return _stacked(zoos, names, np.concatenate(runs), splits)


def _expect_some(zoos):
    checks.expect("zoos", zoos, Sequence)
    if not zoos:
        raise ValueError("expected at least one zoo, got none")
    for zoo in zoos:
        checks.expect("zoos", zoo, Zoo)


def _numbers(name: str, values: object, dtype: type | None = None) -> np.ndarray:
    """Real numbers as an array; too large ones become infinite, which `check` reports."""
    array = np.asarray(values)
    if not real(array):
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}")
    with np.errstate(over="ignore"):
        return array.astype(dtype or array.dtype, copy=False)


def _whole(name: str, values: object) -> np.ndarray:
    """Whole numbers as an array."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected whole numbers, got {array.dtype}")
    return array if array.size else array.astype(int)


def _stacked(zoos, names, runs, splits):
    """The networks of all zoos; zoos of one spec share it."""
    specs = tuple(dict.fromkeys(s for zoo in zoos for s in zoo.specs))
    longest = max(zoo.vectors.shape[1] for zoo in zoos)
    which = [np.array([specs.index(s) for s in zoo.specs])[zoo.which] for zoo in zoos]
    vectors = [np.pad(zoo.vectors, [(0, 0), (0, longest - zoo.vectors.shape[1])]) for zoo in zoos]
    labels = {k: np.concatenate([zoo.labels[k] for zoo in zoos]) for k in names}
    return Zoo(np.concatenate(vectors), specs, np.concatenate(which), labels, runs, splits)
