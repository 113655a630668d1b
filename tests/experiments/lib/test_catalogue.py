"""The table of encoders says what is so."""

import pytest

from experiments.lib import catalogue, records
from wsjax.encoders import ENCODERS


def test_every_encoder_has_a_line():
    assert set(catalogue.ABOUT) == set(ENCODERS)
    header, lines = catalogue.rows()
    assert [x[0] for x in lines] == [f"`{name}`" for name in ENCODERS]
    assert {len(x) for x in lines} == {len(header)}


@pytest.mark.parametrize("name", ENCODERS)
def test_symmetries_are_those_that_audits_found(name):
    """Of the records: exact is what no audit found broken; an untrained encoder has no more."""
    (run,) = records.latest(records.read("audits", preset="laptop", row=name))
    about = catalogue.ABOUT[name]
    for symmetry in catalogue.SYMMETRIES:
        found = {
            verdicts[symmetry]["verdict"]
            for network in run["metrics"].values()
            for verdicts in network.values()
        } - {"not applicable"}
        assert found
        if symmetry in about.exact:
            assert found <= {"exact", "blind"}
        else:
            assert "broken" in found
        if symmetry in about.learned:
            assert symmetry not in about.exact


def test_what_is_read_and_what_is_not():
    assert catalogue.readable("inr2vec") == ["MLPs"]
    assert "attention" not in catalogue.readable("scalegmn")
    assert catalogue.readable("gmn") == list(catalogue.READS)
