"""Stored names: modules, roles and the order of layers.

    features.0.weight          module ("features", "0")    role kernel    PyTorch, [out, in, ...]
    Conv_0/kernel              module ("Conv_0",)          role kernel    Flax, [..., in, out]
    dense_1/kernel:0           module ("dense_1",)         role kernel    Keras, [..., in, out]
    bn1.running_mean           module ("bn1",)             role mean

Numbers in names are ordered as numbers: layer 10 comes after 9, whatever the order in the file.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from wsjax.checks import natural

Module = tuple[str, ...]
Shapes = Mapping[str, tuple[int, ...]]

ROLES = {
    **dict.fromkeys(("weight", "weights", "kernel", "w", "embedding", "embeddings"), "kernel"),
    **dict.fromkeys(("bias", "b", "beta", "offset"), "bias"),
    **dict.fromkeys(("scale", "gamma"), "scale"),
    **dict.fromkeys(("mean", "running_mean", "moving_mean"), "mean"),
    **dict.fromkeys(("var", "variance", "running_var", "moving_variance"), "variance"),
}
WRITES_FIRST = ("weight", "weights")  # leaves of arrays [out, in, *window]
BUFFERS = re.compile(
    r"(^|[./])(num_batches_tracked|position_ids|inv_freq|masked_bias|seed_generator_state|"
    r"relative_position_index)(:0)?$"
)
COLLECTIONS = ("params", "batch_stats")  # of Flax, in front of every name
TRIES = 750  # orders of a network's layers; six names have 720
DEPTH = 50  # parts of a name


class UnfitError(ValueError):
    """Arrays that are not as the family has them; the text says which."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A stored array by its name.

    Attributes:
        name: as stored.
        shape: likewise.
        module: the names in front of the last.
        role: "kernel", "bias", "scale", "mean", "variance", or "" if the name does not tell.
        writes_first: whether a kernel is stored [out, in, ...].
    """

    name: str
    shape: tuple[int, ...]
    module: Module
    role: str
    writes_first: bool


def shapes(params: Mapping[str, Any]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Splits stored arrays into weights and what lies beside them.

    Args:
        params: anything with shape and dtype, by name.

    Returns:
        The shapes of the weights in the order given, and for every other array why it is none:
        "buffer", "int64", "complex64", "empty".
    """
    weights, beside = {}, {}
    for name, array in params.items():
        shape, dtype = tuple(int(n) for n in array.shape), array.dtype
        mask = name.endswith("attn.bias") and shape[:2] == (1, 1) and len(shape) == 4
        if mask or BUFFERS.search(name):
            beside[name] = "buffer"
        elif not _floating(dtype):
            beside[name] = str(dtype)
        elif math.prod(shape) == 0:
            beside[name] = "empty"
        else:
            weights[name] = shape
    return weights, beside


def _floating(dtype) -> bool:
    try:
        return jnp.issubdtype(np.dtype(dtype), jnp.floating)
    except TypeError:  # a format's own type
        return False


def leaves(weights: Shapes) -> list[Leaf]:
    """The arrays by module and role, in the order given."""
    out, numbered = [], {}
    for name, shape in weights.items():
        tokens = name.removesuffix(":0").split("/" if "/" in name else ".")
        while len(tokens) > 1 and tokens[0] in COLLECTIONS:
            tokens = tokens[1:]
        *module, last = tokens
        role = ROLES.get(last, "") if len(tokens) <= DEPTH else ""
        if last.isdigit() and module[-1:] == ["vars"]:  # Keras: in the order of creation
            module = module[:-1]
            numbered.setdefault(tuple(module), []).append(len(out))
        if role == "kernel" and len(shape) == 1:
            role = "scale"
        out.append(Leaf(name, shape, tuple(module), role, last in WRITES_FIRST))
    for places in numbered.values():
        flat = all(len(out[i].shape) == 1 for i in places)
        roles = ("scale", "bias", "mean", "variance") if flat else ("kernel", "bias")
        for i, role in zip(sorted(places, key=lambda i: out[i].name), roles, strict=False):
            out[i] = dataclasses.replace(out[i], role=role)
    return out


def stem(token: str) -> tuple[str, int]:
    """A name and the number at its end.

    >>> stem("conv10"), stem("Dense_0"), stem("7"), stem("conv2d")
    (('conv', 10), ('Dense', 0), ('', 7), ('conv2d', -1))
    """
    if match := re.fullmatch(r"(.*?)[_-]?(\d+)", token):
        return match[1], int(match[2])
    return token, -1


def by_name(given: Sequence[str]) -> bool:
    """Whether names are sorted, as safetensors and JAX do: then their order says nothing."""
    keys = (lambda n: n, natural, lambda n: re.split(r"[./]", n))
    return any(list(given) == sorted(given, key=key) for key in keys)


def orders(modules: Sequence[Module]) -> Iterator[tuple[int, ...]]:
    """Orders of computation that names allow, as positions in `modules`.

    Modules whose names differ in a number are in its order; those of other names are in every
    order, first that in which they are given. At most `TRIES`.

    >>> list(orders([("a", "10"), ("a", "9"), ("b",)]))
    [(1, 0, 2), (2, 1, 0)]
    """
    return itertools.islice(_orders(modules, range(len(modules)), 0), TRIES)


def arrangements(modules: Sequence[Module]) -> int:
    """The number of orders that names allow.

    >>> arrangements([("a", "10"), ("a", "9"), ("b",), ("c",)])
    6
    """
    return _arrangements(modules, range(len(modules)), 0)


def _arrangements(modules, members, depth) -> int:
    stems = _stems(modules, members, depth)
    parts = [p for numbers in stems.values() for p in numbers.values() if len(p) > 1]
    below = (_arrangements(modules, p, depth + 1) for p in parts)
    return math.factorial(len(stems)) * math.prod(below)


def _stems(modules, members, depth) -> dict[str, dict[int, list[int]]]:
    """Positions of modules by name and number at this depth of their names."""
    stems: dict[str, dict[int, list[int]]] = {}
    for i in members:
        name, number = stem(modules[i][depth]) if len(modules[i]) > depth else ("", -1)
        stems.setdefault(name, {}).setdefault(number, []).append(i)
    return stems


def _orders(modules, members, depth) -> Iterator[tuple[int, ...]]:
    stems = _stems(modules, members, depth)
    for arrangement in itertools.permutations(stems.values()):
        parts = [numbers[n] for numbers in arrangement for n in sorted(numbers)]
        below = (_orders(modules, p, depth + 1) if len(p) > 1 else iter([tuple(p)]) for p in parts)
        for choice in _product(list(below)):
            yield sum(choice, ())


def _product(streams) -> Iterator[tuple]:
    """`itertools.product` of the first few of each, without running through endless ones."""
    few = 1 + TRIES // max(len(streams), 1)
    return itertools.product(*(list(itertools.islice(x, few)) for x in streams))


def by_module(found: Sequence[Leaf]) -> dict[Module, dict[str, Leaf]]:
    """For each module, its arrays by role.

    Raises:
        UnfitError: an array's role is not known, or two of a module have one.
    """
    out: dict[Module, dict[str, Leaf]] = {}
    for leaf in found:
        parts = out.setdefault(leaf.module, {})
        if not leaf.role or not leaf.shape or leaf.role in parts:
            raise UnfitError(f"{leaf.name} {list(leaf.shape)}: its role in a layer is not known")
        parts[leaf.role] = leaf
    return out
