"""The command that traces models of others, and the tables made of its records."""

import flax.linen as nn
import jax.numpy as jnp
import pytest

from experiments import report, tracing
from experiments.foreign_models.catalogue import Model
from experiments.foreign_models.generic import linen, normal
from experiments.lib import records, tracing_tables
from wsjax import architectures
from wsjax.encoders import GMN

pytestmark = pytest.mark.trains


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(jnp.tanh(nn.Dense(6)(nn.tanh(nn.Dense(4)(x)))))


def small():
    return linen(Small(), normal(3, 5))


def untraceable():
    return lambda params, x: x, {}, (normal(3, 5),)


def absent():
    raise AssertionError("built although its framework is not installed")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs parts and gives their records."""
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)

    def run(*flags):
        tracing.main([*flags, "--folder", str(tmp_path)])
        return records.read("tracing", tmp_path / "results")

    return run


def test_models_are_traced_or_refused(run, monkeypatch, tmp_path, capsys):
    catalogue = {
        "small": Model("small", "Flax Linen", "flax", small),
        "odd": Model("odd", "JAX", "jax", untraceable),
        "absent": Model("absent", "None", "a_package_that_is_not_there", absent),
    }
    monkeypatch.setattr(tracing, "MODELS", catalogue)
    by_name = {r["row"]: r for r in run("--parts", "models")}
    assert set(by_name) == {"small", "odd"}
    figures = by_name["small"]["metrics"]
    assert figures["hidden_axes"] == 2
    assert figures["log10_group"] == pytest.approx(4.24, abs=0.01)  # 4! 6!
    assert figures["error"] < 1e-5 < 0.01 < figures["misaligned"]
    assert by_name["small"]["parameters"] == 5 * 4 + 4 + 4 * 6 + 6 + 6 * 2 + 2
    assert by_name["odd"]["refused"].startswith("expected parameters")
    printed = capsys.readouterr().out
    assert "absent: left out, a_package_that_is_not_there is not installed" in printed
    table = tracing_tables.models(tmp_path / "results")
    assert "| `small` | Flax Linen | 68 | 2 | 10^4 |" in table
    assert "refused: expected parameters" in table
    run("--parts", "models", "--only", "odd")
    with pytest.raises(SystemExit, match="expected some of"):
        run("--only", "nothing")


def test_families_have_both_specs(run, monkeypatch, tmp_path):
    family = architectures.mlp([2, 6, 5, 1], "tanh"), (3, 2)
    monkeypatch.setattr(tracing, "FAMILIES", {"mlp": family})
    (record,) = run("--parts", "families")
    written, traced = record["metrics"]["written"], record["metrics"]["traced"]
    assert written == traced
    assert written["edges"] == family[0].count
    assert "| `mlp` | 4.9 | 4.9 |" in tracing_tables.families(tmp_path / "results")


def test_an_encoder_is_audited_on_a_traced_model(run, monkeypatch, tmp_path):
    monkeypatch.setattr(tracing, "ENCODED", ("small", "absent"))
    absent_model = Model("absent", "None", "a_package_that_is_not_there", absent)
    small_model = Model("small", "Flax Linen", "flax", small)
    monkeypatch.setattr(tracing, "MODELS", {"small": small_model, "absent": absent_model})
    monkeypatch.setattr(tracing, "ENCODERS", {"gmn": GMN(width=8, layers=3)})
    (record,) = run("--parts", "encoders")
    found = record["metrics"]["small"]["permutation"]
    assert found["verdict"] == "exact"
    assert found["function"] < 1e-5 < found["function_control"]
    assert found["change"] < 1e-4 < 1e-3 < found["control"]
    assert record["metrics"]["small"]["sign"]["verdict"] == "broken"  # GMN knows of no signs
    assert "| `gmn` | `small` | exact: " in tracing_tables.encoders(tmp_path / "results")


def test_matching_two_cnns_removes_part_of_their_barrier(run, tmp_path):
    flags = ["--images", "600", "--steps", "200", "--width", "8"]
    (record,) = run("--parts", "matching", *flags)
    figures = record["metrics"]
    assert min(figures["test_accuracy_1"], figures["test_accuracy_2"]) > 0.6
    before, after = (figures[f"train_barrier_{k}"] for k in ("as_trained", "matched"))
    assert 0 <= after < 0.7 * before
    assert "| digits | 8 | 200 |" in tracing_tables.matching(tmp_path / "results")


def test_the_report_has_the_tables_and_says_where_there_are_none(tmp_path):
    for name in tracing_tables.TABLES:
        page = f"<!-- table {name} -->\n<!-- end -->"
        assert "No runs yet." in report.render(page, tmp_path)
