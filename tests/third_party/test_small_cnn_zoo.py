"""The reader of the small CNN zoo, on small files in the exact published layout."""

import csv
import gzip
import random
import shutil

import jax
import numpy as np
import pytest
from cases.torch_by_hand import conv, draw

from experiments import cross_dataset
from experiments.lib import zoo_loading
from third_party import small_cnn_zoo
from wsjax import architectures, zoos

RUNS, STEPS = 8, small_cnn_zoo.STEPS
FORWARD = jax.jit(architectures.forward, static_argnums=2)


SMALL_LAYOUT = [  # as its authors' code lists the variables: the bias first
    (f"sequential/{layer}/{role}:0", shape)
    for layer, kernel in (
        ("conv2d", (3, 3, 1, 16)),
        ("conv2d_1", (3, 3, 16, 16)),
        ("conv2d_2", (3, 3, 16, 16)),
        ("dense", (16, 10)),
    )
    for role, shape in (("bias", kernel[-1:]), ("kernel", kernel))
]


def write_layout(path, variables=SMALL_LAYOUT):
    start = 0
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["varname", "start_idx", "end_idx", "size", "shape"])
        for variable, shape in variables:
            size = int(np.prod(shape))
            table.writerow([variable, start, start + size, size, str(shape)])
            start += size


def small_metrics():
    lines = []
    for run in range(RUNS):
        for k, step in enumerate(STEPS):
            lines.append(
                {
                    "config.activation": ["relu", "tanh"][run % 2],
                    "config.b_init": "zeros",
                    "config.dataset": "cifar10",
                    "config.dnn_architecture": "cnn",
                    "config.dropout": 0.05 * run,
                    "config.epochs": 86,
                    "config.epochs_between_checkpoints": 20,
                    "config.init_std": "" if run % 3 else 0.1,
                    "config.l2reg": 1e-4,
                    "config.learning_rate": 0.01,
                    "config.num_layers": 3,
                    "config.num_units": 16,
                    "config.optimizer": ["adam", "sgd", "rmsprop"][run % 3],
                    "config.random_seed": 42,
                    "config.train_fraction": 0.25,
                    "config.w_init": ["RandomNormal", "orthogonal"][run % 2],
                    "modeldir": f"/cns/zoo/{run}",
                    "step": step,
                    "test_accuracy": 0.1 + 0.01 * run + 0.05 * k,
                    "test_loss": 2.3 - 0.1 * k,
                    "train_accuracy": 0.1 + 0.06 * k,
                    "train_loss": 2.3 - 0.12 * k,
                }
            )
    return lines


def write_metrics(path, lines):
    with gzip.open(path, "wt", newline="") as file:
        table = csv.DictWriter(file, list(lines[0]))
        table.writeheader()
        table.writerows(lines)


@pytest.fixture
def small(tmp_path):
    """A folder as it unpacks, and a split file of NFN's form."""
    folder = tmp_path / "cifar10"
    folder.mkdir()
    np.save(folder / "weights.npy", draw(RUNS * 9, 4970))
    write_metrics(folder / "metrics.csv.gz", small_metrics())
    write_layout(folder / "layout.csv")
    order = np.random.default_rng(3).permutation(RUNS * 9)
    (tmp_path / "split.csv").write_text("0\n" + "\n".join(map(str, order)) + "\n")
    return folder


def test_small_zoo_labels_runs_and_architectures(small):
    zoo = small_cnn_zoo.read(small).zoo()
    assert len(zoo) == RUNS
    assert [s.layers[0].activation for s in zoo.specs] == ["relu", "tanh"]
    np.testing.assert_array_equal(zoo.which, np.arange(RUNS) % 2)
    np.testing.assert_array_equal(zoo.runs, np.arange(RUNS))
    np.testing.assert_allclose(zoo.labels["test_accuracy"], 0.5 + 0.01 * np.arange(RUNS), 1e-6)
    np.testing.assert_array_equal(zoo.labels["step"], 86)
    np.testing.assert_array_equal(zoo.labels["optimizer_rmsprop"], np.arange(RUNS) % 3 == 2)
    np.testing.assert_array_equal(zoo.labels["w_init_orthogonal"], np.arange(RUNS) % 2)
    np.testing.assert_allclose(zoo.labels["init_std"], 0.1 * (np.arange(RUNS) % 3 == 0), 1e-6)
    every = small_cnn_zoo.read(small, STEPS, ["tanh"]).zoo()
    assert len(every) == RUNS // 2 * 9
    assert len(np.unique(every.runs)) == RUNS // 2
    shuffled = zoos.split(every, {"train": 2, "test": 2}, seed=0)
    assert len(shuffled.splits["train"]) == 18


