"""The command that audits every encoder, and the table made of its records."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import audits
from experiments.lib import records, tables
from wsjax.architectures import mlp
from wsjax.encoders import ENCODERS, Encoder
from wsjax.symmetries import widening

KEY = jax.random.key(3)
RELU = mlp([2, 6, 2], "relu")


class Adder(Encoder):
    """Sums of entries and of their squares; reads mixed batches."""

    reads_any = True
    mixes = True

    def view(self, spec):
        return np.ones(spec.count, bool)

    @staticmethod
    def stack(views):
        width = max(len(v) for v in views)
        return np.stack([np.pad(v, (0, width - len(v))) for v in views])

    @nn.compact
    def __call__(self, vectors, view, train=False):
        x = jnp.where(view, vectors[..., : view.shape[-1]], 0)
        return nn.Dense(2)(jnp.stack([x.sum(-1), (x**2).sum(-1)], axis=-1))


def test_an_encoder_is_audited_and_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    monkeypatch.setitem(ENCODERS, "adder", Adder)
    monkeypatch.setattr(audits, "VARIANTS", {"adder": ("adder", {})})
    monkeypatch.setitem(audits.NETWORKS, "mlp_tanh", mlp([2, 6, 2], "tanh"))
    monkeypatch.setattr(audits, "MIXED", (RELU, mlp([2, 3, 2], "tanh")))
    folder = ["--folder", str(tmp_path)]
    audits.main(["--networks", "mlp_tanh,mixed", "--samples", "1", *folder])
    (run,) = records.read("audits", tmp_path / "results")
    printed = capsys.readouterr().out
    assert (run["row"], run["preset"], run["refused"]) == ("adder", "laptop-custom", {})
    for dtype in audits.DTYPES:
        assert {n: r[dtype]["permutation"]["verdict"] for n, r in run["metrics"].items()} == {
            "mlp_tanh": "blind",
            "mixed": "blind",
        }
        assert run["metrics"]["mixed"][dtype]["scale"]["verdict"] == "broken"
        assert run["metrics"]["mlp_tanh"][dtype]["scale"]["verdict"] == "not applicable"
        assert f"adder on mixed, network 2 of 2: {dtype} network, {dtype} embedding" in printed
    monkeypatch.setattr(Adder, "stack", Encoder.stack)
    audits.main(["--networks", "mixed", *folder])
    printed = capsys.readouterr().out
    assert "adder does not support mixed: Adder reads one architecture at a time, got 2" in printed


def test_every_encoder_can_be_built_and_a_sine_is_of_typical_size():
    assert set(ENCODERS) < set(audits.VARIANTS)
    for name, (encoder, _) in audits.VARIANTS.items():
        assert isinstance(audits.build(name), ENCODERS[encoder])
    spec = audits.NETWORKS["mlp_sine"]
    params = audits.draw(spec, KEY)
    assert 0.05 < np.abs(params["Dense_1/bias"]).mean() < 0.3
    assert np.abs(params["Dense_1/kernel"]).max() < np.sqrt(6 / 12) / 30
    assert widening.widenable(spec) == ("h0", "h1")


def test_cells_separate_networks_and_precisions():
    audited = lambda verdict, change=None, reason="": dict(
        verdict=verdict, change=change, reason=reason
    )
    both = lambda one, other=None: {
        dtype: {"sign": r} for dtype, r in zip(audits.DTYPES, (one, other or one), strict=True)
    }
    cell = lambda **networks: tables.audit_cell({"metrics": networks}, "sign")
    exact, tiny = audited("exact", 2e-7), audited("exact", 3e-16)
    assert (
        cell(a=both(exact, tiny), b=both(audited("exact", 4e-7), tiny))
        == "exact (4.0e-07; 3.0e-16)"
    )
    assert cell(a=both(audited("broken", 0.3)), b=both(audited("broken", 0.1))) == "broken (0.3)"
    text = cell(a=both(exact, tiny), b=both(audited("broken", 0.3)))
    assert text == "broken (0.3): b; else exact (2.0e-07; 3.0e-16)"
    text = cell(a=both(exact, audited("broken", 1e-9)))
    assert text == "exact (2.0e-07) in float32, broken (1.0e-09) in float64"
    none = audited("not applicable", reason="the network admits no sign")
    assert cell(a=both(none)) == "–"
    assert cell(a=both(none), b=both(audited("blind", 0.0))) == "blind"
    unsupported = audited("not applicable", reason="the wider network: one width")
    assert cell(a=both(unsupported), b=both(none)) == "not supported"
    text = cell(a=both(exact, tiny), b=both(unsupported))
    assert text == "exact (2.0e-07; 3.0e-16); not supported: b"
