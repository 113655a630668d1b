"""The reader of INR folders and the commands, on small files in the exact published layout."""

import json
import runpy
import sys

import jax
import numpy as np
import pytest
from cases.torch_by_hand import Inline, State, draw, write

from third_party import inr_folders, published
from wsjax import architectures

PIXELS = jax.jit(inr_folders.pixels, static_argnums=1)
FORWARD = jax.jit(architectures.forward, static_argnums=2)
MODULES = ["inr_folders", "schuerholt_zoos", "small_cnn_zoo"]


def siren(inputs=2, outputs=1, seed=0, nfn=False):
    names = ["net.0.linear", "net.1.linear", "net.2"] if nfn else ["seq.0", "seq.1", "seq.2"]
    shapes = ((32, inputs), (32, 32), (outputs, 32))
    arrays = {}
    for name, shape in zip(names, shapes, strict=True):
        arrays[f"{name}.weight"] = draw(*shape, scale=0.08, seed=seed)
        arrays[f"{name}.bias"] = draw(shape[0], scale=0.08, seed=seed)
    return State(arrays, ("", names[0][:3]))


def theirs(state, x):
    """PyTorch's `Sequential` of sine layers, x [point, inputs]."""
    w = [a.astype("f8") for a in state.values()]
    x = np.sin(30 * (x @ w[0].T + w[1]))
    x = np.sin(30 * (x @ w[2].T + w[3]))
    return x @ w[4].T + w[5]


@pytest.fixture
def mnist(tmp_path):
    for half, label, image in (("training", 5, 0), ("training", 2, 23089), ("testing", 7, 0)):
        folder = tmp_path / "mnist-inrs" / f"mnist_png_{half}_{label}_{image}" / "checkpoints"
        write(folder / "model_final.pth", siren(seed=label))
    return tmp_path / "mnist-inrs"


@pytest.fixture
def fashion(tmp_path):
    folder = tmp_path / "fmnist_inrs"
    for half, image, label in (("train", 0, 9), ("train", 1, 3), ("test", 0, 2)):
        write(folder / half / f"model_{image}.pth", siren(seed=label) | {"label": label})
    there = "/home/them/fmnist_inrs"
    splits = {"train": ["train/model_1.pth"], "val": ["train/model_0.pth"]}
    splits |= {"test": ["test/model_0.pth"]}
    splits = {k: [f"{there}/{p}" for p in v] for k, v in splits.items()}
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder


@pytest.fixture
def sines(tmp_path):
    x = np.arange(-np.pi, np.pi, np.pi / 1000)
    for seed, (a, b) in enumerate([(2.0, 3.5), (9.0, 0.5)]):
        beside = {"coef": [a, b], "x": Inline(x), "y": Inline(a * np.sin(b * x))}
        write(tmp_path / "ssl-inrs" / f"model_{seed}.pth", State(siren(1, seed=seed) | beside))
    return tmp_path / "ssl-inrs"


@pytest.fixture
def nfn(tmp_path):
    folder = tmp_path / "siren_cifar_wts"
    images = [("", 3, 0), ("", 5, 44_999), ("", 5, 45_000), ("", 0, 50_000)]
    images += [("_aug0", 3, 0), ("_aug0", 5, 45_000), ("_aug3", 3, 0)]
    for seed, (view, label, image) in enumerate(images):
        path = folder / f"randinit_smaller{view}_{label}s" / f"net{image}.pth"
        write(path, siren(2, 3, seed, nfn=True))
    return folder


def test_mnist(mnist):
    zoo = inr_folders.read_mnist(mnist).zoo()
    np.testing.assert_array_equal(zoo.labels["label"], [7, 2, 5])
    np.testing.assert_array_equal(zoo.labels["image"], [0, 23089, 0])
    assert len(np.unique(zoo.runs)) == 3  # the two images 0 are of two halves
    assert {k: v.tolist() for k, v in zoo.splits.items()} == {"train": [1, 2], "test": [0]}
    layers = zoo.specs[0].layers
    assert [(x.activation, x.omega) for x in layers[:2]] == [("sin", 30.0)] * 2


