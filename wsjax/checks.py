"""Checks of what users give: every mistake is collected, and one error lists them all."""

import dataclasses
import math
import numbers
import re
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Rules = Mapping[str, tuple[bool, str]]  # attribute -> whether it is right, what is expected of it


def raise_all(headline: str, mistakes: Iterable[str]) -> None:
    """Raises one error that lists every mistake; returns where there is none.

    Raises:
        ValueError: there are mistakes, each on a line of its own below the headline.

    >>> raise_all("spec is inconsistent", [])
    >>> raise_all("spec is inconsistent", ["axis 'h0' has no size", "axis 'h1' has no size"])
    Traceback (most recent call last):
    ValueError: spec is inconsistent:
      axis 'h0' has no size
      axis 'h1' has no size
    """
    if mistakes := list(mistakes):
        raise ValueError("\n  ".join((f"{headline}:", *mistakes)))


def expect(name: str, value: object, kind: type) -> None:
    """Checks that an argument is an instance of a class.

    Raises:
        TypeError: it is of another class, or the class itself; says so by the argument's name.

    >>> expect("steps", 10, int)
    >>> expect("steps", "10", int)
    Traceback (most recent call last):
    TypeError: steps: expected int, got str
    """
    if not isinstance(value, kind):
        came = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(f"{name}: expected {kind.__name__}, got {came}")


def attributes(headline: str, thing: object, rules: Rules) -> None:
    """Checks attributes against their rules.

    Raises:
        ValueError: some are wrong; each is named, with what was expected and what came.
    """
    raise_all(
        headline,
        (
            f"{name}: expected {rule}, got {getattr(thing, name)!r}"
            for name, (right, rule) in rules.items()
            if not right
        ),
    )


def some(noun: str, numbers: Sequence | np.ndarray) -> str:
    """The first of many by their numbers, and how many there are.

    >>> some("network", [4]), some("network", [0, 4]), some("network", range(1000))
    ('network 4', 'networks 0, 4', '1000 networks: 0, 1, 2, 3, 4, ...')
    """
    listed = ", ".join(str(n) for n in numbers[:5])
    if len(numbers) > 5:
        return f"{len(numbers)} {noun}s: {listed}, ..."
    return f"{noun}{'s' * (len(numbers) > 1)} {listed}"


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "array"), counted(2048, "array")
    ('1 array', '2,048 arrays')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def printable(name: object) -> str:
    r"""A name from a disk or a file as text for a terminal: what does not print is escaped.

    >>> printable("cat\x1b[31m.png")
    'cat\\x1b[31m.png'
    """
    escaped = lambda c: c.encode("unicode_escape").decode()
    return "".join(c if c.isprintable() else escaped(c) for c in str(name))


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts digits in names as numbers.

    >>> sorted(["b", "a10", "a9", "a"], key=natural)
    ['a', 'a9', 'a10', 'b']
    """
    parts = re.findall(r"\d{1,18}|\D+|\d+", name)
    return [(0, int(p), "") if p.isdecimal() and len(p) < 19 else (1, 0, p) for p in parts]


NOUNS = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text"}


def fields(headline: str, thing: Any, infinite: Collection[str] = ()) -> None:
    """Checks the fields of a dataclass by their annotations, before rules compare their values.

    Annotations are numbers, texts, booleans, dataclasses, None, sequences and unions of these;
    fields of other annotations are not checked. A list may stand for a tuple.

    Args:
        headline: of the error.
        thing: the dataclass.
        infinite: fields of floats that may be infinite; no other may, and none may be NaN.

    Raises:
        ValueError: some are of another type; each is named, with what was expected and what came.

    >>> @dataclasses.dataclass
    ... class Run:
    ...     steps: int
    ...     rates: tuple[float, ...] = ()
    >>> fields("run makes no sense", Run(10, (0.1, 1)))
    >>> fields("run makes no sense", Run("10", 0.1))
    Traceback (most recent call last):
    ValueError: run makes no sense:
      steps: expected a whole number, got '10'
      rates: expected a tuple, each a finite number, got 0.1
    """
    raise_all(
        headline,
        (
            f"{f.name}: expected {_noun(f.type)}, got {getattr(thing, f.name)!r}"
            for f in dataclasses.fields(thing)
            if not _fits(getattr(thing, f.name), f.type)
            and not (f.name in infinite and getattr(thing, f.name) == math.inf)
        ),
    )


def _fits(value: Any, kind: Any) -> bool:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, x) for x in args)
    if origin in (tuple, Sequence):
        if not isinstance(value, list | tuple):
            return False
        same = origin is Sequence or args[1:] == (...,)
        each = args[:1] * len(value) if same else args
        return len(each) == len(value) and all(map(_fits, value, each))
    if kind in (None, types.NoneType):
        return value is None
    if kind in (int, float):
        of = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, of) and not isinstance(value, bool) and math.isfinite(value)
    checked = kind in (bool, str) or dataclasses.is_dataclass(kind)
    return isinstance(value, kind) if checked else True


def _noun(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(_noun, args))
    if origin in (tuple, Sequence):
        same = origin is Sequence or args[1:] == (...,)
        return f"a tuple, {'each ' + _noun(args[0]) if same else ', '.join(map(_noun, args))}"
    return NOUNS.get(kind, "None" if kind in (None, types.NoneType) else kind.__name__)
