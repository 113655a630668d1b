"""Folders of weights files as zoos; files are written byte by byte, without PyTorch."""

import numpy as np
import pytest
from cases import torch_by_hand

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