def test_an_image_as_dwsnets_draws_it(mnist):
    """Their grid is NumPy's `meshgrid` of x and y, their output has 0.5 added."""
    u = np.linspace(-1, 1, 28)
    x, y = np.meshgrid(u, u)
    want = theirs(siren(seed=2), np.stack([x.ravel(), y.ravel()], 1)).reshape(28, 28, 1) + 0.5
    zoo = inr_folders.read_mnist(mnist).zoo().of(0)
    got = PIXELS(zoo.params(1), inr_folders.CONVENTIONS["dws_mnist"])
    np.testing.assert_allclose(got, want, atol=2e-4)
    assert np.abs(want - want.transpose(1, 0, 2)).max() > 0.1


def test_an_image_as_nfn_draws_it(nfn):
    """Their grid is PyTorch's `meshgrid` of rows and columns, nothing is added."""
    u = np.linspace(-1, 1, 32)
    grid = np.stack(np.meshgrid(u, u, indexing="ij"), -1).reshape(-1, 2)
    want = theirs(siren(2, 3, 1, nfn=True), grid).reshape(32, 32, 3)
    zoo = inr_folders.read_nfn(nfn, "cifar").zoo().of(0)
    row = zoo.labels["image"].tolist().index(44_999)
    got = PIXELS(zoo.params(row), inr_folders.CONVENTIONS["nfn_cifar"])
    np.testing.assert_allclose(got, want, atol=2e-4)


def test_fashion(fashion):
    zoo = inr_folders.read_fashion(fashion).zoo()
    np.testing.assert_array_equal(zoo.labels["label"], [9, 3, 2])
    assert {k: v.tolist() for k, v in zoo.splits.items()} == {
        "train": [1],
        "validation": [0],
        "test": [2],
    }
    assert len(np.unique(zoo.runs)) == 3


def test_splits_as_neural_graphs_and_dwsnets_write_them(fashion, mnist, tmp_path):
    form = lambda paths, labels: {"path": paths, "label": labels}
    theirs = {"train": form(["fmnist_inrs/train/model_0.pth"], [9])}
    theirs |= {"val": form([], []), "test": form(["fmnist_inrs/test/model_0.pth"], [2])}
    path = tmp_path / "fmnist_splits.json"
    path.write_text(json.dumps(theirs))
    parts = inr_folders.read_fashion(fashion, path).zoo().splits
    assert {k: v.tolist() for k, v in parts.items()} == {
        "train": [0],
        "validation": [],
        "test": [2],
    }
    end = "checkpoints/model_final.pth"
    theirs = {"train": form([f"/d/mnist-inrs/mnist_png_training_5_0/{end}"], ["5"])}
    theirs |= {"val": form([f"/d/mnist-inrs/mnist_png_training_2_23089/{end}"], ["2"])}
    theirs |= {"test": form([f"/d/mnist-inrs/mnist_png_testing_7_0/{end}"], ["7"])}
    path.write_text(json.dumps(theirs))
    parts = inr_folders.read_mnist(mnist, path).zoo().splits
    assert {k: v.tolist() for k, v in parts.items()} == {
        "train": [2],
        "validation": [1],
        "test": [0],
    }


def test_sines(sines, tmp_path):
    zoo = inr_folders.read_sines(sines).zoo()
    np.testing.assert_array_equal(zoo.labels["amplitude"], [2, 9])
    np.testing.assert_array_equal(zoo.labels["frequency"], [3.5, 0.5])
    assert (set(zoo.labels), zoo.splits) == ({"amplitude", "frequency"}, {})
    x = np.linspace(-3, 3, 7, dtype="f4")[:, None]
    got = FORWARD(zoo.of(0).params(1), x, zoo.specs[0])
    np.testing.assert_allclose(got, theirs(siren(1, seed=1), x), atol=2e-4)
    path = tmp_path / "ssl_splits.json"
    path.write_text('{"train": ["d/model_1.pth"], "val": [], "test": ["d/model_0.pth"]}')
    assert inr_folders.read_sines(sines, path).zoo().splits["train"].tolist() == [1]


