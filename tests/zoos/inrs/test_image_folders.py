"""A user's own images: arrays and folders of files, fitted as INRs."""

import dataclasses
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from wsjax.datasets import images
from wsjax.zoos.inrs import image_folders
from wsjax.zoos.inrs.inr_recipe import DWS

pytestmark = pytest.mark.trains


def test_a_users_own_array(tmp_path):
    recipe = dataclasses.replace(DWS, steps=5, views=2, block=8)
    colour = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    zoo, _ = image_folders.fit(colour, recipe=recipe, cache=tmp_path)
    assert len(zoo) == 6
    assert zoo.specs == (DWS.spec(3),)
    assert sorted(np.bincount(zoo.runs)) == [2, 2, 2]
    assert not zoo.splits
    assert "class" not in zoo.labels
    labelled, _ = image_folders.fit(colour, np.array([2, 0, 1]), recipe)
    np.testing.assert_array_equal(labelled.vectors, zoo.vectors)
    np.testing.assert_array_equal(labelled.labels["class"], np.array([2, 0, 1])[zoo.runs])
    with pytest.raises(ValueError, match=r"(?s)images: .*float64.*labels: expected int \[3\]"):
        image_folders.fit(colour / 255.0, np.zeros(2))


def save(path, shape=(5, 6), mode="L", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    seed = sum(map(ord, path.name))
    array = np.random.default_rng(seed).integers(0, 256, (*shape, *channels), np.uint8)
    PIL.Image.fromarray(array).save(path, **options)
    return array


def test_a_folder_of_classes(tmp_path):
    arrays = {name: save(tmp_path / name, mode="RGB") for name in ("b/1.png", "a/2.png", "a/1.PNG")}
    (tmp_path / ".DS_Store").write_bytes(b"passed over")
    found = image_folders.read_folder(tmp_path)
    assert found.names == ("a/1.PNG", "a/2.png", "b/1.png")
    assert found.classes == ("a", "b")
    assert found.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(found.images, [arrays[name] for name in found.names])


def test_a_folder_without_classes(tmp_path):
    gray = save(tmp_path / "1.png")
    save(tmp_path / "2.jpg", quality=95)
    found = image_folders.read_folder(tmp_path)
    assert found.images.shape == (2, 5, 6, 1)
    assert found.labels is None
    assert found.classes == ()
    np.testing.assert_array_equal(found.images[0, ..., 0], gray)


def test_all_mistakes_in_a_folder_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folders, "FILE_BYTES", 10_000)
    monkeypatch.setattr(image_folders, "SIDE", 40)
    outside = tmp_path / "outside.png"
    save(outside)
    folder = tmp_path / "pictures"
    for i in range(4):
        save(folder / "a" / f"{i}.png")
    save(folder / "a" / "size.png", (6, 5))
    save(folder / "a" / "\x1b[31m.png", (6, 5))
    save(folder / "a" / "mode.png", mode="RGB")
    save(folder / "a" / "alpha.png", mode="RGBA")
    save(folder / "a" / "wide.png", (2, 41))
    save(folder / "a" / "big.png", (200, 200))
    (folder / "a" / "notes.txt").write_text("no image")
    (folder / "a" / "fake.png").write_text("no image either")
    (folder / "a" / "link.png").symlink_to(outside)
    (folder / "a" / "deep" / "deeper").mkdir(parents=True)
    (folder / "empty").mkdir()
    save(folder / "beside.png")
    with pytest.raises(ValueError, match="cannot be used") as error:
        image_folders.read_folder(folder)
    for name, reason in {
        "a/size.png": "is 6 x 5 L, most are 5 x 6 L; size=N, --resize N makes them one size",
        "a/mode.png": "is 5 x 6 RGB, most are 5 x 6 L; gray=True, --gray makes them all gray",
        "a/alpha.png": "is of mode RGBA: expected one of L, RGB, 8 bits a channel and no transpar",
        "a/wide.png": "is 2 x 41, of at most 40 x 40, unless with size=N, --resize N",
        r"a/\x1b[31m.png": "is 6 x 5 L",
        "a/big.png": "bytes, of at most 10000",
        "a/notes.txt": "is no image: expected one of .png",
        "a/fake.png": "is no PNG or JPEG, or damaged",
        "a/link.png": "is a link",
        "a/deep": "is no file",
        "empty": "is an empty folder",
        "beside.png": "lies beside sub-folders",
    }.items():
        (line,) = [x for x in str(error.value).splitlines() if x.strip().startswith(f"{name} ")]
        assert reason in line
    assert "a/0.png" not in str(error.value)


