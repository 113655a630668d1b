"""JSON from files that may hold anything: headers, indices, configurations."""

import json
from collections.abc import Sequence
from typing import Any

from wsjax.files.checkpoint import FileFormatError, Limits, too_large
from wsjax.files.disk import BytesOf

VALUES = 20  # of one array's entry in a header, at most; ten or so are usual


def json_object(text: bytes, what: str, limits: Limits) -> dict[str, Any]:
    """A JSON object with unique keys.

    Raises:
        FileFormatError: it is none, or has more values than `limits.members` arrays have.
    """
    if len(text) > limits.header_bytes:
        raise too_large(f"{what} has {len(text)} bytes", "header_bytes", limits)
    # An empty list is two bytes here and 64 in memory.
    if sum(map(text.count, (b",", b"[", b"{"))) > VALUES * limits.members:
        raise too_large(f"{what} has more values than its arrays need", "members", limits)
    try:
        tree = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except FileFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{what} is not JSON ({error!s:.200})") from error
    if type(tree) is not dict:
        raise FileFormatError(f"expected {what} as a JSON object, got a {type(tree).__name__}")
    return tree


def json_file(file: BytesOf, what: str, limits: Limits) -> dict[str, Any]:
    """`json_object` of a file's bytes, which are read only where they are not too many."""
    if file.size > limits.header_bytes:
        raise too_large(f"{what} has {file.size} bytes", "header_bytes", limits)
    return json_object(file.bytes(0, file.size), what, limits)


def _unique(pairs):
    tree = {}
    for key, value in pairs:
        if key in tree:
            raise FileFormatError(f"expected unique keys in its JSON, got {key!r:.200} twice")
        tree[key] = value
    return tree


def _no_constant(word):
    raise FileFormatError(f"its JSON has {word}, which is no number of JSON")


def first(names: Sequence[str], most: int = 3) -> str:
    """The first few of many names.

    >>> first(["a", "b"]), first(["a", "b", "c", "d"])
    ('a, b', 'a, b, c, ...')
    """
    return ", ".join((*names[:most], *["..."] * (len(names) > most)))
