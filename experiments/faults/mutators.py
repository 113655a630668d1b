"""Seeded mutations of bytes and of files.

    mutate(rng, data) -> ("flip a bit", other bytes)
    damage(rng, files) -> "a.json: change a digit"      in place, or one is gone, or two swapped

Whatever is UTF-8 is mutated as text half of the time: a digit, a line, a word for a number.
"""

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Mutator = Callable[[np.random.Generator, bytes], bytes]

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORDS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"null", b'"0"', b"[]", b"-1")
ZEROED = 16  # bytes of a block


def _flip(rng, data):
    place = int(rng.integers(len(data)))
    return _with(data, place, place + 1, bytes([data[place] ^ 1 << int(rng.integers(8))]))


def _overwrite(rng, data):
    place = int(rng.integers(len(data)))
    return _with(data, place, place + 1, bytes([int(rng.integers(256))]))


def _delete(rng, data):
    return _with(data, *_range(rng, data), b"")


def _duplicate(rng, data):
    start, end = _range(rng, data)
    return _with(data, end, end, data[start:end])


def _insert(rng, data):
    place = int(rng.integers(len(data) + 1))
    return _with(data, place, place, rng.bytes(int(rng.integers(1, 9))))


def _truncate(rng, data):
    return data[: int(rng.integers(len(data)))]


def _zero(rng, data):
    start = int(rng.integers(max(1, len(data) - ZEROED)))
    end = min(len(data), start + ZEROED)
    return _with(data, start, end, bytes(end - start))


def _digit(rng, data):
    digits = [m.start() for m in re.finditer(rb"\d", data)]
    if not digits:
        return data
    place = digits[int(rng.integers(len(digits)))]
    return _with(data, place, place + 1, b"%d" % rng.integers(10))


def _number(rng, data):
    numbers = list(NUMBER.finditer(data))
    if not numbers:
        return data
    chosen = numbers[int(rng.integers(len(numbers)))]
    return _with(data, *chosen.span(), WORDS[int(rng.integers(len(WORDS)))])


def _drop_line(rng, data):
    lines = data.splitlines(keepends=True)
    del lines[int(rng.integers(len(lines)))]
    return b"".join(lines)


def _double_line(rng, data):
    lines = data.splitlines(keepends=True)
    place = int(rng.integers(len(lines)))
    return b"".join([*lines[: place + 1], *lines[place:]])


def _swap_lines(rng, data):
    lines = data.splitlines(keepends=True)
    i, j = rng.integers(len(lines), size=2)
    lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


BINARY: Mapping[str, Mutator] = {
    "flip a bit": _flip,
    "overwrite a byte": _overwrite,
    "delete a range": _delete,
    "duplicate a range": _duplicate,
    "insert bytes": _insert,
    "truncate": _truncate,
    "zero a block": _zero,
    "empty": lambda rng, data: b"",
}
TEXT: Mapping[str, Mutator] = {
    "change a digit": _digit,
    "put a word for a number": _number,
    "drop a line": _drop_line,
    "duplicate a line": _double_line,
    "swap two lines": _swap_lines,
}


def mutate(rng: np.random.Generator, data: bytes) -> tuple[str, bytes]:
    """The name of a mutation, and other bytes than these, which are at least one."""
    while True:
        kind = TEXT if is_text(data) and rng.integers(2) else BINARY
        name = [*kind][int(rng.integers(len(kind)))]
        if (mutated := kind[name](rng, data)) != data:
            return name, mutated


def damage(rng: np.random.Generator, files: Sequence[pathlib.Path]) -> str:
    """Mutates one of the files, deletes it, or swaps it with another; says which.

    A file that is listed several times is the more likely; an empty one is never chosen.
    """
    files = [path for path in files if path.stat().st_size]
    path = files[int(rng.integers(len(files)))]
    draw, data = rng.random(), path.read_bytes()
    others = sorted({p for p in files if p.read_bytes() != data})
    if draw < 0.06:
        path.unlink()
        return f"{path.name}: delete the file"
    if draw < 0.12 and others:
        other = others[int(rng.integers(len(others)))]
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
        return f"{path.name}: swap with {other.name}"
    name, mutated = mutate(rng, data)
    path.write_bytes(mutated)
    return f"{path.name}: {name}"


def is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8 without a zero."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def _with(data, start, end, between):
    return data[:start] + between + data[end:]


def _range(rng, data):
    start = int(rng.integers(len(data)))
    return start, min(len(data), start + int(rng.integers(1, 1 + max(1, len(data) // 4))))
