"""The table of encoders agrees with the encoders and with the records of audits."""

import pytest

from experiments.lib import catalogue, records
from wsjax.encoders import ENCODERS


def test_every_encoder_has_a_line():
    assert set(catalogue.ABOUT) == set(ENCODERS)
    header, lines = catalogue.rows()
    assert [x[0] for x in lines] == [f"`{name}`" for name in ENCODERS]
    assert {len(x) for x in lines} == {len(header)}


@pytest.mark.parametrize("name", ENCODERS)
def test_symmetries_agree_with_the_audits(name):
    """Exact is a symmetry that no record has broken; an untrained encoder has no others."""
    (run,) = records.latest(records.read("audits", records.PUBLISHED, preset="laptop", row=name))
    about = catalogue.ABOUT[name]
    for symmetry in catalogue.SYMMETRIES:
        results = {
            verdicts[symmetry]["verdict"]
            for network in run["metrics"].values()
            for verdicts in network.values()
        } - {"not applicable"}
        assert results
        if symmetry in about.exact:
            assert results <= {"exact", "blind"}
        else:
            assert "broken" in results
        if symmetry in about.learned:
            assert symmetry not in about.exact


def test_supported_architectures():
    assert catalogue.supported("inr2vec") == ["MLPs"]
    assert "attention" not in catalogue.supported("scalegmn")
    assert catalogue.supported("gmn") == list(catalogue.READS)