@pytest.mark.parametrize("row", [8, 17])
def test_a_small_networks_weights_follow_the_layout(small, row):
    """The file's own row, in NumPy, gives what `forward` gives from our vector."""
    x = draw(28, 28, scale=1.0)
    part, p, start = np.load(small / "weights.npy")[row], {}, 0
    for variable, shape in SMALL_LAYOUT:
        p[variable.split("/", 1)[1]] = part[start : start + np.prod(shape)].reshape(shape)
        start += int(np.prod(shape))
    f, y = [lambda a: np.maximum(a, 0), np.tanh][row // 9 % 2], x[None]
    for layer in ("conv2d", "conv2d_1", "conv2d_2"):
        kernel = p[f"{layer}/kernel:0"].transpose(3, 2, 0, 1)
        y = f(conv(y, kernel, p[f"{layer}/bias:0"], stride=2))
    assert y.shape == (16, 2, 2)
    y = y.mean((1, 2)) @ p["dense/kernel:0"] + p["dense/bias:0"]
    zoo = small_cnn_zoo.read(small).zoo().of(row // 9 % 2)
    ours = FORWARD(zoo.params(row // 18), x[..., None], zoo.spec)
    np.testing.assert_allclose(ours, y, rtol=1e-4, atol=1e-5)
    assert np.ptp(y) > 0.1


def test_any_order_of_the_layout_is_followed(small):
    want = small_cnn_zoo.read(small).zoo().vectors
    moved, weights = SMALL_LAYOUT[::-1], np.load(small / "weights.npy")
    ends = np.cumsum([np.prod(s) for _, s in SMALL_LAYOUT])[:-1]
    write_layout(small / "layout.csv", moved)
    np.save(small / "weights.npy", np.hstack(np.split(weights, ends, axis=1)[::-1]))
    np.testing.assert_array_equal(small_cnn_zoo.read(small).zoo().vectors, want)


def nfn_rows(order, metrics, keep=86):
    """NFN's `ZooDataset`, without its reading of the header as a row."""
    final = [i for i in order if metrics[i]["step"] == keep]
    half = int(0.5 * len(final))
    known = list(range(half))
    random.Random(0).shuffle(known)
    cut = int(0.8 * len(known))
    parts = {"train": known[:cut], "validation": known[cut:], "test": range(half, len(final))}
    return {k: [final[i] for i in v] for k, v in parts.items()}


def test_nfns_split(small, tmp_path):
    order = list(map(int, (tmp_path / "split.csv").read_text().split()))[1:]
    want = nfn_rows(order, small_metrics())
    assert [len(v) for v in want.values()] == [3, 1, 4]
    zoo = small_cnn_zoo.read(small, split=tmp_path / "split.csv").zoo()
    for name, rows in want.items():
        assert sorted(zoo.splits[name]) == sorted(r // 9 for r in rows)
    every = small_cnn_zoo.read(small, STEPS, split=tmp_path / "split.csv").zoo()
    for name, rows in want.items():
        assert {int(r) for r in every.runs[every.splits[name]]} == {r // 9 for r in rows}
        assert len(every.splits[name]) == 9 * len(rows)
    relu = small_cnn_zoo.read(small, activations=["relu"], split=tmp_path / "split.csv").zoo()
    kept = {int(r) for v in relu.splits.values() for r in relu.runs[v]}
    assert kept == set(range(0, RUNS, 2))


def test_experiments_take_nfns_split_unless_they_shuffle(small, tmp_path):
    preset = cross_dataset.PRESETS["paper"]
    shutil.copy(tmp_path / "split.csv", tmp_path / "cifar10_split.csv")
    source = zoo_loading.Source(small, tmp_path)
    load = lambda source: zoo_loading.load("cifar10", preset, tmp_path, None, source)
    want = small_cnn_zoo.read(small, split=tmp_path / "split.csv").zoo().splits
    assert {k: v.tolist() for k, v in load(source).splits.items()} == {
        k: v.tolist() for k, v in want.items()
    }
    shuffled = load(source._replace(resplit=True)).splits
    assert [len(shuffled[k]) for k in ("train", "validation", "test")] == [3, 0, 4]


def cut(path, keep=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])


def metric(row, **changes):
    def break_(folder):
        lines = small_metrics()
        lines[row] |= {k.replace("__", "."): v for k, v in changes.items()}
        write_metrics(folder / "metrics.csv.gz", lines)

    return break_


def lines_of(make):
    return lambda folder: write_metrics(folder / "metrics.csv.gz", make(small_metrics()))


def weights_of(make):
    def break_(folder):
        np.save(folder / "weights.npy", make(np.load(folder / "weights.npy")), allow_pickle=True)

    return break_


def layout_of(make):
    return lambda folder: write_layout(folder / "layout.csv", make(list(SMALL_LAYOUT)))


def nan_at(row, column, value=np.nan):
    def make(weights):
        weights[row, column] = value
        return weights

    return weights_of(make)


def swapped(layout):
    return [(v, s[::-1]) for v, s in layout]


SMALL_DAMAGE = {
    "no weights": (lambda f: (f / "weights.npy").unlink(), r"weights\.npy in .*cifar10, found"),
    "no layout": (lambda f: (f / "layout.csv").unlink(), "--help"),
    "weights cut": (lambda f: cut(f / "weights.npy"), "no complete array file"),
    "metrics cut": (lambda f: cut(f / "metrics.csv.gz"), "no complete gzip"),
    "metrics no gzip": (lambda f: (f / "metrics.csv.gz").write_text("a,b\n"), "gzip"),
    "pickled weights": (weights_of(lambda w: w.astype(object)), "no complete array file"),
    "other width": (weights_of(lambda w: w[:, 1:]), r"\[rows, 4970\], got float32\(72, 4969\)"),
    "whole numbers": (weights_of(lambda w: w.astype(int)), "got int64"),
    "fewer metrics": (lines_of(lambda x: x[:-1]), "expected 72 lines .* got 71"),
    "more metrics": (lines_of(lambda x: [*x, x[0]]), "expected 72 lines .* got more"),
    "no column": (
        lines_of(lambda x: [{k: v for k, v in y.items() if k != "modeldir"} for y in x]),
        r"columns \['modeldir'\], absent",
    ),
    "accuracy in percent": (metric(8, test_accuracy=57.0), "from 0 to 1, got 57.0 for network 8"),
    "accuracy below zero": (metric(8, train_accuracy=-0.5), "train_accuracy from 0 to 1"),
    "no number": (metric(3, test_loss="high"), "line 5: test_loss: expected a number, got 'high'"),
    "a step of its own": (metric(3, step=7), r"steps .* got \[7.0\] too"),
    "a step twice": (metric(3, step=2), "each step of a run once"),
    "an activation": (metric(3, config__activation="selu"), r"got \['selu'\] too"),
    "loss missing": (metric(8, test_loss=""), "1 of 8 .*\n  label test_loss: 1"),
    "loss infinite": (metric(8, test_loss=1e200), "1 of 8 .*\n  label test_loss: 1"),
    "nan": (nan_at(8, 180), "1 of 8 networks .*='exclude' leaves .*\n  Conv_1/kernel: 1$"),
    "infinity": (nan_at(17, 4805, np.inf), "1 of 8 networks .*\n  Dense_0/bias: 1$"),
    "layout short": (layout_of(lambda x: x[:-1]), "Dense_0/kernel: expected, absent"),
    "layout shapes": (layout_of(swapped), r"Conv_0/kernel: expected \(3, 3, 1, 16\), got \(16"),
    "layout names": (layout_of(lambda x: [("lstm/w:0", (2,)), *x]), "got 'lstm/w:0'"),
    "layout twice": (layout_of(lambda x: [x[0], *x]), "Conv_0/bias is listed twice"),
    "layout more": (
        layout_of(lambda x: [*x, ("sequential/dense_1/bias:0", (10,))]),
        "Dense_1/bias: not in the network",
    ),
}


@pytest.mark.parametrize("damage", SMALL_DAMAGE)
def test_damage_to_the_small_zoo_is_one_clear_error(damage, small):
    break_, message = SMALL_DAMAGE[damage]
    break_(small)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        small_cnn_zoo.read(small).zoo()


def test_networks_that_are_not_finite_can_be_left_out(small, tmp_path):
    whole = small_cnn_zoo.read(small, split=tmp_path / "split.csv").zoo()
    nan_at(8, 180)(small)
    metric(26, test_loss="")(small)
    rest = small_cnn_zoo.read(small, split=tmp_path / "split.csv").zoo("exclude")
    np.testing.assert_array_equal(rest.runs, [1, 3, 4, 5, 6, 7])
    for name, rows in whole.splits.items():
        assert set(rest.runs[rest.splits[name]]) == set(whole.runs[rows]) - {0, 2}
    with pytest.raises(ValueError, match="'raise' or 'exclude', got 'zero'"):
        small_cnn_zoo.read(small).zoo("zero")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\n2\n", "expected a header 0"),
        ("0\na\n", "row number on each line"),
        ("0\n0\n1\n", "72 rows once, got 2 numbers"),
        ("0\n" + "0\n" * 72, "got 72 numbers, 1 different"),
    ],
)
def test_a_split_that_is_no_order_of_the_rows(small, tmp_path, content, message):
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        small_cnn_zoo.read(small, split=tmp_path / "bad.csv").zoo()


def test_unknown_steps_and_activations_are_errors(small):
    with pytest.raises(ValueError, match="got \\[5\\] and"):
        small_cnn_zoo.read(small, [5]).zoo()
    with pytest.raises(ValueError, match=r"activations of .*gelu"):
        small_cnn_zoo.read(small, activations=["gelu"]).zoo()
