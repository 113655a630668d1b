"""Audits of trained encoders: invariances that are known of them."""

import pytest
from cases import tasks as small
from cases import weight_folders

from wsjax.auditing import audit_model
from wsjax.tasks.regression import Regression


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of two runs: statistics are invariant to permutations, an MLP is not."""
    path = tmp_path_factory.mktemp("runs")
    for name, settings in {"stat_nn": small.STAT_NN, "mlp": {"widths": (8,), "code": 4}}.items():
        small.fit(small.ratio_zoo(32), Regression("ratio"), path / name, name, settings, steps=1)
    return path


@pytest.mark.trains
@pytest.mark.parametrize(("name", "verdict"), [("stat_nn", "blind"), ("mlp", "broken")])
def test_verdicts_are_those_of_the_encoder(runs, name, verdict):
    audited = audit_model(runs / name, samples=1)
    assert audited.audit["permutation"].verdict == verdict
    assert audited.audit["sign"].verdict == "broken"
    assert audited.audit["scale"].verdict == "not applicable"
    assert audited.network == "a random network of 13 weights, as in training"
    assert audited.encoder == {"stat_nn": "StatNN", "mlp": "MLP"}[name]
    again = audit_model(runs / name, samples=1)
    assert again.audit == audited.audit


@pytest.mark.trains
def test_the_network_of_a_file_is_measured_or_not_supported(runs, tmp_path):
    weight_folders.write(tmp_path / "other.pt", weight_folders.mlp(0))
    with pytest.raises(ValueError, match="supports only the architecture it was trained on"):
        audit_model(runs / "stat_nn", tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError):
        audit_model(runs / "stat_nn", tmp_path / "absent.pt")
    with pytest.raises(FileNotFoundError):
        audit_model(runs / "absent")
