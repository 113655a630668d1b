"""Codes learned without labels tell networks apart; the probe is least squares and no more."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from experiments import inr_self_supervised
from experiments.lib import records
from wsjax import architectures, networks, testing, training, zoos
from wsjax.symmetries import permutations
from wsjax.tasks import contrastive
from wsjax.tasks.contrastive import Objective

pytestmark = pytest.mark.trains

SPEC = architectures.mlp([1, 6, 1], "tanh")
LABELS = ("gain", "offset")
MLP = {"widths": (16,), "code": 8}


def make_zoo(count=128, seed=0):
    """Two labels that are the size of one array and the value of another."""
    params = {k: np.array(v) for k, v in testing.draw(jax.random.key(seed), SPEC, (count,)).items()}
    gain, offset = np.random.default_rng(seed).uniform(0.5, 2, (2, count))
    params["Dense_0/kernel"] *= gain[:, None, None]
    params["Dense_1/bias"] = offset[:, None]
    zoo = zoos.from_params(params, SPEC, {"gain": gain, "offset": offset})
    return zoos.split(zoo, {"train": count // 2, "validation": count // 4, "test": count // 4}, 0)


def train(zoo, folder, encoder="mlp", settings=None, labels=LABELS, objective=None, **how):
    config = {"encoder": encoder, "encoder_settings": settings or MLP, "head": [8, 8]}
    rest = {"steps": 8, "batch": 16, "learning_rate": 1e-2, "evaluate_every": 4} | how
    return contrastive.train(
        zoo,
        labels,
        config,
        objective or Objective(mask=0.2),
        training.Settings(**rest),
        folder,
        progress=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with jax.numpy_dtype_promotion("standard"):
        zoo = make_zoo()
        model, result = train(zoo, folder)
    return zoo, model, result, folder


def recognised(model, zoo):
    """The share of test networks whose renumbered twin's code is nearer than any other."""
    vectors = zoo.vectors[zoo.splits["test"]]
    keys = jax.random.split(jax.random.key(3), len(vectors))
    shuffle = jax.vmap(permutations.shuffle, in_axes=(0, 0, None))
    twins = np.asarray(shuffle(keys, vectors, permutations.moves(SPEC)))
    codes = [model.encode(x) for x in (vectors, twins)]
    codes = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in codes]
    return np.mean((codes[0] @ codes[1].T).argmax(1) == np.arange(len(vectors)))


# Training


def test_training_teaches_what_copies_share(tmp_path):
    zoo = make_zoo(256)
    twins = Objective(noise=0.1, mask=0.0, permute=True)
    how = {"steps": 200, "evaluate_every": 200, "batch": 64}
    model, result = train(zoo, tmp_path, objective=twins, **how)
    fresh = contrastive.build(model.config)
    params = fresh.init(jax.random.key(5), zoo.vectors[:1], fresh.encoder.view(SPEC))["params"]
    untrained = dataclasses.replace(model, variables={"params": params})
    assert recognised(untrained, zoo) < 0.15
    assert recognised(model, zoo) > 0.25
    lines = [json.loads(x) for x in result.history.read_text().splitlines()]
    assert lines[-1]["loss"] < np.log(2 * 64 - 1)  # what views all alike would give


def test_labels_do_not_reach_the_encoder(tmp_path):
    zoo = make_zoo()
    other = dataclasses.replace(zoo, labels={k: 7 - 3 * v for k, v in zoo.labels.items()})
    how = {"evaluate_every": 8}  # one look: no choice among checkpoints
    one, _ = train(zoo, tmp_path / "one", **how)
    two, _ = train(other, tmp_path / "two", **how)
    jax.tree.map(np.testing.assert_array_equal, one.variables, two.variables)
    vectors = zoo.vectors[zoo.splits["test"]]
    np.testing.assert_allclose(two.predict(vectors), 7 - 3 * one.predict(vectors), atol=1e-4)


def test_the_checkpoint_is_chosen_by_the_validation_error_of_a_probe(trained):
    zoo, model, result, _ = trained
    lines = [json.loads(x) for x in result.history.read_text().splitlines()]
    assert result.best_value == pytest.approx(min(x["val_mse"] for x in lines), rel=1e-6)
    each = [lines[-1][f"val_mse_{k}"] for k in LABELS]
    assert lines[-1]["val_mse"] == pytest.approx(np.mean(each))
    held = zoo.vectors[zoo.splits["validation"]]
    wanted = contrastive.targets(zoo, "validation", LABELS)
    # all training networks are within `probed`: the final probe is the one that was judged
    scores = contrastive.errors(model.predict(held), wanted, LABELS)
    assert scores["mse"] == pytest.approx(result.best_value, rel=1e-5)


