"""Files of any layout and convention are classified and edited as the same networks of ours."""

import dataclasses

import numpy as np
import pytest
import safetensors.numpy
from cases import inrs

from wsjax import files, inr_folders, networks, tasks
from wsjax.inr_folders import Convention
from wsjax.tasks.editing import images

THEIRS = Convention(12.0, 20.0, "ij", True, 0.1, -1)
OURS = Convention.of(inrs.RECIPE)


@pytest.fixture(scope="module")
def vectors():
    return inrs.vectors()


def by_their_convention(vectors):
    params = networks.unravel(vectors, inrs.SPEC)
    return networks.ravel(inr_folders.convert(params, OURS, THEIRS), inrs.SPEC)


@pytest.mark.parametrize("layout", ["siren", "torch", "flax"])
@pytest.mark.parametrize("theirs", [None, THEIRS], ids=["ours", "theirs"])
def test_classes_are_those_of_our_own_networks(tmp_path, vectors, layout, theirs):
    stored = vectors if theirs is None else by_their_convention(vectors)
    folder = inrs.write(tmp_path / "inrs", stored, layout)
    found = inr_folders.classify(folder, inrs.classifier(), theirs=theirs)
    assert found.names == tuple(f"net_{i}.safetensors" for i in range(len(vectors)))
    want = inrs.classifier().predict(vectors)
    assert len(set(want.argmax(-1).tolist())) > 1
    np.testing.assert_allclose(found.probabilities, want, rtol=1e-3)
    np.testing.assert_array_equal(found.predicted, want.argmax(-1))
    assert found.images.shape == (12, 28, 28, 1)
    assert found.theirs == (theirs or OURS)
    assert found.labels is None
    assert np.isnan(found.accuracy()[0])


def test_a_convention_may_change_some_settings_of_the_models(tmp_path, vectors):
    folder = inrs.write(tmp_path / "inrs", vectors[:2])
    theirs = lambda ours: dataclasses.replace(ours, indexing="ij")
    found = inr_folders.classify(folder, inrs.classifier(), theirs=theirs)
    assert found.theirs == dataclasses.replace(OURS, indexing="ij")
    plain = inr_folders.classify(folder, inrs.classifier())
    np.testing.assert_allclose(found.images, plain.images.swapaxes(1, 2), atol=1e-5)


def test_labels_are_classes_by_name_or_position(tmp_path, vectors):
    folder = inrs.write(tmp_path / "inrs", vectors[:4])
    predicted = inrs.classifier().predict(vectors[:4]).argmax(-1)
    wrong = (predicted[1] + 1) % 3
    labels = [inrs.CLASSES[predicted[0]], str(wrong), "", str(predicted[3])]
    csv = tmp_path / "labels.csv"
    csv.write_text("file,class,rate\n" + "".join(f"net_{i},{x},1\n" for i, x in enumerate(labels)))
    found = inr_folders.classify(folder, inrs.classifier(), labels=csv)
    assert found.labels.tolist() == [predicted[0], wrong, -1, predicted[3]]
    assert found.accuracy() == (pytest.approx(2 / 3), 3)
    out = dataclasses.replace(found.domain, verdicts=("in", "out", "edge", "in"))
    some = dataclasses.replace(found, domain=out)
    assert some.accuracy() == (1.0, 2)
    assert some.accuracy(unreliable=True) == (pytest.approx(2 / 3), 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,class\nnet_0,fox\n", r"expected classes of cat, dog, eel.*line 2: 'fox'"),
        ("file,rate,size\nnet_0,1,2\n", "expected one column 'class', got rate, size"),
        ("file,class\nnet_9,cat\n", "net_9"),
    ],
)
def test_wrong_labels_are_named(tmp_path, vectors, text, words):
    folder = inrs.write(tmp_path / "inrs", vectors[:1])
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=f"(?s){words}"):
        inr_folders.classify(folder, inrs.classifier(), labels=tmp_path / "labels.csv")


