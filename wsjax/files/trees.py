"""Nested dicts and lists taken apart: arrays by path, plain values beside them.

{"model": {"w": ARRAY}, "epoch": 3, "args": OBJECT}
arrays      ("model", "w")
metadata    {"epoch": 3}
refused     {"args": "argparse.Namespace"}
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from wsjax.checks import printable
from wsjax.files.checkpoint import FileFormatError, Finding, Stored
from wsjax.files.json_text import first

DEPTH = 100
NOTHING = object()  # for what leaves no metadata
TENSORS = ("torch._utils._rebuild_", "torch._tensor._rebuild_")  # makers of weights of any kind


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An object that is not read: the name of its class or function, or the reason."""

    name: str


# Of a leaf, by its path: an array, a refusal, or a plain value as it is to be kept.
Leaf = Callable[[tuple[str, ...], Any], Stored | Refusal | Any]


@dataclasses.dataclass
class Parts:
    """A tree taken apart.

    Attributes:
        arrays: in the tree's order.
        metadata: what is left of the tree without them.
        refused: names of objects that are not read, by path, each path as one text.
    """

    arrays: list[Stored] = dataclasses.field(default_factory=list)
    metadata: Any = None
    refused: dict[str, str] = dataclasses.field(default_factory=dict)

    def findings(self) -> list[Finding]:
        """One of every tensor and kind of object that is refused, and of arrays of one storage."""
        found, kinds, shared = [], {}, {}
        for place, kind in self.refused.items():
            if kind.startswith(TENSORS):
                text = f"{printable(place)} is a tensor that is not read ({printable(kind):.300})"
                text += ": convert it to a dense one of plain numbers, and save it again"
                found.append(Finding("refused", "error", place, text))
            else:
                kinds.setdefault(kind, []).append(printable(place))
        for kind, places in kinds.items():
            text = f"{printable(kind):.300} is not read, at {first(places)}: nothing of it was run"
            found.append(Finding("refused", "note", None, text))
        for a in self.arrays:
            if a.nbytes:
                shared.setdefault(a.storage, []).append(printable(a.name))
        for same in shared.values():
            if len(same) > 1:
                text = f"{first(same)} are the same bytes"
                found.append(Finding("tied", "note", same[0], text))
        return found


def apart(tree: Any, leaf: Leaf, most: int) -> Parts:
    """Takes a tree apart.

    Args:
        tree: dicts, lists and tuples of leaves; they may contain each other, even themselves.
        leaf: of what is none of these.
        most: items at most. What is there under two names is met twice, so that a few lists of
            each other have more items than a file can have written.

    Raises:
        FileFormatError: it has more items, or is deeper than `DEPTH`.
    """
    parts, count = Parts(), 0

    def walk(x, path):
        nonlocal count
        count += 1
        if count > most or len(path) > DEPTH:
            raise FileFormatError(f"expected at most {most} items, nested {DEPTH} deep, got more")
        if type(x) in (dict, list, tuple):
            return _rest(x, [(k, walk(v, (*path, str(k)))) for k, v in _pairs(x)])
        made = leaf(path, x)
        if isinstance(made, Stored):
            parts.arrays.append(made)
        elif isinstance(made, Refusal):
            parts.refused["/".join(path)] = made.name
        else:
            return made
        return NOTHING

    parts.metadata = walk(tree, ())
    return parts


def _pairs(x):
    return x.items() if type(x) is dict else enumerate(x)


def _rest(x, pairs):
    """A container without the arrays and objects in it; of a list with any, a dict by index."""
    kept = [(k, v) for k, v in pairs if v is not NOTHING]
    if pairs and not kept:
        return NOTHING
    if type(x) is dict or len(kept) < len(pairs):
        return {str(k): v for k, v in kept}
    return [v for _, v in kept]


def metadata_of(parts: Parts) -> dict[str, Any]:
    """Its metadata as a dict, whatever the tree was."""
    if parts.metadata is NOTHING:
        return {}
    return parts.metadata if type(parts.metadata) is dict else {"value": parts.metadata}


def plain_dtype(dtype: np.dtype) -> str:
    """The name by which a type of NumPy's is listed, in native order; "object" is none.

    >>> plain_dtype(np.dtype(">f4")), plain_dtype(np.dtype("U3"))
    ('float32', 'str96')
    """
    return dtype.newbyteorder("=").name
