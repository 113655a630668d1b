"""One of two networks that are compared, from a file or from arrays and their Spec."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import architectures, checks, files, networks, recognition
from wsjax.files import Facts
from wsjax.networks import Params, Spec
from wsjax.packing import Packing
from wsjax.recognition import Recognition, StoredNetwork
from wsjax.symmetries import audit

Source = str | os.PathLike | StoredNetwork | tuple[Params, Spec]


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """A network, as stored and by its Spec.

    Attributes:
        path: of its file; "" of arrays in memory.
        stored: arrays by the names they have in the file, in its types.
        params: the same as arrays of `spec`; views where possible.
        spec: meaning of the arrays.
        level: of recognition; "exact" of a Spec that was given.
        family: "PyTorch MLP"; "Spec" of one that was given.
        packing: `params` from `stored`; None if they are the same.
        beside: stored arrays that are no weights.
        facts: of the file, if it is one.
        forward: params, inputs -> outputs; None if it is not known.
        notes: of recognition.
    """

    path: str
    stored: Mapping[str, np.ndarray]
    params: Mapping[str, np.ndarray]
    spec: Spec
    level: str
    family: str
    packing: Packing | None = None
    beside: tuple[str, ...] = ()
    facts: Facts | None = None
    forward: Callable[[Any, jax.Array], jax.Array] | None = None
    notes: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """The family and how many parameters: "PyTorch MLP, 1,234 parameters"."""
        return f"{self.family}, {self.spec.count:,} parameters"

    def unpacked(self, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays of the spec as the file stores them, in its types, with what lies beside them.

        Raises:
            ValueError: a number is beyond its type.
        """
        whole = params if self.packing is None else self.packing.unpack(params)
        with np.errstate(over="ignore"):
            out = {n: np.asarray(x).astype(self.stored[n].dtype) for n, x in whole.items()}
        if wrong := [n for n, x in out.items() if not np.isfinite(x).all()]:
            raise ValueError(
                f"{checks.some('array', wrong)}: numbers too large for the file's "
                f"{out[wrong[0]].dtype}; save it in float32 first"
            )
        return {n: out.get(n, x) for n, x in self.stored.items()}

    def packed(self, stored: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Arrays of the spec from those of the file: the inverse of `unpacked`."""
        return stored if self.packing is None else self.packing.pack(stored)


def side(
    source: Source, branch: str | None = None, config: Mapping[str, Any] | None = None
) -> Side:
    """One side of a comparison.

    Args:
        source: path of a weights file, a network that was read, or (params, spec).
        branch: of a file, as `files.load` takes it.
        config: of a file, as `recognize` takes it.

    Raises:
        FileNotFoundError, FileFormatError, ContentError, ValueError: as `recognition.read`.
        ValueError: params do not match their spec.
        TypeError: it is none of these.
    """
    if isinstance(source, str | os.PathLike):
        stored, facts = files.load(source, branch)
        found = recognition.recognize(stored, config)
        return _of_file(str(source), stored, facts, found)  # without `StoredNetwork`'s copies
    if isinstance(source, StoredNetwork):
        return _of_file(source.path, source.stored, source.facts, source.recognition)
    if not isinstance(source, tuple) or len(source) != 2:
        raise TypeError(
            f"expected a path, a StoredNetwork or (params, spec), got {type(source).__name__}"
        )
    params, spec = source
    networks.check(params, spec)
    networks.check_shapes(params, spec, batched=False)
    arrays = {a.name: np.asarray(params[a.name]) for a in spec.arrays}
    forward = lambda p, x: architectures.forward(p, x, spec)
    if inputs(arrays, spec) is None:
        forward = None
    return Side("", arrays, arrays, spec, "exact", "Spec", forward=forward)


def _of_file(path: str, stored, facts: Facts, found: Recognition) -> Side:
    packed = {n: np.asarray(x) for n, x in found.pack(stored).items()}
    return Side(
        path, stored, packed, found.spec, found.level, found.family,
        found.packing, tuple(found.beside), facts, found.forward, found.notes,
    )  # fmt: skip


def inputs(params: Mapping[str, np.ndarray], spec: Spec, seed: int = 0) -> jax.Array | None:
    """Random inputs, [batch, *positions, inputs] float32; None if `architectures` cannot run it."""
    shapes: Any = {n: jax.ShapeDtypeStruct(x.shape, jnp.float32) for n, x in params.items()}
    return audit.random_inputs(shapes, spec, jax.random.key(seed))
