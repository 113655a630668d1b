"""A JAX function as a network: its Spec, found by tracing and verified by running it.

    traced = wsjax.trace(model.apply, variables, images)
    params = traced.pack(variables)              the arrays of traced.spec
    traced.forward(params, images)               model.apply(variables, images)
    traced.unpack(params)                        variables, to the bit

Verification is part of the call. Random elements of the group that the Spec claims act on the
parameters, made generic first (a bias of zeros hides that it is permuted), and the outputs are
compared with those before. An axis that fails is fixed, a signal that fails loses its scales and
signs, and both are noted; a Spec that still fails is an error.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks
from wsjax.networks import Params, Spec
from wsjax.packing import Packing
from wsjax.symmetries import permutations
from wsjax.tracing.axes import axes
from wsjax.tracing.layers import structure
from wsjax.tracing.verification import Verification

Apply = Callable[..., Any]
AnyArray = TypeVar("AnyArray", jax.Array, np.ndarray)
BLIND = 1e-4  # relative changes of outputs below which a verification tells little


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """A function's parameters as a network.

    Attributes:
        spec: of the packed parameters.
        packing: how the function's arrays, by name, make those of the spec.
        apply: the function, (tree of parameters, *inputs) -> outputs.
        error: the largest change of an output under the group, relative to the largest output.
        misaligned: likewise, where one array is permuted and the others are not.
        notes: why axes are fixed that might have been free, and what was not understood.
        tree: the parameters' structure.
        others: leaves that are no real or complex numbers, by position: counters, keys. They are
            no part of the network; `unpack` takes them from here, or from another tree.
        complexes: names of complex arrays, stored with a last axis (real, imaginary).
    """

    spec: Spec
    packing: Packing
    apply: Apply
    error: float
    misaligned: float
    notes: tuple[str, ...]
    tree: Any = dataclasses.field(repr=False)
    others: Mapping[int, Any] = dataclasses.field(repr=False)
    complexes: frozenset[str] = dataclasses.field(repr=False)

    def pack(self, tree: Any) -> dict[str, AnyArray]:
        """The arrays of the spec, from a tree as was traced.

        Raises:
            ValueError: the tree has another structure, or arrays of other shapes or kinds.
        """
        flat, structure = jax.tree.flatten(tree)
        if structure != self.tree:
            raise ValueError(f"expected parameters of structure {self.tree}, got {structure}")
        names = [name for name, _ in self.packing.stored]
        leaves = [x for i, x in enumerate(flat) if i not in self.others]
        stored = dict(zip(names, leaves, strict=True))
        kinds = {n: "complex" if n in self.complexes else "real" for n in names}
        checks.raise_all(
            "parameters are not those that were traced",
            (
                f"{n}: expected {kinds[n]} numbers, got {getattr(x, 'dtype', type(x).__name__)}"
                for n, x in stored.items()
                if kind(x) != kinds[n]
            ),
        )
        return self.packing.pack(
            {n: pair(x) if n in self.complexes else x for n, x in stored.items()}
        )

    def unpack(self, params: Mapping[str, AnyArray], like: Any = None) -> Any:
        """The function's own tree; undoes `pack` to the bit.

        Args:
            params: arrays of the spec.
            like: a tree that has the leaves which are no part of the network, such as a counter
                of steps; by default they are those of the tree that was traced.

        Raises:
            ValueError: an array is absent or of another shape.
        """
        stored = self.packing.unpack(dict(params))
        others = self.others if like is None else dict(enumerate(jax.tree.leaves(like)))
        leaves = iter(_whole(x) if n in self.complexes else x for n, x in stored.items())
        flat = [
            others[i] if i in self.others else next(leaves) for i in range(self.tree.num_leaves)
        ]
        return jax.tree.unflatten(self.tree, flat)

    def forward(self, params: Params, *inputs: Any) -> Any:
        """Runs the function on the arrays of the spec."""
        return self.apply(self.unpack(params), *inputs)

    @property
    def group(self) -> float:
        """log10 of the number of permutations that preserve the function."""
        return sum(self.spec.orders.values())

    def __str__(self):
        return (
            f"{self.spec.count:,} parameters, {len(self.spec.hidden)} hidden axes, group "
            f"10^{self.group:.0f}, verified to {self.error:.0e}"
        )


def trace(apply: Apply, params: Any, *inputs: Any, key: jax.Array | None = None) -> Traced:
    """The Spec of a function's parameters.

    Args:
        apply: (params, *inputs) -> outputs, a pure function that `jax.make_jaxpr` can trace.
        params: tree of arrays, or of `jax.ShapeDtypeStruct`s, for which random numbers are drawn.
            Integers, booleans and keys in it are kept as they are, not part of the network.
        inputs: of an example, arrays or `jax.ShapeDtypeStruct`s. Shapes that differ from one
            another in every axis tell most; a batch of two is enough.
        key: for the verification.

    Raises:
        ValueError: there are no parameters, the outputs are not finite, or the Spec does not pass
            its verification.
        TypeError: apply cannot be called.

    >>> layer = lambda p, x: jnp.tanh(x @ p["in"] + p["bias"]) @ p["out"]
    >>> params = {"in": jnp.ones((2, 8)), "bias": jnp.ones(8), "out": jnp.ones((8, 3))}
    >>> traced = trace(layer, params, jnp.ones((4, 2)))
    >>> traced.spec.hidden, {a.name: a.axes for a in traced.spec.arrays}["in"]
    (('h0',), ('x0', 'h0'))
    >>> jnp.array_equal(traced.unpack(traced.pack(params))["in"], params["in"]).item()
    True
    """
    if not callable(apply):
        raise TypeError(f"apply: expected a function (params, *inputs), got {type(apply).__name__}")
    key = jax.random.key(0) if key is None else key
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    kinds = [kind(x) if math.prod(getattr(x, "shape", ())) else "" for _, x in flat]
    others = {i: _concrete(x) for i, (_, x) in enumerate(flat) if not kinds[i]}
    mine = [(p, x, k) for (p, x), k in zip(flat, kinds, strict=True) if k]
    if not mine:
        raise ValueError("expected parameters of real or complex numbers, found none")
    names = _unique(
        [jax.tree_util.keystr(p, simple=True, separator="/") or "params" for p, _, _ in mine]
    )
    complexes = frozenset(n for n, (_, _, k) in zip(names, mine, strict=True) if k == "complex")

    def function(arrays: Sequence, *inputs):
        numbers = iter(
            jax.lax.complex(x[..., 0], x[..., 1]) if n in complexes else x
            for n, x in zip(names, arrays, strict=True)
        )
        leaves = [others[i] if i in others else next(numbers) for i in range(len(flat))]
        return apply(jax.tree.unflatten(tree, leaves), *inputs)

    abstract = [_abstract(x, n in complexes) for n, (_, x, _) in zip(names, mine, strict=True)]
    jaxpr = jax.make_jaxpr(function)(abstract, *inputs)
    found, layers = axes(jaxpr, names), structure(jaxpr, names)
    test = Verification(function, abstract, _numbers(mine, abstract), inputs, key)
    spec, found, failed, error, misaligned = test.verified(layers, names, found)
    if permutations.movable(spec) and misaligned < BLIND:
        failed.append(
            f"verification is weak: a misaligned permutation changes outputs by {misaligned:.0e} "
            "only; other inputs may tell more"
        )
    return Traced(
        spec,
        found.packing,
        apply,
        error,
        misaligned,
        (*found.notes, *layers.notes, *failed),
        jax.tree.structure(params),
        others,
        complexes,
    )


def kind(x: Any) -> str:
    """Real, complex, or empty for what is no parameter: integers, keys, Python's own numbers."""
    dtype = getattr(x, "dtype", None)
    if dtype is None or not hasattr(x, "shape"):
        return ""
    if jnp.issubdtype(dtype, jnp.floating):
        return "real"
    return "complex" if jnp.issubdtype(dtype, jnp.complexfloating) else ""


