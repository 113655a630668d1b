"""Settings as text: types, defaults and docstring lines of dataclasses."""

import dataclasses
from collections.abc import Sequence

import pytest

from experiments.lib import settings
from wsjax.encoders import ENCODERS
from wsjax.training import Settings


@dataclasses.dataclass
class Parent:
    """Settings.

    Attributes:
        width: of layers; more is slower
            than less.
        rate: e.g. 1e-3. The highest one.
    """

    width: int = 8
    rate: float = 0.5


@dataclasses.dataclass
class Child(Parent):
    """More settings.

    Attributes:
        width: of everything.
        on: whether it is.
        own: given.
    """

    on: bool = False
    own: int | None = dataclasses.field(kw_only=True)


def test_fields_have_type_default_and_first_sentence():
    found = settings.fields(Child)
    assert {k: str(v) for k, v in found.items()} == {
        "width": "int, default 8: of everything",
        "rate": "float, default 0.5: e.g. 1e-3",
        "on": "true or false, default false: whether it is",
        "own": "int | None, required: given",
    }
    assert str(settings.fields(Parent)["width"]) == "int, default 8: of layers"


def test_every_setting_of_training_and_of_encoders_is_text_and_back():
    for cls in (Settings, *ENCODERS.values()):
        for name, setting in settings.fields(cls).items():
            if setting.default == ():
                assert settings.parse("", setting.type) == ()
            else:
                text = settings.show(setting.default)
                assert settings.parse(text, setting.type) == setting.default, (cls, name)
    assert settings.fields(Settings)["steps"].words


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("8;16;32,64", Sequence[Sequence[int]], ((8,), (16,), (32, 64))),
        ("a,b", Sequence[str], ("a", "b")),
        ("none", int | None, None),
        ("3", int | None, 3),
        ("1e-3", float, 0.001),
        ("false", bool, False),
    ],
)
def test_values_of_every_type(text, kind, value):
    assert settings.parse(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind"), [("1e3", int), ("True", bool), ("1,x", Sequence[int]), ("1", dict[str, int])]
)
def test_texts_of_another_type_are_errors(text, kind):
    with pytest.raises(ValueError, match=r"invalid literal|true or false|not supported"):
        settings.parse(text, kind)