@pytest.mark.parametrize("orientation", range(10))
def test_photographs_are_upright_as_in_viewers(tmp_path, orientation):
    exif = PIL.Image.Exif()
    exif[image_folders.ORIENTATION] = orientation
    for name in ("1.jpg", "2.png"):
        save(tmp_path / name, mode="RGB", exif=exif)
    found = image_folders.read_folder(tmp_path)
    for name, image in zip(found.names, found.images, strict=True):
        with PIL.Image.open(tmp_path / name) as opened:
            np.testing.assert_array_equal(image, PIL.ImageOps.exif_transpose(opened))


def test_mixed_sizes_and_modes_are_made_one_on_request(tmp_path):
    whole = save(tmp_path / "a" / "1.png", (9, 7), mode="RGB")
    save(tmp_path / "a" / "2.png", (5, 11))
    save(tmp_path / "\x1b[2J" / "3.jpg", (8, 8), quality=95)
    with pytest.raises(ValueError, match=r"--resize N makes .*; gray=True, --gray makes"):
        image_folders.read_folder(tmp_path)
    found = image_folders.read_folder(tmp_path, size=7, gray=True)
    assert found.images.shape == (3, 7, 7, 1)
    assert found.classes == (r"\x1b[2J", "a")
    assert found.names == (r"\x1b[2J/3.jpg", "a/1.png", "a/2.png")
    np.testing.assert_array_equal(found.images[1], np.rint(whole[1:8].mean(-1, keepdims=True)))
    shrunk = image_folders.read_folder(tmp_path, size=3, gray=True).images[1]
    exact = images.resize(whole[None, 1:8].astype("f4"), 3)[0].mean(-1, keepdims=True)
    np.testing.assert_allclose(shrunk, exact, atol=1.5)
    for wrong in (0, 2000):
        with pytest.raises(ValueError, match=f"size: expected 1 to 1024, or None, got {wrong}"):
            image_folders.read_folder(tmp_path, size=wrong)


def test_an_image_too_large_is_not_decoded(tmp_path, monkeypatch):
    save(tmp_path / "1.png", (50, 50))
    monkeypatch.setattr(image_folders, "SIDE", 40)
    assert image_folders.read_folder(tmp_path, size=4).images.shape == (1, 4, 4, 1)
    monkeypatch.setattr(image_folders, "RESIZED_SIDE", 45)
    monkeypatch.setattr(PIL.Image.Image, "load", None)
    with pytest.raises(ValueError, match=r"1\.png is 50 x 50, of at most 45 x 45"):
        image_folders.read_folder(tmp_path, size=4)


def chunk(kind, data):
    head, sum_ = struct.pack(">I", len(data)), struct.pack(">I", zlib.crc32(kind + data))
    return head + kind + data + sum_


def png(rows, *pixels, bits=8):
    """A gray PNG of six columns."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 6, rows, bits, 0, 0, 0, 0))
    parts = [chunk(b"IDAT", x) for x in pixels]
    return image_folders.PNG + b"".join([head, *parts, chunk(b"IEND", b"")])


def test_pixels_that_a_png_lacks_are_not_black(tmp_path):
    rows = np.arange(35, dtype=np.uint8).reshape(5, 7) * [0, *[5] * 6]  # a filter, six pixels
    packed = zlib.compress(rows.astype(np.uint8).tobytes())
    (tmp_path / "1.png").write_bytes(png(5, packed[:9], packed[9:]))
    (tmp_path / "2.png").write_bytes(png(5, zlib.compress(bytes(5 * 4)), bits=4))
    found = image_folders.read_folder(tmp_path).images[..., 0]
    np.testing.assert_array_equal(found, [rows[:, 1:], np.zeros((5, 6))])
    short, altered = png(5, zlib.compress(bytes(34))), bytearray(png(5, packed))
    altered[45] ^= 1
    for data in (short, altered, png(5, packed)[:-12], png(5, packed)[:-30]):
        (tmp_path / "3.png").write_bytes(data)
        with pytest.raises(ValueError, match=r"\n  3\.png is damaged"):
            image_folders.read_folder(tmp_path)


def test_a_folder_of_nothing_or_of_halves(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="holds no image"):
        image_folders.read_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="found none"):
        image_folders.read_folder(tmp_path / "none")
    for i in range(3):
        save(tmp_path / f"{i}.png", (30, 30))
    half = tmp_path / "1.png"
    half.write_bytes(half.read_bytes()[:400])
    with pytest.raises(ValueError, match=r"1\.png is damaged"):
        image_folders.read_folder(tmp_path)
    half.unlink()
    monkeypatch.setattr(image_folders, "TOTAL_BYTES", 1000)
    with pytest.raises(ValueError, match="it has 1800 bytes of pixels, of at most 1000"):
        image_folders.read_folder(tmp_path)