def pair(x: Any) -> Any:
    """Complex numbers [...] as real ones [..., (real, imaginary)], of the same library."""
    xp = np if isinstance(x, np.ndarray) else jnp
    return xp.stack([x.real, x.imag], -1)


def _whole(x: Any) -> Any:
    """Undoes `pair`."""
    if not isinstance(x, np.ndarray):
        return jax.lax.complex(x[..., 0], x[..., 1])
    out = np.empty(x.shape[:-1], np.result_type(x.dtype, np.complex64))
    out.real, out.imag = x[..., 0], x[..., 1]
    return out


def _unique(names: list[str]) -> list[str]:
    """Names of which none occurs twice: the second "a/b" becomes "a/b#2"."""
    counts, out = collections.Counter(), []
    for name in names:
        counts[name] += 1
        out.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return out


def _concrete(x: Any) -> Any:
    """A leaf that is no parameter; zeros where only its shape is given."""
    return jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x


def _abstract(x: Any, paired: bool) -> jax.ShapeDtypeStruct:
    if not paired:
        return jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.ShapeDtypeStruct((*x.shape, 2), jnp.finfo(x.dtype).dtype)


def _numbers(leaves, abstract) -> list[np.ndarray | None]:
    """The numbers of each parameter as it is traced; None where only its shape is given."""
    out = []
    for (_, x, sort), like in zip(leaves, abstract, strict=True):
        if isinstance(x, jax.ShapeDtypeStruct):
            out.append(None)
        else:
            x = np.asarray(x)
            out.append(pair(x).astype(like.dtype) if sort == "complex" else x)
    return out