def test_other_networks_are_skipped_by_name(tmp_path, vectors):
    folder = inrs.write(tmp_path / "inrs", vectors[:2])
    wide = {"net.0.linear.weight": np.zeros((7, 2), np.float32), "net.0.linear.bias": np.ones(7),
            "net.1.weight": np.ones((1, 7)), "net.1.bias": np.ones(1)}  # fmt: skip
    arrays = {k: a.astype(np.float32) for k, a in wide.items()}
    safetensors.numpy.save_file(arrays, folder / "wide.safetensors")
    (folder / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    found = inr_folders.classify(folder, inrs.classifier())
    assert len(found.names) == 2
    reasons = dict(found.skipped)
    assert reasons["wide.safetensors"] == "expected a SIREN of widths 2-6-5-1, got widths 2-7-1"
    assert set(reasons) == {"wide.safetensors", "broken.safetensors"}
    for path in folder.glob("net_*"):
        path.unlink()
    with pytest.raises(ValueError, match=r"no INR in .*inrs can be classified; "):
        inr_folders.classify(folder, inrs.classifier())


def test_a_model_is_of_the_kind_that_is_needed(tmp_path, vectors, monkeypatch):
    folder = inrs.write(tmp_path / "inrs", vectors[:1])
    monkeypatch.setattr(tasks, "restore", {"editor": inrs.editor()}.__getitem__)
    with pytest.raises(ValueError, match="expected a trained classifier of INRs, got TrainedEdit"):
        inr_folders.classify(folder, "editor")
    with pytest.raises(ValueError, match="expected a trained editor of INRs, got TrainedClass"):
        inr_folders.edit([folder / "net_0.safetensors"], inrs.classifier())


@pytest.mark.parametrize("layout", ["siren", "flax"])
@pytest.mark.parametrize("theirs", [None, THEIRS], ids=["ours", "theirs"])
def test_edited_weights_keep_names_layout_and_convention(tmp_path, vectors, layout, theirs):
    stored = vectors[:3] if theirs is None else by_their_convention(vectors[:3])
    folder = inrs.write(tmp_path / "inrs", stored, layout)
    paths = sorted(folder.iterdir())
    found = inr_folders.edit(paths, inrs.editor(), theirs=theirs)
    want = inrs.editor().edit(vectors[:3])
    moved = np.abs(want - vectors[:3]).max()
    assert moved > 1e-3
    assert found.names == tuple(map(str, paths))
    before = images(vectors[:3], inrs.SPEC, inrs.CANVAS)
    np.testing.assert_allclose(found.before, before, atol=2e-5)
    assert np.abs(found.after - found.before).max() > 1e-3
    np.testing.assert_allclose(found.after, inrs.editor().render(want), atol=2e-4)
    for i, path in enumerate(paths):
        arrays, _ = files.load(path)
        assert {n: (a.shape, a.dtype) for n, a in found.arrays[i].items()} == {
            n: (a.shape, a.dtype) for n, a in arrays.items()
        }
        kernels = [a for n, a in found.arrays[i].items() if a.ndim == 2]
        biases = [a for n, a in found.arrays[i].items() if a.ndim == 1]
        params = {}
        for j, (kernel, bias) in enumerate(zip(_by_size(kernels), _by_size(biases), strict=True)):
            kernel = kernel if layout == "flax" else kernel.T
            params |= {f"Dense_{j}/kernel": kernel, f"Dense_{j}/bias": bias}
        image = inrs.by_hand(params, theirs or OURS, 6, 7, OURS)
        np.testing.assert_allclose(image, found.after[i, ..., 0], atol=2e-4)


def _by_size(arrays):
    """In the order of the layers: of 6 neurons, of 5, of 1."""
    order = {6: 0, 5: 1, 1: 2}
    layer = lambda a: next(order[n] for n in sorted(order) if n in a.shape)
    ranked = {(6, 2): 0, (2, 6): 0, (5, 6): 1, (6, 5): 1, (1, 5): 2, (5, 1): 2}
    return sorted(arrays, key=lambda a: ranked[a.shape] if a.ndim == 2 else layer(a))


def test_half_precision_and_buffers_stay(tmp_path, vectors):
    path = inrs.write(tmp_path / "inrs", vectors[:1]) / "net_0.safetensors"
    arrays = {k: a.astype(np.float16) for k, a in safetensors.numpy.load_file(path).items()}
    safetensors.numpy.save_file(arrays | {"step": np.array([7], np.int64)}, path)
    found = inr_folders.edit([path], inrs.editor())
    assert {a.dtype for n, a in found.arrays[0].items() if n != "step"} == {np.dtype(np.float16)}
    stored, _ = files.load(path)
    assert set(found.arrays[0]) == set(stored)


def test_every_file_that_cannot_be_edited_is_named(tmp_path, vectors):
    folder = inrs.write(tmp_path / "inrs", vectors[:1])
    (folder / "a.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    safetensors.numpy.save_file({"x": np.zeros((3, 3), np.float32)}, folder / "b.safetensors")
    with pytest.raises(ValueError, match=r"(?s)cannot edit:.*a\.safetensors: .*b\.safetensors: "):
        inr_folders.edit(sorted(folder.iterdir()), inrs.editor())
    with pytest.raises(ValueError, match="expected files to edit, got none"):
        inr_folders.edit([], inrs.editor())
