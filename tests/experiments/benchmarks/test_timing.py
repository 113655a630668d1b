"""Variants take turns, steps learn, and figures become records."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import encoder_steps, sne_step, timing, torch_networks
from experiments.lib import records
from experiments.make import inr_zoo, sine_zoo
from wsjax.zoos.inrs.inr_recipe import RECIPES
from wsjax.zoos.sines import sine

pytestmark = pytest.mark.trains
DATA = {"x": np.arange(4, dtype=np.float32), "y": 2 * np.arange(4, dtype=np.float32)}


def loss(params, key, batch):
    return jnp.square(params["w"] * batch["x"] - batch["y"]).mean(), {}


def test_runs_take_turns_after_one_call_each():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    least = timing.least_seconds(runs, rounds=2)
    assert "".join(calls) == "ababab"
    assert set(least["second"]) == {"a", "b"}
    assert all(0 <= x < 1 for x in least["second"].values())
    assert ("CPU-second" in least) == (jax.default_backend() == "cpu")


def test_milliseconds_are_of_the_faster_round(monkeypatch):
    monkeypatch.setattr(timing, "least_seconds", lambda runs, rounds: {"second": {"a": 0.5}})
    assert timing.in_turn({"a": print}, 1) == {"a": 500.0}


@pytest.mark.parametrize("microbatch", [0, 2])
def test_a_step_trains_a_copy(microbatch):
    params = {"w": jnp.zeros(())}
    run, memory = timing.training_step(loss, params, DATA, microbatch)
    losses = [run() for _ in range(5)]
    assert losses[0] == pytest.approx(14.0)
    assert losses[-1] < losses[0]
    assert params["w"] == 0
    assert memory >= 0


def test_figures_become_a_record(tmp_path):
    timing.record("nothing", lambda: {"a: ms": 1.0}, {"batch": 4}, tmp_path)
    (record,) = records.read("benchmarks", tmp_path)
    assert (record["row"], record["metrics"], record["config"]) == (
        *("nothing", {"a: ms": 1.0}, {"batch": 4}),
    )


def test_a_variant_of_sne_takes_steps():
    run, memory = sne_step.step({"width": 8, "heads": 2, "depth": 1}, 8, 4, 0.1)
    assert np.isfinite(run())
    assert memory > 0


def test_without_pytorch_there_is_a_message(capsys):
    assert torch_networks.load(("no_such_package",)) is None
    assert "pip install no_such_package" in capsys.readouterr().out


def test_pytorch_has_as_many_variables_and_fits_the_same_networks():
    torch = pytest.importorskip("torch")
    data = encoder_steps.batch()
    net, arrays = encoder_steps.statistics(data)
    ours, _, count = encoder_steps.jax_step("StatNN", data)
    assert sum(x.numel() for x in net.parameters()) == count
    step = torch_networks.regression_step(net, arrays, data["target"])
    assert np.isfinite([ours(), step(), step()]).all()
    recipe = sine.Recipe(networks=1, steps=3)
    waves = sine.waves(recipe)
    fit = sine_zoo._torch_loop(torch, recipe)
    assert fit(waves.frequencies[0], waves.amplitudes[0], waves.keys[0]) == 3
    assert inr_zoo.torch_fitting(RECIPES["dws"], np.zeros((4, 4, 1), np.float32), waves.keys[0])
