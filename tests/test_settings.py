import pathlib
import re

import pytest

from wsjax import recognition, settings
from wsjax.recognition import own


def test_every_setting_that_is_read_is_listed():
    text = "".join(p.read_text() for p in pathlib.Path(recognition.__file__).parent.glob("*.py"))
    direct = re.findall(r'config(?:\.get\(|\[)"(\w+)"', text)
    several = re.findall(r"_setting\(config, ([^)]*)\)", text)
    read = {*direct, *(k for group in several for k in re.findall(r'"(\w+)"', group))}
    assert {"activation", "chain", "n_head"} <= read
    assert read <= set(settings.SETTINGS)


def test_the_families_and_their_settings_are_listed():
    assert set(own.READERS) == set(settings.SETTINGS["family"].choices)
    assert {k for names in own.UNSEEN.values() for k in names} <= set(settings.SETTINGS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("chain", "False"), ("norm_first", "no"), ("heads", True), ("omega", "x"), ("order", "a")],
)
def test_a_value_of_another_type_is_a_misfit(name, value):
    assert settings.misfits({name: value})[name].startswith(f"{name}: expected ")
