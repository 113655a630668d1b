"""Images as they are loaded, kept and prepared.

tensorflow-datasets is played here by a module of two functions: preparing real data needs
TensorFlow and a download. It tests the calls of the package and the handling of its
results and errors, not the package.
"""

import dataclasses
import io
import json
import os
import sys
import types
import warnings
import zipfile

import jax
import numpy as np
import pytest
from cases.image_files import COLOR, NUMBERS, cifar_files, mnist_files, read, same, write

from wsjax.datasets import image_files, images
from wsjax.datasets.images import Images, Preparation

LABELS = NUMBERS.astype(np.int32)
DIGITS = tuple("0123456789")


@pytest.fixture
def few():
    return Images("svhn", COLOR[:6], LABELS[:6], COLOR[6:9], LABELS[6:9], DIGITS, "tfds")


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A folder with MNIST's files; its seven images pass for the published ones."""
    monkeypatch.setattr(image_files, "SHA256", {})
    return write(tmp_path / "mnist", mnist_files(), ".gz")


def numbers(of):
    return of.train, of.train_labels, of.test, of.test_labels


def equal(a, b):
    same(numbers(a), numbers(b))
    assert (a.name, a.classes, a.source) == (b.name, b.classes, b.source)


class FakeTFDS(types.ModuleType):
    """`data_source` of tensorflow-datasets, without the data."""

    def __init__(self, few, error=None):
        super().__init__("tensorflow_datasets")
        self.few, self.error, self.calls = few, error, []
        self.download = types.SimpleNamespace(DownloadConfig=lambda **k: ("config", k))

    def data_source(self, name, split, download_and_prepare_kwargs):
        self.calls.append((name, download_and_prepare_kwargs["download_config"]))
        if self.error:
            raise self.error
        part = lambda s: zip(getattr(self.few, s), getattr(self.few, f"{s}_labels"), strict=True)
        return [[{"image": i, "label": np.int64(k), "id": b""} for i, k in part(s)] for s in split]


# Images


def test_every_mistake_in_images_is_listed(few):
    with pytest.raises(ValueError, match=r"images of 'svhn' make no sense") as error:
        Images("svhn", COLOR[:6] / 255, LABELS[:5], COLOR[:3, ..., :2], LABELS[:3], ("0",))
    for words in (
        "train: expected uint8 [n, row, col, 1 or 3], got float64[6, 32, 32, 3]",
        "train_labels: expected int32 [6], got int32[5]",
        "test: expected uint8 [n, row, col, 1 or 3], got uint8[3, 32, 32, 2]",
        "test_labels: label 7 of image 0 is not one of 0 to 0",
        "test: expected images of the shape in train, (32, 32, 3), got (32, 32, 2)",
        "classes: expected two or more different names, got ('0',)",
    ):
        assert words in str(error.value)
    with pytest.raises(ValueError, match="label -1 of image 2 is not one of 0 to 9"):
        Images("svhn", COLOR[:3], np.array([0, 0, -1], np.int32), COLOR[:3], LABELS[:3], DIGITS)
    with pytest.raises(ValueError, match=r"at least one image, got uint8\[0, 32, 32, 3\]"):
        Images("svhn", COLOR[:0], LABELS[:0], COLOR[:3], LABELS[:3], DIGITS)
    with pytest.raises(ValueError, match=r"expected int32 \[3\], got uint8\[3\]"):
        Images("svhn", COLOR[:3], NUMBERS[:3], COLOR[:3], LABELS[:3], DIGITS)


def test_the_fingerprint_is_of_everything_but_the_source(few):
    change = lambda **changes: dataclasses.replace(few, **changes).fingerprint()
    pixel = few.test.copy()
    pixel[0, 0, 0, 0] ^= 1
    others = [
        change(name="mnist"),
        change(classes=tuple("abcdefghij")),
        change(test=pixel),
        change(train=few.train[::-1]),
        change(train_labels=few.train_labels[::-1].copy()),
        change(train=few.train.reshape(6, 16, 64, 3), test=few.test.reshape(3, 16, 64, 3)),
    ]
    assert len({few.fingerprint(), *others}) == 1 + len(others)
    assert change(source="files") == few.fingerprint()


