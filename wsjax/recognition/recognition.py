"""Names and shapes to structure: `recognize`.

    params = {"net.0.weight": [32, 2], "net.0.bias": [32], "net.2.weight": [1, 32], ...}
    recognize(params, {"activation": "relu"})
    exact: PyTorch MLP, 1 hidden axis, group 10^35, coverage 100 %

Three levels:

    exact      a known family whose activations are known: permutations, and the factors that the
               activations admit
    chained    consecutive shapes fit, activations are not known: permutations alone
    opaque     a bag of arrays: no symmetry, every array a layer
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

from wsjax import architectures, checks
from wsjax.networks import Params, Spec
from wsjax.packing import Packing
from wsjax.recognition import chains, names, opaque, own, recurrent, resnets, transformers
from wsjax.recognition.drafting import StoredDraft
from wsjax.recognition.names import Shapes, UnfitError
from wsjax.settings import HUGGING_FACE, NUMBER, SETTINGS, misfits
from wsjax.views.wiring import wired

LEVELS = ("exact", "chained", "opaque")
Family = Callable[[Shapes, Mapping[str, Any]], tuple[StoredDraft, str, bool, bool]]
# In this order; a family raises `UnfitError`, or returns None where the names are not its own.
FAMILIES: tuple[Callable, ...] = (
    own.own,
    transformers.transformer,
    resnets.resnet,
    recurrent.recurrent,
    chains.chained,
)


@dataclasses.dataclass(frozen=True)
class Recognition:
    """The structure of stored arrays.

    Attributes:
        spec: of the network.
        packing: the spec's arrays from stored ones, without those in `beside`.
        level: one of `LEVELS`.
        family: "torchvision ResNet", "PyTorch MLP"; "arrays" if opaque.
        notes: why symmetries are not claimed, and what a config would add; a line each.
        beside: stored arrays that are no weights -> why: "buffer", "int64", "complex64", "empty".
        coverage: share of the parameters that are in recognised layers.
        forward: the network's function of the spec's arrays and an input, as
            `architectures.forward`; None if that does not run it, or settings are not known.
    """

    spec: Spec
    packing: Packing
    level: str
    family: str
    notes: tuple[str, ...]
    beside: Mapping[str, str]
    coverage: float
    forward: Callable[[Params, jax.Array], jax.Array] | None = None

    def pack(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The spec's arrays, from stored ones; those in `beside` are left out.

        Raises:
            ValueError: arrays are absent, misshapen or not known; every one is named.
        """
        return self.packing.pack({n: a for n, a in stored.items() if n not in self.beside})

    @property
    def wired(self) -> bool:
        """Whether the spec has a parameter graph, which GMNs read."""
        return wired(self.spec)

    @property
    def digits(self) -> float:
        """The logarithm to base ten of the number of permutations."""
        return sum(self.spec.orders.values())

    def __str__(self) -> str:
        hidden = sum(dict(self.spec.sizes)[h] > 1 for h in self.spec.hidden)
        return (
            f"{self.level}: {self.family}, {hidden} hidden ax{'e' if hidden != 1 else 'i'}s, "
            f"group 10^{self.digits:.0f}, coverage {100 * self.coverage:.0f} %"
        )


def recognize(params: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> Recognition:
    """Finds the structure of a network in the names and shapes of its arrays.

    A symmetry is claimed only where names and shapes, the definition of a known family, or the
    config establish it.

    Args:
        params: name -> anything with shape and dtype; names as in a file, without the prefixes of
            wrappers. Values are not read.
        config: settings that weights do not hold: those of `settings.SETTINGS`, or Hugging Face's
            `config.json`. Other names are ignored.

    Returns:
        The structure; `opaque` where none is found, with the reasons in `notes`.

    Raises:
        TypeError: these are no named arrays, or the config is no mapping.
        ValueError: there is no array of floating-point numbers, or a setting is of another type
            (of Hugging Face's it is ignored, with a note), or does not fit the shapes.

    >>> import numpy as np
    >>> shapes = {"0.weight": (32, 2), "0.bias": (32,), "2.weight": (1, 32), "2.bias": (1,)}
    >>> net = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    >>> print(recognize(net, {"activation": "relu"}))
    exact: PyTorch MLP, 1 hidden axis, group 10^35, coverage 100 %
    >>> print(recognize(net))
    chained: PyTorch MLP, 1 hidden axis, group 10^35, coverage 100 %
    """
    if not isinstance(params, Mapping) or not all(
        hasattr(a, "shape") and hasattr(a, "dtype") for a in params.values()
    ):
        raise TypeError("expected arrays by name, with shape and dtype")
    weights, beside = names.shapes(params)
    if not weights:
        raise ValueError(f"expected arrays of floating-point numbers, got {len(beside)} others")
    config, ignored = _checked(config)
    reasons: list[str] = []
    for family in FAMILIES:
        try:
            if (match := family(weights, config)) is None:
                continue
            draft, name, exact, runs = match
            draft.notes += ignored
            return _recognition(draft, name, "exact" if exact else "chained", runs, beside)
        except UnfitError as error:
            reasons.append(str(error))
            if family is not chains.chained:  # of a known family, but altered: no chain either
                break
    draft = StoredDraft(stored=weights, notes=[*reasons, *ignored])
    return _recognition(draft, "arrays", "opaque", False, beside)


def _checked(config: object) -> tuple[dict[str, Any], list[str]]:
    """The config without settings that are None, and notes of those that are ignored.

    Of Hugging Face's, settings of another type are ignored, as heads of several stages are a list;
    such activations are not known.
    """
    checks.expect("config", {} if config is None else config, Mapping)
    settings = {k: v for k, v in dict(config or {}).items() if v is not None}  # pyrefly: ignore
    wrong = misfits(settings)
    theirs = HUGGING_FACE & set(settings)
    skipped = {k for k in wrong if theirs and SETTINGS[k].kind is not NUMBER}
    checks.raise_all("config makes no sense", (t for k, t in wrong.items() if k not in skipped))
    notes = [f"{wrong[k]}, so it is ignored" for k in wrong if k in skipped]
    unknown = {k: str(settings[k]) for k in skipped if "act" in k}
    return {k: v for k, v in settings.items() if k not in skipped} | unknown, notes


def _recognition(draft: StoredDraft, family, level, runs, beside) -> Recognition:
    sizes = {n: math.prod(s) for n, s in draft.stored.items()}
    known = sum(sizes[n] for n in draft.used())
    rest = {n: s for n, s in draft.stored.items() if n not in draft.used()}
    if rest and level != "opaque":
        draft.notes.append(f"{checks.some('array', list(rest))}: no place in the family")
    opaque.add(draft, rest)
    spec, packing = draft.result()
    forward = functools.partial(_forward, spec) if runs and not rest else None
    coverage = known / sum(sizes.values())
    found = Recognition(
        spec, packing, level, family, tuple(dict.fromkeys(draft.notes)), beside, coverage, forward
    )
    if level != "opaque" and not found.wired:
        note = "the spec has no parameter graph: GMN cannot read it, SNE and DMC can"
        found = dataclasses.replace(found, notes=(*found.notes, note))
    return found


def _forward(spec: Spec, params: Params, x: jax.Array) -> jax.Array:
    return architectures.forward(params, x, spec)