def test_pieces_change_memory_and_not_the_numbers(tmp_path):
    zoo, how = make_zoo(), {"steps": 2, "evaluate_every": 2}
    whole, _ = train(zoo, tmp_path / "whole", **how)
    pieces, _ = train(zoo, tmp_path / "pieces", objective=Objective(mask=0.2, piece=4), **how)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    jax.tree.map(close, whole.variables, pieces.variables)


def test_restore_needs_nothing_but_the_path(trained):
    zoo, model, _, folder = trained
    again = contrastive.restore(folder)
    vectors = zoo.vectors[zoo.splits["test"]]
    np.testing.assert_array_equal(again.encode(vectors), model.encode(vectors))
    np.testing.assert_array_equal(again.predict(vectors), model.predict(vectors))
    assert again.encode(zoo.params(0)).shape == (8,)
    assert again.predict(zoo.params(0)).shape == (2,)
    assert again.labels == LABELS
    assert again.spec == SPEC


def test_a_statistics_encoder_comes_back_and_goes_on_after_a_stop(tmp_path):
    zoo = make_zoo()
    model, _ = train(zoo, tmp_path, "stat_nn", {"widths": (8,), "code": 4})
    (tmp_path / "probe.json").unlink()  # as if killed between the last step and the probe
    with pytest.raises(FileNotFoundError, match="written when training ends"):
        contrastive.restore(tmp_path)
    _, result = train(zoo, tmp_path, "stat_nn", {"widths": (8,), "code": 4})
    assert result.resumed == 8
    vectors = zoo.vectors[zoo.splits["test"]]
    again = contrastive.restore(tmp_path)
    np.testing.assert_allclose(again.predict(vectors), model.predict(vectors), rtol=1e-4)


def test_copies_are_renumbered_only_when_asked():
    zoo, x = make_zoo(), np.linspace(-1, 1, 5)[:, None]
    vectors, key, moves = zoo.vectors[:6], jax.random.key(0), permutations.moves(SPEC)
    still = Objective(noise=0.0, mask=0.0)
    np.testing.assert_array_equal(contrastive.disturb(key, vectors, still, moves), vectors)
    moved = contrastive.disturb(key, vectors, dataclasses.replace(still, permute=True), moves)
    assert (np.asarray(moved) != vectors).any(1).all()
    forward = jax.vmap(lambda v: architectures.forward(networks.unravel(v, SPEC), x, SPEC))
    np.testing.assert_allclose(forward(moved), forward(vectors), atol=1e-4)
    loud = contrastive.disturb(key, vectors, Objective(), moves)
    assert np.mean(np.asarray(loud) == 0) == pytest.approx(0.5, abs=0.15)


# The probe


def test_the_probe_is_least_squares():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(50, 3)) * [1, 100, 0.01] + [0, 5, -2]
    wanted = rng.normal(size=(50, 2)) + codes[:, :2]
    table = np.column_stack([codes, np.ones(50)])
    want = table @ np.linalg.solve(table.T @ table, table.T @ wanted)
    found = contrastive.probe(codes, wanted)
    np.testing.assert_allclose(found.predict(codes), want, atol=1e-8)
    np.testing.assert_allclose(found.predict(codes[3]), want[3], atol=1e-8)


def test_the_probe_reads_what_is_linear_in_the_code_and_nothing_else():
    codes = np.random.default_rng(0).normal(size=(400, 4))
    wanted = np.stack([2 * codes[:, 0] - codes[:, 3] + 1, codes[:, 1] ** 2], axis=1)
    found = contrastive.probe(codes[:200], wanted[:200])
    scores = contrastive.errors(found.predict(codes[200:]), wanted[200:], ("line", "square"))
    assert scores["mse_line"] < 1e-20
    assert scores["mse_square"] > 0.9 * wanted[200:, 1].var()


@pytest.mark.parametrize("count", [1, 20])
def test_codes_all_alike_give_the_mean(count):
    wanted = np.arange(2.0 * count).reshape(count, 2)
    found = contrastive.probe(np.full((count, 3), 4.0), wanted)
    np.testing.assert_allclose(found.predict(np.full((2, 3), 9.0)), [wanted.mean(0)] * 2)


def test_errors_are_those_of_each_label_and_of_all():
    found = contrastive.errors(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), ("a", "b"))
    assert found == {"mse": 2.5, "mse_a": 1.0, "mse_b": 4.0}