def test_digits_are_scikit_learns_stretched_and_split_by_place():
    from sklearn.datasets import load_digits

    digits, theirs = images.load("digits"), load_digits()
    assert digits.train.shape == (1297, 8, 8, 1)
    assert digits.test.shape == (500, 8, 8, 1)
    everything = np.concatenate([digits.train, digits.test])[..., 0]
    np.testing.assert_allclose(everything, theirs.images * 255 / 16, atol=0.5)
    assert {0, 255} <= set(everything.ravel().tolist())
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    np.testing.assert_array_equal(labels, theirs.target)
    assert np.bincount(digits.test_labels).min() == 46
    assert images.load("digits").fingerprint() == digits.fingerprint()


def test_unknown_data_sets_and_folders_of_digits_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"one of \('digits', 'mnist', .*\), got 'imagenet'"):
        images.load("imagenet")
    with pytest.raises(ValueError, match="digits come with scikit-learn: expected no folder"):
        images.load("digits", tmp_path)


def test_images_of_a_folder_are_its_files(published):
    loaded = images.load("mnist", published)
    same(numbers(loaded), read("mnist", published))
    assert loaded.classes == DIGITS
    assert loaded.source.startswith("files-")


def test_a_folder_may_hold_a_folder_for_each_data_set(published):
    there, above = images.load("mnist", published), images.load("mnist", published.parent)
    assert there.fingerprint() == above.fingerprint()


def test_cifars_classes_have_names(monkeypatch, tmp_path):
    monkeypatch.setattr(image_files, "SHA256", {})
    loaded = images.load("cifar10", write(tmp_path, cifar_files(), ".xz"))
    assert loaded.classes[loaded.train_labels[0]] == "horse"  # 7, as batches.meta.txt has it
    np.testing.assert_array_equal(loaded.test, COLOR[15:])


# Kept as .npz


def test_images_come_back_as_they_were_kept(tmp_path, few):
    path = tmp_path / "new" / "few.npz"
    images.save(path, few)
    equal(images.read(path), few)
    images.save(path, images.subset(few, 0, train=2))  # in place of the first
    assert len(images.read(path).train) == 2
    assert [p.name for p in path.parent.iterdir()] == ["few.npz"]


def test_what_is_kept_is_read_instead_of_the_files(published, tmp_path, monkeypatch):
    cache, used = tmp_path / "cache", []
    reader = image_files.read
    monkeypatch.setattr(image_files, "read", lambda *a: used.append(a) or reader(*a))
    first = images.load("mnist", published, cache)
    equal(images.load("mnist", published, cache), first)
    assert len(used) == 1
    assert [p.name for p in cache.iterdir()] == [f"mnist-{first.source}.npz"]
    # Other files are another source, with a name of its own.
    data = mnist_files()[image_files.IDX[0]]
    write(published, {image_files.IDX[0]: data[:-1] + b"\1"}, ".gz")
    second = images.load("mnist", published, cache)
    assert second.source != first.source
    assert second.train[-1, -1, -1, 0] == 1
    assert len(used) == 2
    assert len(list(cache.iterdir())) == 2


def altered(path, **changes):
    with np.load(path) as kept:
        arrays = {k: kept[k] for k in kept.files} | changes
    with open(path, "wb") as file:
        np.savez_compressed(file, **{k: v for k, v in arrays.items() if v is not None})


def restated(path, **changes):
    with np.load(path) as kept:
        about = json.loads(kept["about"].tobytes()) | changes
    altered(path, about=np.frombuffer(json.dumps(about).encode(), np.uint8))


def boast(path):
    """A header of 64 GiB."""
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (1 << 24, 64, 64, 1)}
    np.lib.format.write_array_header_1_0(header, claim)
    with np.load(path) as archive:
        kept = dict(archive)
    with zipfile.ZipFile(path, "w") as archive:
        for name in kept:
            with archive.open(f"{name}.npy", "w") as file:
                if name == "train":
                    file.write(header.getvalue())
                else:
                    np.lib.format.write_array(file, kept[name])