def test_views_of_an_image_stay_together(nfn):
    zoo = inr_folders.read_nfn(nfn, "cifar").zoo()
    np.testing.assert_array_equal(zoo.labels["image"], [50_000, 0, 44_999, 45_000])
    np.testing.assert_array_equal(zoo.labels["label"], [0, 3, 5, 5])
    assert {k: v.tolist() for k, v in zoo.splits.items()} == {
        "train": [1, 2],
        "validation": [3],
        "test": [0],
    }
    zoo = inr_folders.read_nfn(nfn, "cifar", views=(0, 1, 4)).zoo()
    np.testing.assert_array_equal(zoo.labels["view"], [0, 0, 0, 0, 1, 1, 4])
    assert zoo.splits["train"].tolist() == [1, 2, 4, 6]
    assert zoo.splits["validation"].tolist() == [3]  # its view is in no split
    assert zoo.runs[1] == zoo.runs[4] == zoo.runs[6]
    assert zoo.runs[3] == zoo.runs[5]


def save(path, state):
    return lambda folder: write(folder / path, state)


def edit(path, change):
    def break_(folder):
        data = json.loads((folder / path).read_text())
        change(data)
        (folder / path).write_text(json.dumps(data))

    return break_


def text(path, content):
    return lambda folder: (folder / path).write_text(content)


def labelled(labels):
    part = {"path": ["a/train/model_0.pth"], "label": labels}
    return text("splits.json", json.dumps({"train": part, "test": []}))


def sine(**beside):
    return save("model_0.pth", State(siren(1) | {"coef": [2.0, 3.5]} | beside))


def mixed(folder):
    nan = siren(seed=1)
    nan["seq.1.bias"] = nan["seq.1.bias"] + np.float32(np.nan)
    write(folder / "train" / "model_0.pth", nan | {"label": 1})


FINAL = "mnist_png_training_5_0/checkpoints/model_final.pth"
X = np.linspace(0, 1, 5)
INR_DAMAGE = {
    "file gone": ("mnist", lambda f: (f / FINAL).unlink(), "PyTorch file at .*5_0"),
    "file cut": (
        "mnist",
        lambda f: (f / FINAL).write_bytes((f / FINAL).read_bytes()[:900]),
        r"5_0/checkpoints/model_final\.pth: the zip is cut short",
    ),
    "no number": ("mnist", lambda f: (f / "mnist_png_training_x_1").mkdir(), "expected a name"),
    "other widths": ("mnist", save(FINAL, siren(3)), r"\(32, 2\).* got \[\(32, 3\)"),
    "a layer more": (
        "mnist",
        save(FINAL, siren() | {"seq.3.weight": draw(1, 1), "seq.3.bias": draw(1)}),
        "expected arrays",
    ),
    "other names": ("mnist", save(FINAL, {"fc.weight": draw(1, 1)}), "got 'fc.weight'"),
    "two networks": (
        "mnist",
        save(FINAL, siren() | {f"net{k[3:]}": -v for k, v in siren().items()}),
        r"model_final\.pth: .* one network, got 'seq\.0\.weight' and 'net\.0\.weight'.* alone",
    ),
    "an array twice": (
        "mnist",
        save(FINAL, siren() | {"seq.1.linear.bias": draw(32)}),
        r"got 'seq\.1\.bias' and 'seq\.1\.linear\.bias', which may be of two: save one",
    ),
    "ragged": (
        "sines",
        sine(coef=[[1.0], [2.0, 3.0]]),
        r"model_0\.pth: expected numbers beside the weights",
    ),
    "a name that colours": (
        "mnist",
        lambda f: (f / "mnist_png_\x1b[31m").mkdir(),
        r"\\x1b\[31m: ex",
    ),
    "whole numbers": (
        "mnist",
        save(FINAL, {k: (9 * v).astype("i8") for k, v in siren().items()}),
        "'int64'",
    ),
    "nan": ("fashion", mixed, "1 of 3 networks .*\n  Dense_1/bias: 1$"),
    "label 10": ("fashion", save("train/model_0.pth", siren() | {"label": 10}), "from 0 to 9"),
    "no label": ("fashion", save("train/model_0.pth", siren()), "integer label inside, got None"),
    "a label in words": (
        "fashion",
        save("train/model_0.pth", siren() | {"label": "bag"}),
        "integer label inside, got 'bag'",
    ),
    "splits gone": ("fashion", lambda f: (f / "splits.json").unlink(), r"splits .*splits\.json"),
    "splits broken": ("fashion", text("splits.json", '{"train": ['), "expected JSON"),
    "splits deep": ("fashion", text("splits.json", "[" * 100_000), "expected JSON"),
    "splits of else": ("fashion", text("splits.json", "[1]"), "JSON object of"),
    "splits of numbers": ("fashion", edit("splits.json", lambda d: d.update(val=[3])), "as 'val'"),
    "splits of others": (
        "fashion",
        edit("splits.json", lambda d: d["val"].append("a/train/model_77.pth")),
        r"1 networks of 'val' are not in the folder: \['train/model_77",
    ),
    "in two splits": (
        "fashion",
        edit("splits.json", lambda d: d.update(test=d["train"])),
        "sits in two splits",
    ),
    "labels differ": ("fashion", labelled([4]), "1 labels differ .*: 4, in the file 9"),
    "labels short": ("fashion", labelled([]), "a label for each of 1"),
    "y is another wave": ("sines", sine(x=Inline(X), y=Inline(np.sin(X))), r"y = 2 sin\(3.5 x\)"),
    "no coef": ("sines", save("model_0.pth", siren(1)), "expected coef"),
    "coef of three": ("sines", sine(coef=[1.0, 2.0, 3.0]), "expected coef"),
    "another file": ("sines", save("best.pth", siren(1)), r"a name model_NUMBER\.pth"),
    "two names": ("sines", save("more/model_0.pth", siren(1)), "two of one"),
    "no view": ("nfn", lambda f: f.rename(f.parent / "moved"), "randinit_smaller_0s/net0.pth"),
    "two labels": (
        "nfn",
        save("randinit_smaller_4s/net0.pth", siren(2, 3, nfn=True)),
        "view 0 has an image twice",
    ),
}


