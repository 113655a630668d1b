"""Every encoder that promises it is exactly invariant, on every architecture it reads."""

import battery
import pytest

from wsjax.testing import MARGIN

RTOL = 2e-5  # deep residual networks in float32


@pytest.fixture(scope="module", params=battery.EXACT)
def reader(request):
    return request.param, battery.readers(battery.ROWS[request.param])


def test_exact_encoders_are_blind_to_numbering_and_see_every_wire(reader):
    name, found = reader
    wrong = []
    for case, encode in found.encode.items():
        law, tear = battery.errors(encode, battery.CASES[case][0])
        if not (law <= RTOL and tear > MARGIN * law and tear > 1e-6):
            wrong.append(f"{case}: renumbering moves the code {law:.0e}, the least tear {tear:.0e}")
    assert not wrong, f"{name}:\n" + "\n".join(wrong)


def test_gmn_and_grit_read_everything(reader):
    name, found = reader
    if name == "neural_graph":
        assert set(found.refused) <= set(battery.CASES), found.refused
        assert all(message for message in found.refused.values())
    else:
        assert not found.refused
    assert len(found.encode) + len(found.refused) == len(battery.CASES) > 50