def endless(path):
    """A header that Python's tokeniser gives up on, with an error of its own kind."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert b"28, 28, 1), }" in members["train.npy"]
    members["train.npy"] = members["train.npy"].replace(b"28, 28, 1), }", b"28, 28, 1),#}")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def linked(path):
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


DAMAGE = {
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:-100]), r"no \.npz file"),
    "a header of no end": (endless, r"is damaged, or no \.npz file: .*multi-line"),
    "empty": (lambda p: p.write_bytes(b""), r"no \.npz file"),
    "another number": (lambda p: altered(p, test_labels=LABELS[7:10]), r"sha256 \w+, got \w+"),
    "another type": (lambda p: altered(p, test=COLOR[:3] / 255), r"test is float64\[3, 32"),
    "another rank": (lambda p: altered(p, test=COLOR[0]), r"\|?u\w*1?\d*\[32, 32, 3\] in"),
    "pickled": (lambda p: altered(p, test=np.array([{}])), r"test is object\[1\]"),
    "one absent": (lambda p: altered(p, test=None), r"expected \['about', .* found"),
    "no statement": (lambda p: altered(p, about=np.zeros(3, np.uint8)), r"is damaged, or"),
    "too many facts": (lambda p: altered(p, about=np.zeros(1 << 17, np.uint8)), r"about has 13"),
    "another format": (lambda p: restated(p, format=2), r"facts with the format 1, got"),
    "a class less": (lambda p: restated(p, classes=list("01234567")), r"not one of 0 to 7"),
    "no classes": (lambda p: restated(p, classes=None), r"is damaged, or"),
    "a boast": (boast, r"train is uint8\[16777216, 64, 64, 1\] in \d+ bytes"),
    "a link": (linked, r"plain file .* found none"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_kept_images_that_are_damaged_are_named_and_made_anew(
    published, tmp_path, damage, monkeypatch
):
    do, reason = DAMAGE[damage]
    expected = images.load("mnist", published, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    do(path)
    with pytest.raises(ValueError, match=reason) as error:
        images.read(path)
    assert path.name in str(error.value)
    with pytest.warns(UserWarning, match=rf"{path.name} is not used, and made anew: ") as caught:
        equal(images.load("mnist", published, tmp_path / "cache"), expected)
    assert len(caught) == 1
    equal(images.read(path), expected)
    assert not path.is_symlink()


def test_kept_images_of_something_else_are_not_taken_for_these(published, tmp_path, few):
    cache = tmp_path / "cache"
    expected = images.load("mnist", published, cache)
    (path,) = cache.iterdir()
    images.save(path, few)
    with pytest.warns(UserWarning, match="made anew: it holds svhn of tfds"):
        equal(images.load("mnist", published, cache), expected)


def test_an_interrupted_write_leaves_what_was_there(tmp_path, few, monkeypatch):
    path = tmp_path / "few.npz"
    images.save(path, few)

    def interrupted(file, **arrays):
        file.write(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            images.save(path, images.subset(few, 0, train=2))
    equal(images.read(path), few)
    assert os.listdir(tmp_path) == ["few.npz"]


def test_bytes_of_a_kept_file_changed_at_random_change_no_image(tmp_path, few):
    path, rng, messages = tmp_path / "few.npz", np.random.default_rng(0), []
    images.save(path, few)
    whole = path.read_bytes()
    places = np.r_[rng.integers(0, len(whole), 40), rng.integers(len(whole) - 500, len(whole), 40)]
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ rng.integers(1, 256)]) + whole[at + 1 :])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # zipfile's
                equal(images.read(path), few)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 40
    assert all("few.npz is damaged" in message for message in messages)


# tensorflow-datasets


def test_images_of_tensorflow_datasets_are_kept(monkeypatch, tmp_path, few):
    fake = FakeTFDS(few)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    equal(images.load("svhn", cache=tmp_path), few)
    assert fake.calls == [("svhn_cropped", ("config", {"try_download_gcs": False}))]
    # A machine without the package trains from the .npz alone.
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert os.listdir(tmp_path) == ["svhn-tfds.npz"]
    equal(images.load("svhn", cache=tmp_path), few)


def test_without_tensorflow_datasets_one_sentence_gives_the_remedy(monkeypatch, few):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install tensorflow-datasets, or name a folder wi"):
        images.load("mnist")
    absent = ModuleNotFoundError("No module named 'tensorflow'")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", FakeTFDS(few, absent))
    with pytest.raises(ImportError, match=r"'tensorflow'\): pip install 'wsjax\[tensorflow\]', or"):
        images.load("mnist")
    failed = FakeTFDS(few, OSError("no route to host"))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", failed)
    with pytest.raises(RuntimeError, match=r"prepare svhn_cropped \(OSError: no route to host\); "):
        images.load("svhn")


# Subsets and preparation


def test_a_subset_is_sampled_without_replacement(few):
    some = images.subset(few, 3, train=4, test=2)
    rows = [int(np.flatnonzero((few.train == image).all((1, 2, 3)))[0]) for image in some.train]
    assert len(set(rows)) == 4
    np.testing.assert_array_equal(some.train_labels, few.train_labels[rows])
    assert len(some.test) == 2
    equal(images.subset(few, 3, train=4, test=2), some)
    np.testing.assert_array_equal(images.subset(few, 3, train=2).train, some.train[:2])
    equal(images.subset(few, 3), few)
    twins = dataclasses.replace(few, test=few.train, test_labels=few.train_labels)
    twins = images.subset(twins, 3, train=6, test=6)
    assert (twins.train != twins.test).any()  # the parts are drawn apart
    drawn = {tuple(images.subset(few, seed, train=4).train[:, 0, 0, 0]) for seed in range(8)}
    assert len(drawn) > 4
    for count in (0, 7):
        with pytest.raises(ValueError, match=rf"expected 1 to 6 train images, got {count}"):
            images.subset(few, 0, train=count)


def test_inputs_are_in_the_recipes_range_and_gray_is_the_mean():
    before = COLOR.copy()
    unit = images.prepare(COLOR, Preparation())
    np.testing.assert_array_equal(unit, COLOR.astype(np.float32) / np.float32(255))
    both = images.prepare(COLOR, Preparation(gray=True, low=-1))
    assert both.shape == (18, 32, 32, 1)
    assert both.dtype == unit.dtype == np.float32
    expected = COLOR.astype(float).mean(-1, keepdims=True) / 127.5 - 1
    np.testing.assert_allclose(both, expected, atol=1e-6)
    for low in (0, -1):
        ends = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
        for gray in (True, False):
            out = images.prepare(ends.repeat(3, -1), Preparation(gray, low=low))
            assert (out.min(), out.max()) == (low, 1)
    np.testing.assert_array_equal(COLOR, before)
    with pytest.raises(ValueError, match=r"expected 0 or -1, got 0\.5"):
        Preparation(low=0.5)
    with pytest.raises(ValueError, match="expected 1 or more, or None, got 0"):
        Preparation(size=0)
    with pytest.raises(ValueError, match=r"expected uint8 .*, got float32\[18, 32, 32, 3\]"):
        images.prepare(unit, Preparation())


@pytest.mark.parametrize("size", [28, 8, 45, 1])
def test_resizing_is_pillows_and_jaxs(size):
    import PIL.Image

    out = images.prepare(COLOR[:2, :, :20], Preparation(size=size))
    assert out.shape == (2, size, size, 3)
    values = COLOR[:2, :, :20].astype(np.float32)
    theirs = jax.image.resize(values, out.shape, "linear")
    np.testing.assert_allclose(out * 255, theirs, atol=2e-3)
    for channel in range(3):
        picture = PIL.Image.fromarray(values[0, ..., channel])
        picture = picture.resize((size, size), PIL.Image.Resampling.BILINEAR)
        np.testing.assert_allclose(out[0, ..., channel] * 255, picture, atol=2e-3)


def test_resizing_keeps_a_flat_image_and_its_range():
    for size in (5, 32, 50):
        flat = images.prepare(np.full((1, 32, 32, 1), 255, np.uint8), Preparation(size=size))
        assert (flat <= 1).all()
        np.testing.assert_allclose(flat, 1, atol=1e-6)
    same_size = images.prepare(COLOR, Preparation(size=32))
    np.testing.assert_array_equal(same_size, images.prepare(COLOR, Preparation()))
