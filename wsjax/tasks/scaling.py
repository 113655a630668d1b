"""The one normalisation of inputs: arrays divided by the root mean square of their kind.

    scale = InputScale.fit(training_networks)
    normalised = scale.apply(vectors, spec)        scale.invert(normalised, spec) == vectors

There is one number for each kind, role and level of arrays ("dense/kernel/0"), so that an
array is divided by a single number and no symmetry of its network is touched.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from wsjax import checks, networks
from wsjax.networks import Spec
from wsjax.zoos import Zoo

Array = TypeVar("Array", np.ndarray, jax.Array)


@dataclasses.dataclass(frozen=True)
class InputScale:
    """Root mean squares of the arrays of training networks.

    Attributes:
        scales: "kind/role/level" -> root mean square, above 0.
    """

    scales: Mapping[str, float]

    @classmethod
    def fit(cls, zoo: Zoo) -> "InputScale":
        """Measures all networks of a zoo; each weight counts once.

        Constant zeros count as 1, and so do numbers that XLA takes for zeros: those below the
        normal range of float32.
        """
        checks.expect("zoo", zoo, Zoo)
        sums: dict[str, list[float]] = {}
        for s in np.unique(zoo.which).tolist():
            part = zoo.of(s)
            params = part.params(slice(None))
            for name, kind in networks.kinds(part.spec).items():
                total = sums.setdefault(kind, [0.0, 0.0])
                total[0] += float(np.square(params[name], dtype=np.float64).sum())
                total[1] += params[name].size
        scales = {k: float(np.sqrt(square / count)) for k, (square, count) in sums.items()}
        least = np.finfo(np.float32).tiny
        return cls({k: x if x >= least else 1.0 for k, x in scales.items()})

    def divisors(self, spec: Spec) -> np.ndarray:
        """The number that each entry of a raveled network is divided by, [entry] float32.

        A level that no training network had takes the scale of the nearest one (of two, the
        shallower) with arrays of its kind and role, so that deeper networks are supported.

        Raises:
            ValueError: the spec has arrays of a kind and role without a scale.
        """
        networks.expect_spec(spec)
        kinds = networks.kinds(spec)
        nearest = {kind: networks.nearest(kind, self.scales) for kind in set(kinds.values())}
        if missing := sorted(kind for kind, source in nearest.items() if source is None):
            raise ValueError(f"trained on arrays {sorted(self.scales)}, got also {missing}")
        sizes = [int(np.prod(spec.shape(a))) for a in spec.arrays]
        each = [self.scales[str(nearest[kinds[a.name]])] for a in spec.arrays]
        return np.repeat(each, sizes).astype(np.float32)

    def apply(self, vectors: Array, spec: Spec) -> Array:
        """Normalises networks [..., entry]; raises as `divisors`."""
        divisors: Any = self._divisors(vectors, spec)
        return vectors / divisors

    def invert(self, vectors: Array, spec: Spec) -> Array:
        """The networks [..., entry] that `apply` normalised; raises as `divisors`."""
        divisors: Any = self._divisors(vectors, spec)
        return vectors * divisors

    def _divisors(self, vectors, spec) -> np.ndarray:
        networks.check_length(vectors, spec)
        return self.divisors(spec)

    def apply_zoo(self, zoo: Zoo, width: int) -> np.ndarray:
        """All networks of a zoo normalised, [network, width], zeros behind each.

        What overflows is infinite, see `Trained.expect_finite`.
        """
        out = np.zeros((len(zoo), width), np.float32)
        for s in np.unique(zoo.which).tolist():
            spec, members = zoo.specs[s], zoo.which == s
            with np.errstate(over="ignore"):
                out[members, : spec.count] = self.apply(zoo.vectors[members, : spec.count], spec)
        return out

    def extend(self, specs: Sequence[Spec]) -> "InputScale":
        """The scale with numbers for all arrays of other architectures.

        A kind and role without a scale takes the scale that the role has at the nearest level,
        whatever the kind: an attention's kernel that of a dense layer or a convolution. An
        array whose role has no scale either (a norm's "scale", where training had no norms) is
        left as it is stored. For accuracy predictors tested on architectures never seen (SNE,
        table 4); everything else should fail, as `divisors` does. An encoder's own weights for
        such arrays, if it has any, stay at their initial values.
        """
        checks.expect("specs", specs, Sequence)
        scales = dict(self.scales)
        for kind in sorted({k for spec in specs for k in networks.kinds(spec).values()}):
            if networks.nearest(kind, self.scales) is None:
                _, role, level = kind.split("/")
                others = {k.split("/")[0] for k in self.scales if k.split("/")[1] == role}
                near = [
                    str(networks.nearest(f"{other}/{role}/{level}", self.scales))
                    for other in sorted(others)
                ]
                distance = lambda k, level=level: abs(int(k.split("/")[2]) - int(level))
                scales[kind] = self.scales[min(near, key=distance)] if near else 1.0
        return InputScale(scales)

    def to_json(self) -> dict[str, float]:
        """The scales as JSON; `from_json` undoes it."""
        return dict(self.scales)

    @classmethod
    def from_json(cls, data: Mapping[str, float]) -> "InputScale":
        """The scale that `to_json` described.

        Raises:
            ValueError: a scale is not a number of float32 above 0, or has no "kind/role/level".
        """
        range32 = np.finfo(np.float32)
        wrong = [
            k
            for k, x in data.items()
            if not re.fullmatch(r"[^/]+/[^/]+/\d{1,9}", k)
            or not isinstance(x, int | float)
            or not range32.tiny <= x <= range32.max
        ]
        if wrong:
            raise ValueError(
                "expected 'kind/role/level' -> a number above 0 in float32, got others: "
                f"{ {k: data[k] for k in wrong[:5]} }"
            )
        return cls(dict(data))
