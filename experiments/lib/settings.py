"""Settings as text: the fields of a dataclass with their types, defaults and docstring lines.

fields(training.Settings)["steps"]     Setting(type=int, default=1000, words="how many updates")
parse("128,64", Sequence[int])         (128, 64)
"""

import collections.abc
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

WORDS = {"true": True, "false": False}


class Setting(NamedTuple):
    """One field of a dataclass.

    Attributes:
        type: its annotation.
        default: `dataclasses.MISSING` if it must be given.
        words: the first sentence about it in the docstring.
    """

    type: Any
    default: Any
    words: str

    def __str__(self) -> str:
        missing = self.default is dataclasses.MISSING
        value = "required" if missing else f"default {show(self.default)}"
        return f"{name(self.type)}, {value}{': ' * bool(self.words)}{self.words}"


def fields(cls: type, without: typing.Collection[str] = ("parent", "name")) -> dict[str, Setting]:
    """The settings of a dataclass by name; those of Flax itself are left out."""
    hints, words = typing.get_type_hints(cls), _described(cls)
    return {
        f.name: Setting(hints[f.name], f.default, words.get(f.name, ""))
        for f in dataclasses.fields(cls)
        if f.name not in without
    }


def parse(text: str, kind: Any) -> Any:
    """A value from its text: items of sequences are divided by ",", of nested ones by ";" outside.

    Raises:
        ValueError: the text is not of this type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is bool:
        if text not in WORDS:
            raise ValueError("expected true or false")
        return WORDS[text]
    if kind in (int, float, str):
        return kind(text)
    if origin in (typing.Union, types.UnionType):
        if text == "none" and type(None) in arguments:
            return None
        return parse(text, next(a for a in arguments if a is not type(None)))
    if origin in (tuple, list, collections.abc.Sequence):
        item = arguments[0]
        mark = "," if typing.get_origin(item) is None else ";"
        return tuple(parse(x, item) for x in text.split(mark)) if text else ()
    raise ValueError(f"a {name(kind)} is not supported on a command line")


def show(value: Any) -> str:
    """The text that `parse` reads as this value."""
    if isinstance(value, tuple | list):
        mark = ";" if value and isinstance(value[0], tuple | list) else ","
        return mark.join(map(show, value)) or "(none)"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def name(kind: Any) -> str:
    """A type in words."""
    if kind is bool:
        return "true or false"
    if typing.get_origin(kind) in (tuple, list, collections.abc.Sequence):
        item = typing.get_args(kind)[0]
        if typing.get_origin(item) is None:
            return f"comma-separated {name(item)}"
        return f"{name(item)}, groups separated by semicolons"
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)


def listing(settings: Mapping[str, Setting]) -> str:
    """Settings in lines, one each."""
    width = max(map(len, settings), default=0)
    return "\n".join(f"  {k:{width}}  {v}" for k, v in settings.items())


def _described(cls):
    """Field -> first sentence about it in "Attributes:" of the class or what it inherits from."""
    words: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        for item in re.finditer(r"^    (\w+): (.*(?:\n {5,}.*)*)", text, re.MULTILINE):
            whole = " ".join(item[2].split())
            words[item[1]] = re.split(r"[.](?= [A-Z]|$)|[;:](?= |$)", whole)[0]
    return words
