"""Methods and presets: changes of one part leave the others; configs are those on record."""

import dataclasses
import json
import pickle

import pytest

from experiments.__main__ import EXPERIMENTS
from experiments.lib import records
from experiments.lib.methods import Method
from wsjax.tasks import classification, editing
from wsjax.training import Settings

METHODS = {
    f"{name}/{preset}": settings.methods
    for name, (_, experiment) in EXPERIMENTS.items()
    for preset, settings in experiment.PRESETS.items()
}


def test_changes_are_of_one_part():
    method = Method("gmn", {"width": 48})
    longer = method.train(240, batch=8)
    assert (longer.training.evaluate_every, longer.training.checkpoint_every) == (20, 20)
    assert (longer.training.steps, longer.training.batch) == (240, 8)
    assert method.train(5).training.evaluate_every == 1
    assert method.sized(layers=2).settings == {"width": 48, "layers": 2}
    assert method.aimed(permute=False).objective.permute is False
    for changed in (longer, method.sized(layers=2), method.aimed(permute=False), method.seeded(3)):
        different = {
            f.name
            for f in dataclasses.fields(Method)
            if getattr(changed, f.name) != getattr(method, f.name)
        }
        assert len(different) == 1
    computed = Method(compute=len)
    assert computed.seeded(3) == computed
    assert computed.config() == computed.available() == {}


def test_steps_follow_from_epochs_and_the_networks_there_are():
    plain = Settings(steps=1000, batch=8, schedule="constant")
    method = Method("mlp", training=plain, epochs=24)
    training = method.over(803).training
    assert (training.steps, training.evaluate_every, training.checkpoint_every) == (2400, 100, 200)
    assert method.over(3).training.steps == 24  # which `fit` does not support, and says so
    assert Method("mlp", training=plain).over(803).training == plain
    assert method.train(5).over(803).training.steps == 5
    assert method.override({"training.steps": "7"}).over(803).training.steps == 7
    changed = method.override({"training.batch": "16"}).over(803)
    assert (changed.training.steps, changed.epochs) == (24 * 50, 24)
    warm = dataclasses.replace(method, training=dataclasses.replace(plain, warmup=100))
    assert [warm.over(n).training.warmup for n in (803, 80, 3)] == [100, 24, 2]


def test_a_rate_from_text_ends_the_choice_of_rates():
    method = Method("mlp", rates=(0.1, 0.01))
    assert method.config()["rates"] == [0.1, 0.01]
    one = method.override({"training.learning_rate": "0.5"})
    assert (one.rates, one.training.learning_rate) == ((), 0.5)
    assert "rates" not in one.config()
    assert method.override({"training.batch": "16"}).rates == method.rates


def test_settings_from_text_reach_the_methods_that_have_them():
    method = Method("sne").override(
        {"encoder.chunk": "8", "training.steps": "5", "encoder.no": "1"}
    )
    assert method.settings == {"chunk": 8}
    assert method.training.steps == 5
    assert Method(compute=len).override({"training.steps": "5"}) == Method(compute=len)
    with pytest.raises(ValueError, match=r"encoder\.chunk: expected int such as 32, got 'many'"):
        Method("sne").override({"encoder.chunk": "many"})
    with pytest.raises(ValueError, match="warmup: expected 0 or more, below steps"):
        Method("sne").override({"training.steps": "5", "training.warmup": "9"})


def test_configs_keep_the_keys_of_records():
    objective = Method("mlp", objective=classification.Objective(phase=2)).config()["objective"]
    assert (objective["turn"], objective["renumber"]) == (2, False)
    objective = Method("mlp", objective=editing.Objective(permute=True)).config()["objective"]
    assert objective == {"renumber": True, "flip": False, "turn": 0}
    assert Method("mlp").config()["encoder_settings"]["widths"] == (12,)
    with pytest.raises(ValueError, match=r"mlp has the settings .*got \['chunk'\]"):
        Method("mlp", {"chunk": 3}).config()


@pytest.mark.parametrize("name", METHODS)
def test_methods_build_and_go_to_other_processes(name):
    for method in METHODS[name].values():
        assert pickle.loads(pickle.dumps(method)) == method
        if method.encoder:
            method.build()
            training = method.training
            assert training.batch % (training.microbatch or training.batch) == 0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_published_figures_are_of_methods_as_their_presets_have_them_today(name):
    """A setting that an encoder has had only since is at its default there."""
    presets = EXPERIMENTS[name][1].PRESETS
    for preset, settings in presets.items():
        if name in ("inr_classification", "inr_editing"):
            continue  # their presets depend on the data
        for run in records.latest(records.read(name, records.PUBLISHED, preset=preset)):
            if name == "inr_ablation" and run["row"].startswith("sne_wide"):
                continue  # parts of the model that was taken for the paper's
            here = settings.directions.get(run.get("train_zoo", ""), settings.methods)
            method = here[run["row"]].over(run["config"].get("sizes", {}).get("train", 0))
            if method.encoder is None:
                continue
            config = json.loads(json.dumps(method.config()))
            config["training"]["seed"] = run["seed"]
            recorded = {k: run["config"][k] for k in config}
            defaults = json.loads(json.dumps(Method(method.encoder).config()["encoder_settings"]))
            if method.encoder == "sne":  # which had neither of these defaults before
                defaults |= {"output": False, "learned_scale": True}
            if method.encoder == "dwsnet":  # of networks of one output it is the same model
                defaults["as_published"] = config["encoder_settings"]["as_published"]
            recorded["encoder_settings"] = {**defaults, **recorded["encoder_settings"]}
            assert recorded == config, f"{name} {run['row']}"
