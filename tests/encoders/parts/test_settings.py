"""All settings that make no sense are named at once."""

import pytest

from wsjax.encoders import MLP
from wsjax.encoders.parts import settings


def test_every_wrong_setting_is_named_with_what_was_expected():
    rules = {"code": (False, "an even number"), "widths": (True, "anything")}
    rules["readout"] = (False, "one of ('a', 'b')")
    message = r"(?s)make no sense:.*code: expected an even number, got 32.*readout: expected one"
    with pytest.raises(ValueError, match=message) as error:
        settings.check(MLP(), rules)
    assert "widths" not in str(error.value)


def test_sizes_are_at_least_one():
    with pytest.raises(ValueError, match=r"code: expected at least 1, got 0"):
        MLP(code=0)