@pytest.mark.parametrize("damage", INR_DAMAGE)
def test_damage_to_a_folder_is_one_clear_error(damage, request):
    kind, break_, message = INR_DAMAGE[damage]
    folder = request.getfixturevalue(kind)
    break_(folder)
    read = {
        "mnist": inr_folders.read_mnist,
        "fashion": inr_folders.read_fashion,
        "sines": inr_folders.read_sines,
        "nfn": lambda f: inr_folders.read_nfn(f, "cifar").zoo(),
    }[kind]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read(folder).zoo()


def test_an_empty_folder_and_other_data(tmp_path):
    for read in (inr_folders.read_mnist, inr_folders.read_fashion, inr_folders.read_sines):
        with pytest.raises(FileNotFoundError, match=r"layout dws_.* found none"):
            read(tmp_path)
    with pytest.raises(ValueError, match="'mnist', 'fashion' or 'cifar', got 'svhn'"):
        inr_folders.read_nfn(tmp_path, "svhn").zoo()


# The commands


@pytest.mark.parametrize("module", MODULES)
def test_help_names_source_paper_and_licence(module, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, f"third_party.{module}", raising=False)
    with pytest.raises(SystemExit) as left:
        runpy.run_module(f"third_party.{module}", run_name="__main__")
    assert left.value.code == 0
    output = capsys.readouterr().out
    for fact in ("icence", "arXiv", "github.com", ".pt" if module != "small_cnn_zoo" else ".npy"):
        assert fact in output


def test_a_check_reports_what_is_there(fashion, capsys):
    mixed(fashion)
    inr_folders.main([str(fashion), "--layout", "dws_fashion"])
    output = capsys.readouterr().out
    assert "3 networks of 3 runs" in output
    assert "split validation: 1 networks" in output
    line = next(x for x in output.splitlines() if "Dense_1/bias" in x)
    assert line.endswith("NOT FINITE in 1")
    assert output.count("NOT FINITE") == 1
    (fashion / "splits.json").unlink()
    with pytest.raises(SystemExit, match="error: expected the splits"):
        inr_folders.main([str(fashion), "--layout", "dws_fashion"])


def test_pytorchs_order_of_arrays_is_undone():
    """Every entry of ours comes from its own place: an order, and the right one."""
    spec = architectures.cnn(
        [2, 3, 5], [4, 2], kernel=3, padding="VALID", pool="flatten", size=(6, 7)
    )
    order = published.torch_order(spec)
    np.testing.assert_array_equal(np.sort(order), np.arange(spec.count))
    shapes = published.torch_shapes(spec)
    assert shapes[0] == (3, 2, 3, 3)
    assert shapes[4] == (4, 5 * 2 * 3)
    with pytest.raises(ValueError, match=r"here: expected arrays .* got \[\(1,\)\]"):
        published.flat([np.ones(1)], spec, "here")
