"""A walk along a jaxpr that finds which axes of which arrays are the same neurons.

`rules` has the rule of each primitive. Small arrays of known integers are followed too, so that
`x[0]` and `x.at[:, 3]` are parts of an axis rather than gathers at unknown places.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.extend import core

from wsjax.tracing.axes.atoms import Atoms, Axis, Node, atom

CUTS = ("slice", "split", "unstack", "dynamic_slice", "gather")
SMALL = 4096  # numbers in an array whose values are followed
Space = tuple[Axis, ...]  # axes that an operation runs over together


class Value(NamedTuple):
    """An array in the program: its axes, and its numbers where they are known."""

    axes: list[Axis]
    known: np.ndarray | None = None


class Interpreter:
    """A walk along a jaxpr.

    Attributes:
        atoms: the nodes so far.
        spaces: axes that some operation ran over together.
        notes: reasons for which a primitive fixed axes, without repetition.
        around: axis nodes that all values of a scan's body lie beside.
        read: axes of operands, but for those of operations that take parts.
        idle: for each result of the equation at hand, whether nothing reads it.
    """

    def __init__(self, rules):
        self.rules = rules
        self.atoms = Atoms()
        self.spaces: list[Space] = []
        self.notes: dict[str, None] = {}
        self.around: tuple[Node, ...] = ()
        self.idle: tuple[bool, ...] = ()
        self.read: list[Axis] = []

    def run(self, jaxpr: core.Jaxpr, consts: Sequence, args: Sequence[Value]) -> list[Value]:
        """The results of a jaxpr."""
        values = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
        values |= dict(zip(jaxpr.invars, args, strict=True))

        def read(v):
            return constant(v.val) if isinstance(v, core.Literal) else values[v]

        read_later = {id(v) for e in jaxpr.eqns for v in e.invars} | set(map(id, jaxpr.outvars))
        for eqn in jaxpr.eqns:
            self.idle = tuple(id(v) not in read_later for v in eqn.outvars)
            ins = [read(v) for v in eqn.invars]
            known = _evaluate(eqn, ins)
            outs = [constant(known)] if known is not None else self.rules(self, eqn, ins)
            for value in [*ins, *outs]:
                self.together(value.axes)
            if eqn.primitive.name not in CUTS:
                self.read += (a for value in ins for a in value.axes)
            values |= dict(zip(eqn.outvars, outs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def together(self, axes: Sequence[Axis]) -> None:
        """Notes that an operation runs over these axes together."""
        self.spaces.append((*(a for a in axes if a), *([n] for n in self.around)))

    def unify(self, one: Axis, two: Axis, why: str) -> None:
        """As `Atoms.unify`."""
        self.atoms.unify(one, two, why)


def fresh(shape: Sequence[int], why: str | None = None) -> Value:
    """An array that nothing else is known of."""
    return Value([atom(n, why) for n in shape])


def constant(x) -> Value:
    """An array of known numbers: its axes are fixed where it differs along them."""
    kind = np.dtype(x.dtype).kind if hasattr(x, "dtype") and _plain(x.dtype) else "O"
    if hasattr(x, "dtype") and kind not in "biufcV":
        return fresh(np.shape(x), "constant")
    x = np.asarray(x)
    same = lambda i: x.shape[i] == 1 or bool((x == np.take(x, [0], axis=i)).all())
    axes = [atom(n, None if x.size and same(i) else "constant") for i, n in enumerate(x.shape)]
    return Value(axes, x if x.size <= SMALL and x.dtype.kind in "biu" else None)


def _plain(dtype) -> bool:
    """Whether NumPy has the type, as it has none of JAX's keys."""
    try:
        np.dtype(dtype)
    except TypeError:
        return False
    return True


def _evaluate(eqn, ins: Sequence[Value]) -> np.ndarray | None:
    """The integers that an equation gives, where its operands are known and it is simple."""
    name, p = eqn.primitive.name, eqn.params
    if len(eqn.outvars) != 1 or np.prod(eqn.outvars[0].aval.shape, dtype=float) > SMALL:
        return None
    aval = eqn.outvars[0].aval
    if not _plain(aval.dtype) or np.dtype(aval.dtype).kind not in "biu":
        return None
    if any(x.known is None for x in ins) or name not in _NUMBERS:
        return None
    return np.asarray(_NUMBERS[name](p, *(x.known for x in ins))).astype(aval.dtype)


def _broadcast(p, x):
    shape = [1] * len(p["shape"])
    for n, i in zip(x.shape, p["broadcast_dimensions"], strict=True):
        shape[i] = n
    return np.broadcast_to(x.reshape(shape), p["shape"])


def _iota(p):
    shape = [-1 if i == p["dimension"] else 1 for i in range(len(p["shape"]))]
    return np.broadcast_to(np.arange(p["shape"][p["dimension"]]).reshape(shape), p["shape"])


_NUMBERS = {  # primitive -> its parameters and operands to its result
    "iota": _iota,
    "broadcast_in_dim": _broadcast,
    "reshape": lambda p, x: x.reshape(p["new_sizes"]),
    "squeeze": lambda p, x: x.squeeze(p["dimensions"]),
    "expand_dims": lambda p, x: np.expand_dims(x, p["dimensions"]),
    "concatenate": lambda p, *x: np.concatenate(x, p["dimension"]),
    "select_n": lambda p, i, *x: np.choose(i.astype(int), x),
    "convert_element_type": lambda p, x: x,
    "add": lambda p, x, y: x + y,
    "sub": lambda p, x, y: x - y,
    "mul": lambda p, x, y: x * y,
    "max": lambda p, x, y: np.maximum(x, y),
    "min": lambda p, x, y: np.minimum(x, y),
    "clamp": lambda p, low, x, high: np.clip(x, low, high),
    "lt": lambda p, x, y: x < y,
    "le": lambda p, x, y: x <= y,
    "gt": lambda p, x, y: x > y,
    "ge": lambda p, x, y: x >= y,
    "eq": lambda p, x, y: x == y,
    "ne": lambda p, x, y: x != y,
}
