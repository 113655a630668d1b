"""Every mistake is named in one error, and no error is raised without a mistake."""

import types

import pytest

from wsjax import checks


def test_no_mistake_raises_nothing():
    checks.raise_all("headline", [])
    checks.attributes("headline", types.SimpleNamespace(a=1), {"a": (True, "one")})


def test_every_mistake_is_listed_below_the_headline():
    with pytest.raises(ValueError, match=r"^headline:\n  first\n  second$"):
        checks.raise_all("headline", iter(["first", "second"]))


def test_wrong_attributes_are_named_with_expectation_and_value():
    thing = types.SimpleNamespace(a=1, b=-2, c="x")
    rules = {"a": (True, "any"), "b": (thing.b > 0, "a positive number"), "c": (False, "'y'")}
    with pytest.raises(ValueError, match="headline") as error:
        checks.attributes("headline", thing, rules)
    lines = str(error.value).splitlines()[1:]
    assert lines == ["  b: expected a positive number, got -2", "  c: expected 'y', got 'x'"]


def test_numbers_in_names_are_sorted_as_numbers():
    names = ["9", "10", "9a", "a1b10", "a1b9", str(10**30)]
    assert sorted(reversed(names), key=checks.natural)[:2] == ["9", "9a"]
    assert sorted(["x10", "x9"], key=checks.natural) == ["x9", "x10"]