@pytest.mark.parametrize(
    ("codes", "wanted", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "got (3, 2) and (4, 2)"),
        (np.ones((3, 2)), np.ones(3), "got (3, 2) and (3,)"),
        (np.ones((0, 2)), np.ones((0, 2)), "got (0, 2) and (0, 2)"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "6 of 6 codes are NaN"),
        (np.ones((3, 2)), np.full((3, 1), np.inf), "3 of 3 targets are NaN"),
    ],
)
def test_the_probe_refuses(codes, wanted, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        contrastive.probe(codes, wanted)


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, "batch of at least 2"),
        ({"microbatch": 4}, "microbatch 4"),
        ({"objective": Objective(piece=5)}, "piece 5"),
        ({"labels": ("gain", "colour")}, "label of ['gain', 'offset'], got 'colour'"),
        ({"encoder": "gpt"}, "got 'gpt'"),
        ({"batch": 65}, "batch of 65 examples, got 64"),
    ],
    ids=str,
)
def test_training_refuses(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(make_zoo(), tmp_path, **changes)


def test_networks_that_are_not_finite_are_refused(trained):
    zoo, model, _, _ = trained
    broken = zoo.vectors[:2].copy()
    broken[1, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 12 values are NaN"):
        model.encode(broken)
    with pytest.raises(ValueError, match="NaN or infinite"):
        dataclasses.replace(zoo, vectors=np.where(zoo.vectors > 0, np.inf, zoo.vectors))


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"noise": -1.0}, {"mask": 1.0}, {"probed": 0}, {"piece": -1}]
)
def test_objectives_are_checked(wrong):
    with pytest.raises(ValueError, match=r"expected a temperature above 0"):
        Objective(**wrong)


# The experiment


def test_the_smoke_preset_trains_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    monkeypatch.setattr(records, "RESULTS", None)  # set back after `--results`
    flags = ["--preset", "smoke", "--folder", str(tmp_path), "--results", str(tmp_path / "out")]
    every = inr_self_supervised.PRESETS["smoke"].rows
    # other encoders have tests of their own, and are slow to compile
    some = ("mean", "boosted_trees", "mlp", "mlp_aug", "mlp_align", "scalegmn")
    rows = {name: every[name] for name in some}
    runs = inr_self_supervised.main([*flags, "--rows", ",".join(rows)])
    assert [r["row"] for r in runs] == list(rows)
    assert set(records.KEYS) <= set(runs[0])
    lines = (tmp_path / "out" / "inr_self_supervised.jsonl").read_text().splitlines()
    assert [json.loads(x)["metrics"] for x in lines] == [r["metrics"] for r in runs]
    for r in runs:
        m = r["metrics"]
        each = [m[f"test_mse_{k}"] for k in inr_self_supervised.LABELS]
        assert m["test_mse"] == pytest.approx(np.mean(each))
        assert bool(r["steps"]) == bool(rows[r["row"]].encoder)
    error = {r["row"]: r["metrics"]["test_mse"] for r in runs}
    assert error["boosted_trees"] < 0.5 * error["mean"]
    assert error["mlp_align"] != error["mlp"] != error["mlp_aug"]
    home = tmp_path / "inr_self_supervised" / "smoke"
    assert (home / "curves.png").stat().st_size > 1000
    for name in rows:
        assert len(list(home.glob(f"{name}-0-*/predictions_*.png"))) == 2

    capsys.readouterr()
    path = next(home.glob("mlp_align-0-*"))
    inr_self_supervised.main(["--evaluate", str(path), "--folder", str(tmp_path)])
    printed = float(re.search(r"test MSE ([\d.]+) on 32 networks", capsys.readouterr().out)[1])
    assert printed == pytest.approx(error["mlp_align"], abs=1e-5)

    inr_self_supervised.main([*flags, "--rows", "mean,mlp"])
    assert capsys.readouterr().out.count("finished before") == 2


@pytest.mark.parametrize("preset", inr_self_supervised.PRESETS)
def test_every_row_builds_and_gives_codes_of_16(preset):
    settings = inr_self_supervised.PRESETS[preset]
    for row in settings.rows.values():
        if row.encoder:
            module = contrastive.build(row.config())
            assert module.encoder.code == inr_self_supervised.CODE
            assert not row.objective.piece or 2 * row.training.batch % row.objective.piece == 0


def test_the_table_sorts_by_error_and_has_the_papers_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    assert records.self_supervised_table() == "No runs yet."
    for row, value in (("mlp", 7.0), ("boosted_trees", 1.0)):
        scores = {f"test_mse{k}": value for k in ("", "_amplitude", "_frequency")}
        about = inr_self_supervised.PRESETS["laptop"].rows[row]
        record = {"experiment": "inr_self_supervised", "row": row, "preset": "laptop", "seed": 0}
        record |= {"metrics": scores, "parameters": 0, "seconds": 1.0, "steps": 30}
        record["config"] = {"training": {"batch": 4}, "sizes": {"train": 10}}
        records.append({**record, "words": about.words, "paper": about.paper})
    best, worst = records.self_supervised_table().splitlines()[-2:]
    assert "`boosted_trees` | uses labels" in best
    assert worst.endswith("| 12 | 1 | 7.39 ± .19 |")
