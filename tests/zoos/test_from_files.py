"""Folders of weights files as zoos; files are written byte by byte, without PyTorch."""

import numpy as np
import pytest
from cases import torch_by_hand, weight_files
from flax import serialization
from orbax import checkpoint

from wsjax.files import load
from wsjax.zoos.from_files import read_folder


def cnn(seed, width=4):
    """Two convolutions, a mean over the image, and a dense layer."""
    rng, arrays = np.random.default_rng(seed), {}
    shapes = {
        "features.0": (width, 1, 3, 3),
        "features.2": (width, width, 3, 3),
        "head": (2, width),
    }
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = rng.normal(size=shape).astype("f4")
        arrays[f"{name}.bias"] = rng.normal(size=shape[0]).astype("f4")
    return arrays


def write(path, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = {"state_dict": torch_by_hand.State(cnn(seed, **options)), "epoch": 3}
    torch_by_hand.write(path, saved)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """24 networks, of which the labels have 22."""
    folder = tmp_path_factory.mktemp("sweep")
    for i in range(24):
        write(folder / f"net_{i}.pt", i)
    rows = [f"net_{i}.pt,{i / 40},0.0{1 + i},{'adam' if i % 2 else 'sgd'}" for i in range(22)]
    (folder / "labels.csv").write_text("\n".join(["file,accuracy,rate,optimizer", *rows]))
    (folder / "README.md").write_text("A sweep.")
    return folder


def csv(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_sweep_is_a_zoo_in_natural_order(sweep):
    folder = read_folder(sweep, sweep / "labels.csv", target="accuracy")
    assert folder.names == tuple(f"net_{i}.pt" for i in range(24))
    assert folder.labelled.tolist() == [True] * 22 + [False] * 2
    labels = folder.zoo.labels
    assert sorted(labels) == ["accuracy", "optimizer_adam", "optimizer_sgd", "rate"]
    np.testing.assert_allclose(labels["accuracy"][:22], np.arange(22) / 40, rtol=1e-6)
    assert np.isnan(labels["accuracy"][22:]).all()
    assert labels["optimizer_adam"][:3].tolist() == [0, 1, 0]
    assert folder.zoo.vectors.dtype == np.float32
    params = folder.zoo.params(13)
    for name, array in load(sweep / "net_13.pt")[0].items():
        matches = [x for x in params.values() if np.array_equal(x.ravel(), array.ravel())]
        assert len(matches) == 1, name
    assert folder.others == 2
    assert len(set(folder.zoo.runs.tolist())) == 24
    assert str(folder).endswith(
        "24 networks of 24 runs, 22 labelled, 2 other files; each network is a run of its own"
    )


def test_every_format_and_place_is_one_network_each(tmp_path):
    arrays = cnn(0)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/net.safetensors").write_bytes(weight_files.safetensors_bytes(cnn(1)))
    with open(tmp_path / "b.npz", "wb") as file:
        np.savez(file, **cnn(2))
    (tmp_path / "c").write_bytes(serialization.msgpack_serialize({"params": cnn(3)}))
    checkpoint.PyTreeCheckpointer().save(tmp_path / "runs/10", cnn(4))
    whole = weight_files.safetensors_bytes(arrays)
    names = list(arrays)
    for i, part in enumerate((names[:2], names[2:])):
        path = tmp_path / f"sharded/model-0000{i + 1}-of-00002.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(weight_files.safetensors_bytes({n: arrays[n] for n in part}))
    others = {"log.txt": b"x", "plot.png": b"\x89PNG", "unknown": b"\x89PNG", ".hidden.pt": whole}
    others |= {"optimizer.pt": whole, "a/config.json": b"{}", "empty": b"", "__pycache__/n.pt": b""}
    (tmp_path / "__pycache__").mkdir()
    for name, data in others.items():
        (tmp_path / name).write_bytes(data)
    folder = read_folder(tmp_path, mixed=True)
    assert folder.names == ("a/net.safetensors", "b.npz", "c", "runs/10", "sharded")
    assert folder.skipped == ()
    assert folder.others == 6
    assert folder.zoo.labels == {}
    assert not folder.labelled.any()


def test_files_that_cannot_be_loaded_are_skipped_with_the_reason(sweep, tmp_path):
    for i in range(2):
        write(tmp_path / f"net_{i}.pt", i)
    (tmp_path / "cut.pt").write_bytes((sweep / "net_3.pt").read_bytes()[:500])
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02}.")
    arrays = cnn(0) | {"head.bias": np.array([np.nan, 1], "f4")}
    (tmp_path / "nan.safetensors").write_bytes(weight_files.safetensors_bytes(arrays))
    wide = {n: a.astype("f8") * 1e39 for n, a in cnn(0).items()}
    (tmp_path / "wide.safetensors").write_bytes(weight_files.safetensors_bytes(wide))
    folder = read_folder(tmp_path)
    assert folder.names == ("net_0.pt", "net_1.pt")
    reasons = dict(folder.skipped)
    assert list(reasons) == ["cut.pt", "nan.safetensors", "old.pkl", "wide.safetensors"]
    assert all("\n" not in why and str(tmp_path) not in why for why in reasons.values())
    assert "head.bias: 1 of 2 numbers are not finite" in reasons["nan.safetensors"]
    assert "a pickle, which is a program" in reasons["old.pkl"]
    assert reasons["wide.safetensors"].startswith("features.0.weight: numbers of size")
    assert "2 networks of 2 runs, 4 files skipped" in str(folder)


@pytest.mark.parametrize(
    ("names", "runs"),
    [
        (["a.pt", "b.pt", "c/a.pt", "c/b.pt"], [0, 1, 2, 3]),
        (["a/epoch_1.pt", "a/epoch_2.pt", "b/epoch_1.pt"], [0, 0, 1]),
        (["a-step100.pt", "a-step200.pt", "b_ckpt-1.pt", "b.pt"], [0, 0, 1, 2]),
        (["a/best.pt", "a/last.pt", "a/epoch=3-step=100.ckpt", "c/bestest.pt"], [0, 0, 0, 1]),
        (["a/7.pt", "a/8.pt", "b/7.pt", "7.pt", "8.pt"], [2, 2, 3, 0, 1]),
        (["a/checkpoint-5/m.pt", "a/checkpoint-6/m.pt", "a/lr0.5/m.pt"], [0, 0, 1]),
        (["sweep12.pt", "sweep13.pt", "tiny-steps.pt"], [0, 1, 2]),
    ],
)
def test_names_that_differ_by_a_step_are_one_run(tmp_path, names, runs):
    for i, name in enumerate(names):
        write(tmp_path / name, i)
    folder = read_folder(tmp_path)
    places = [folder.names.index(name) for name in names]
    found = folder.zoo.runs[places]
    assert np.array_equal(np.equal.outer(found, found), np.equal.outer(runs, runs))
    assert ("differ by a step alone" in folder.grouping) == (len(set(runs)) < len(runs))


def test_a_column_says_which_are_of_one_run(tmp_path):
    for i in range(4):
        write(tmp_path / f"a-step{i}.pt", i)
    path = csv(tmp_path, "file,run,loss\na-step0,x,1\na-step1,y,1\na-step2,x,2\n")
    folder = read_folder(tmp_path, path)
    assert folder.zoo.runs.tolist() == [0, 1, 0, 2]
    assert folder.grouping == "runs are those of the column 'run'"
    assert list(folder.zoo.labels) == ["loss"]
    path = csv(tmp_path, "file,run,loss\na-step0,x,1\na-step1,,1\n")
    with pytest.raises(ValueError, match=r"no run is given for a-step1.pt: expected one in each"):
        read_folder(tmp_path, path)


def test_copies_are_one_run(tmp_path):
    for name, seed in {"a.pt": 0, "b.pt": 1, "c.pt": 0, "d.pt": 2}.items():
        write(tmp_path / name, seed)
    zeros = {n: a * 0 if n == "head.bias" else a for n, a in cnn(3).items()}
    for name, sign in {"e": 1, "f": -1}.items():  # -0 equals 0
        arrays = zeros | {"head.bias": sign * zeros["head.bias"]}
        (tmp_path / name).write_bytes(weight_files.safetensors_bytes(arrays))
    folder = read_folder(tmp_path)
    assert folder.duplicates == (("a.pt", "c.pt"), ("e", "f"))
    assert folder.zoo.runs.tolist() == [0, 1, 0, 3, 4, 4]
    assert "2 groups equal up to symmetry" in str(folder)


def mlp(seed, order=slice(None)):
    """State dict of an MLP 4-6-3 with its hidden neurons in an order."""
    first, bias, last = (np.random.default_rng([seed, i]).normal(size=n).astype(np.float32)
                         for i, n in enumerate([(6, 4), 6, (3, 6)]))  # fmt: skip
    arrays = {"a.weight": first[order], "a.bias": bias[order], "b.weight": last[:, order]}
    return {k: np.ascontiguousarray(x) for k, x in arrays.items()}


def test_copies_with_permuted_neurons_are_one_run(tmp_path):
    networks = {"a": mlp(0), "b": mlp(1), "c": mlp(0, [3, 1, 5, 0, 2, 4])}
    for name, arrays in networks.items():
        (tmp_path / name).write_bytes(weight_files.safetensors_bytes(arrays))
    folder = read_folder(tmp_path)
    assert folder.duplicates == (("a", "c"),)
    assert folder.zoo.runs.tolist() == [0, 1, 0]


def test_mixed_architectures_are_listed(tmp_path):
    for i in range(4):
        write(tmp_path / f"a{i}.pt", i)
        write(tmp_path / f"b{i}.pt", i, width=4 if i < 2 else 8)
    with pytest.raises(ValueError, match="mixed architectures in") as error:
        read_folder(tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("expected one, got 2:")
    assert lines[1].endswith("6 files (a0.pt, a1.pt, a2.pt, and 3 more)")
    assert lines[2].endswith("2 files (b2.pt, b3.pt)")
    assert "of 198 weights, kernels 4x1x3x3 4x4x3x3 2x4: " in lines[1]
    assert "mixed=True (--mixed) keeps all" in lines[3]
    folder = read_folder(tmp_path, mixed=True)
    assert [s.count for s in folder.zoo.specs] == [198, 682]
    assert folder.zoo.which.tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert len(folder.families) == 2


def refused(*args, **kwargs):
    """The text of the error; no weights may be read before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsjax.zoos.from_files.load", lambda *_: pytest.fail("weights were read"))
        with pytest.raises((ValueError, OSError)) as error:
            read_folder(*args, **kwargs)
    return str(error.value)


def test_folders_without_networks(tmp_path):
    absent = tmp_path / "absent"
    assert refused(absent) == f"expected a folder of weights files at {absent}, there is none"
    assert refused(tmp_path) == f"expected weights files in {tmp_path}: it is empty"
    file = csv(tmp_path, "file,x\na,1\n")
    assert refused(file) == f"expected a folder of weights files at {file}, it is a file"
    assert refused(tmp_path) == f"expected weights files in {tmp_path}: 1 other file alone"
    checkpoint.PyTreeCheckpointer().save(tmp_path / "orbax", {"a": np.ones(2)})
    assert "is one checkpoint of Orbax: expected the folder that holds" in refused(
        tmp_path / "orbax"
    )
    (tmp_path / "cut.pt").write_bytes(b"PK")
    (tmp_path / "orbax").rename(tmp_path / ".orbax")
    with pytest.raises(ValueError, match=r"none of 1 weights file in .* can be loaded; cut.pt: "):
        read_folder(tmp_path)


def labels(tmp_path, rows):
    return csv(tmp_path, "\n".join(["file,accuracy,run", *rows]))


def test_labels_are_checked_before_weights_are_read(sweep, tmp_path):
    good = [f"net_{i},{i},{i}" for i in range(22)]
    fit = lambda rows, **more: refused(sweep, labels(tmp_path, rows), target="accuracy", **more)
    assert "expected labels for the target 'accuracy'" in refused(sweep, target="accuracy")
    assert fit(good[:19]) == f"expected at least 20 labelled networks in {sweep}, got 19"
    one = [f"net_{i},{i},0" for i in range(22)]
    assert "all 22 labelled networks in" in (text := fit(one))
    assert "are of one training run (runs are those of the column 'run')" in text
    assert text.endswith("a column 'run' with another value in each row says so")
    assert "'accuracy' is 3 in each of 22 rows" in fit([f"net_{i},3,{i}" for i in range(22)])
    assert "line 24, net_22: 'nan'" in fit([*good, "net_22,nan,22"])
    assert "labels without files: 1 row of 23" in fit([*good, "gone.pt,0.5,1"])
    assert "duplicate names: 1 network in several rows" in fit([*good, "net_3.pt,0.5,1"])
    assert fit(good, unlabelled=False).endswith(
        "files without labels: net_22.pt, net_23.pt; expected a row for each of 24 networks"
    )
    text = refused(sweep, labels(tmp_path, good), target="loss")
    assert text.endswith("expected a column 'loss' as the target, it has 'accuracy'")


def test_too_few_remain_of_those_that_load(tmp_path):
    for i in range(20):
        write(tmp_path / f"net_{i}.pt", i)
    (tmp_path / "net_19.pt").write_bytes(b"PK")
    path = labels(tmp_path, [f"net_{i},{i},{i}" for i in range(20)])
    with pytest.raises(ValueError, match=r"at least 20 labelled networks in .*, got 19$"):
        read_folder(tmp_path, path, target="accuracy")


def test_a_folder_too_large_is_refused(sweep, monkeypatch):
    calls, real = [], load
    monkeypatch.setattr(
        "wsjax.zoos.from_files.load", lambda *args: calls.append(args) or real(*args)
    )
    monkeypatch.setattr("wsjax.zoos.from_files.BYTES", 24 * 198 * 4 - 1)
    with pytest.raises(ValueError, match=r"24 networks of .* take about 0.0 GiB, more than the"):
        read_folder(sweep)
    assert len(calls) == 8
    monkeypatch.setattr("wsjax.zoos.from_files.BYTES", 24 * 198 * 4)
    assert len(read_folder(sweep).names) == 24


def test_the_structure_is_found_once(sweep, monkeypatch):
    from wsjax.zoos import from_files

    calls, recognize = [], from_files.recognize
    counting = lambda *args: calls.append(args) or recognize(*args)
    monkeypatch.setattr(from_files, "recognize", counting)
    read_folder(sweep, config={"activation": "relu"})
    assert len(calls) == 1
    assert calls[0][1] == {"activation": "relu"}
