"""The original files: written here, tiny, in the published layouts."""

import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
import scipy.io
from cases.image_files import (
    COLOR,
    FILES,
    KINDS,
    NUMBERS,
    PACK,
    SMALL,
    archive,
    cifar_files,
    idx,
    matrix,
    mnist_files,
    read,
    records,
    same,
    sums,
    svhn_files,
    write,
)

from wsjax.datasets import image_files, images


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_read(tmp_path, name, packing):
    train, train_labels, test, test_labels = read(name, write(tmp_path, mnist_files(), packing))
    np.testing.assert_array_equal(train[..., 0], SMALL[:4])
    np.testing.assert_array_equal(test[..., 0], SMALL[4:])
    assert train_labels.tolist() == [7, 0, 9, 3]
    assert test_labels.tolist() == [3, 1, 2]
    assert (train.dtype, train_labels.dtype) == (np.uint8, np.int32)


def test_cifar_is_read_from_records_however_packed(tmp_path):
    files = cifar_files()
    expected = COLOR[:15], NUMBERS[:15].astype(np.int32), COLOR[15:], NUMBERS[15:].astype(np.int32)
    for packing in PACK:
        same(read("cifar10", write(tmp_path / f"bin{packing}", files, packing)), expected)
        tar = {"cifar-10-binary.tar": archive({"readme.html": b"<html>"} | files)}
        same(read("cifar10", write(tmp_path / f"tar{packing}", tar, packing)), expected)


@pytest.mark.parametrize("compress", [True, False])
def test_svhn_is_read_from_matrices_where_ten_is_zero(tmp_path, compress):
    files = svhn_files(compress)
    found = image_files.find("svhn", write(tmp_path, files))
    arrays = image_files.read("svhn", found, sums("svhn", files))
    same(arrays, (COLOR[:5], NUMBERS[:5].astype("i4"), COLOR[5:8], NUMBERS[5:8].astype("i4")))
    assert 0 in arrays.train_labels


def test_svhn_is_read_from_crops_in_the_order_of_their_numbers(tmp_path):
    parts = {f"svhn_crop_{i}.bin": records(COLOR[i:][:2], NUMBERS[i:][:2]) for i in (10, 0, 2)}
    arrays = read("svhn", write(tmp_path, parts, ".xz"))
    np.testing.assert_array_equal(arrays.train, COLOR[[0, 1, 2, 3]])
    np.testing.assert_array_equal(arrays.test, COLOR[10:12])
    assert arrays.train_labels.tolist() == [7, 0, 9, 3]
    for part in ("svhn_crop_10.bin", "svhn_crop_2.bin"):
        (tmp_path / f"{part}.xz").unlink()
    with pytest.raises(FileNotFoundError, match=r"two parts or more.*svhn_crop_0.bin alone"):
        read("svhn", tmp_path)


# Files that are absent, or there twice


def test_all_that_is_missing_is_named_at_once(tmp_path):
    folder = write(tmp_path, mnist_files(), ".gz")
    for file in image_files.IDX[1:3]:
        (folder / f"{file}.gz").rename(folder / f"{file}.zip")
    with pytest.raises(FileNotFoundError) as error:
        images.load("mnist", folder)
    assert "expected train-labels-idx1-ubyte, t10k-images-idx3-ubyte (or" in str(error.value)
    assert "found ['t10k-images-idx3-ubyte.zip', " in str(error.value)


def test_a_folder_without_the_data_set_or_no_folder_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train_32x32.mat, test_32x32.mat \(or .*\[\]"):
        images.load("svhn", tmp_path)
    with pytest.raises(FileNotFoundError, match="expected a folder with the files of mnist, got"):
        images.load("mnist", tmp_path / "nowhere")


def test_pickles_are_named_and_never_opened(tmp_path):
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    folder = write(tmp_path / "python", {"data_batch_1": pickle.dumps(Hostile())})
    with pytest.raises(FileNotFoundError, match=r"data_batch_1: the Python version, pickles"):
        images.load("cifar10", folder)
    write(folder, {file: pickle.dumps(Hostile()) for file in image_files.BATCHES})
    with pytest.raises(ValueError, match=r"data_batch_1.bin has \d+ bytes, expected one record"):
        images.load("cifar10", folder)
    assert not ran.exists()
    pickle.loads(pickle.dumps(Hostile()))  # it does run where it is loaded
    assert ran.exists()


def test_a_file_there_twice_is_ambiguous(tmp_path):
    write(tmp_path, mnist_files())
    write(tmp_path, dict(list(mnist_files().items())[:1]), ".gz")
    with pytest.raises(ValueError, match=r"expected one of each: \[\['train-images-idx3-ubyte', "):
        images.load("mnist", tmp_path)
    folder = write(tmp_path / "svhn", {**svhn_files(), "svhn_crop_0.bin": b""})
    with pytest.raises(ValueError, match=r"two versions of svhn, train_32x32.mat and svhn_crop_0"):
        images.load("svhn", folder)


def test_links_must_stay_in_their_folder(tmp_path):
    files = mnist_files()
    folder, first = write(tmp_path / "mnist", files), image_files.IDX[0]
    (folder / first).rename(folder / "kept")
    (folder / first).symlink_to("kept")
    assert len(read("mnist", folder).train) == 4
    (folder / "kept").rename(tmp_path / "outside")
    (folder / first).unlink()
    (folder / first).symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte is a link out of its folder"):
        images.load("mnist", folder)
    (folder / first).unlink()
    (folder / first).mkdir()
    with pytest.raises(ValueError, match="is no plain file"):
        images.load("mnist", folder)


# Files that are damaged


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("name", KINDS.values(), ids=KINDS)
def test_a_file_cut_short_is_named(tmp_path, name, packing):
    folder = write(tmp_path, FILES[name](), packing)
    path = sorted(folder.iterdir())[0]
    whole = path.read_bytes()
    for size in (0, 3, 10, 130, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=path.name):
            read(name, folder)
    path.write_bytes(whole)
    assert len(read(name, folder).train)


def test_an_archive_cut_short_or_with_other_members_is_named(tmp_path):
    whole = archive(cifar_files())
    for content in (whole[:5000], whole[:700], b"", b"no archive at all" * 50):
        write(tmp_path, {"cifar-10-binary.tar": content}, ".gz")
        with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz"):
            read("cifar10", tmp_path)
    links = archive(cifar_files(), tarfile.SYMTYPE)
    for content in (links, archive({"data_batch_1.bin": b""})):
        write(tmp_path, {"cifar-10-binary.tar": content}, ".gz")
        with pytest.raises(ValueError, match=r"expected the plain files data_batch_"):
            read("cifar10", tmp_path)


def header(name, size=0, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


END = bytes(1024)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            header("test_batch.bin", 7 << 30, tarfile.GNUTYPE_SPARSE) + END,
            "'test_batch.bin' is spar",
        ),
        (header("test_batch.bin", 7 << 30) + END, "'test_batch.bin' has 7516192768 bytes by its"),
        (400 * header("a") + END, "has more than 64 members, the published one has 9"),
        (2 * header("data_batch_1.bin") + END, "holds data_batch_1.bin twice"),
        (header("data_batch_1.bin") + header("cifar-10-batches-bin/data_batch_1.bin"), "bin twice"),
        (
            20 * (header("x", 9, tarfile.XHDTYPE) + b"9 a=bcde\n".ljust(512, b"\0")) + END,
            "expected th",
        ),
        (header("\x1b[31m") + END, r"found \['\\x1b\[31m'\]"),
    ],
    ids=["sparse", "size", "many", "twice", "twice in folders", "pax", "escape"],
)
def test_an_archives_headers_are_not_taken_on_trust(tmp_path, content, message):
    """A sparse one of 4 kB asked for 7 GB, one of 400,000 members took 11 s."""
    write(tmp_path, {"cifar-10-binary.tar": content})
    with pytest.raises(ValueError, match=message) as error:
        read("cifar10", tmp_path)
    assert "cifar-10-binary.tar" in str(error.value)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_made_anew_is_read(tmp_path, form):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data in cifar_files().items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 0.5  # PAX has headers for parts of seconds
            tar.addfile(member, io.BytesIO(data))
    write(tmp_path, {"cifar-10-binary.tar": file.getvalue()})
    np.testing.assert_array_equal(read("cifar10", tmp_path).train, COLOR[:15])


@pytest.mark.parametrize("packing", [".gz", ".xz"])
def test_a_stream_must_be_whole_and_alone(tmp_path, packing):
    folder = write(tmp_path, mnist_files(), packing)
    path = folder / (image_files.IDX[0] + packing)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more")
    with pytest.raises(ValueError, match="has 4 bytes after its end"):
        read("mnist", folder)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.(gz|xz) is damaged"):
        read("mnist", folder)
    path.write_bytes(idx(SMALL))
    with pytest.raises(ValueError, match="not packed as its name says"):
        read("mnist", folder)


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        (0, idx(SMALL[:4]) + b"x", r"has 3153 bytes, expected 3152 by its header"),
        (0, idx(SMALL[:4])[:-784], r"has 2368 bytes, expected 3152 by its header"),
        (0, idx(NUMBERS), r"begin with 00000803, got 00000801 in"),
        (1, idx(SMALL), r"begin with 00000801, got 00000803 in"),
        (0, b"\0\0\x0d\x03" + idx(SMALL)[4:], r"got 00000d03 in"),
        (2, idx(SMALL[:, :27]), r"sizes \(7, 27, 28\), expected \(1 or more, \*\(28, 28\)\)"),
        (2, idx(SMALL[:0]), r"sizes \(0, 28, 28\)"),
        (0, bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**32 - 1, 28, 28), r"3367254359\d+ by its"),
        (3, idx(NUMBERS), r"t10k-images-idx3-ubyte has 3 images, .* 18 labels: expected as many"),
        (1, idx(NUMBERS[:4] + 5), r"label 12 of image 0 is not one of 0 to 9"),
    ],
)
def test_an_idx_header_is_not_taken_on_trust(tmp_path, file, data, message):
    name = image_files.IDX[file]
    with pytest.raises(ValueError, match=message) as error:
        read("mnist", write(tmp_path, mnist_files() | {name: data}))
    assert name in str(error.value)


def test_a_label_out_of_range_is_named(tmp_path):
    odd = NUMBERS[:3] + np.array([0, 10, 0], np.uint8)
    write(tmp_path, cifar_files() | {"test_batch.bin": records(COLOR[:3], odd)})
    with pytest.raises(ValueError, match=r"test_batch.bin: label 10 of image 1 is not one of 0 to"):
        read("cifar10", tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MATLAB 7.3 MAT-file" + bytes(500),
        b"MATLAB 5.0 MAT-file" + bytes(500),
        matrix(COLOR[:3], np.ones(3)),
        svhn_files()["test_32x32.mat"],
    ],
    ids=["nothing", "hdf5", "damaged", "another", "exchanged"],
)
def test_a_matrix_that_is_not_published_is_never_parsed(tmp_path, monkeypatch, data):
    monkeypatch.setattr(scipy.io, "loadmat", None)
    folder = write(tmp_path, svhn_files() | {"train_32x32.mat": data})
    with pytest.raises(ValueError, match=r"train_32x32.mat is not the published file: .* sha256"):
        read("svhn", folder)
    with pytest.raises(ValueError, match=r"train_32x32.mat is not .* expected sha256 None, got"):
        image_files.read("svhn", image_files.find("svhn", folder), {})


def test_other_variables_beside_a_matrix_are_not_read(tmp_path):
    extra = matrix(COLOR[:3], np.ones(3), note=np.array([{"a": 1}], object))
    files = svhn_files() | {"test_32x32.mat": extra}
    found = image_files.find("svhn", write(tmp_path, files))
    assert image_files.read("svhn", found, sums("svhn", files)).test_labels.tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_what_unpacks_to_too_much_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.setattr(image_files, "FILE_BYTES", 100_000)
    zeros = np.zeros((2000, 28, 28), np.uint8)
    bomb = {
        "mnist": {image_files.IDX[0]: idx(zeros)},
        "cifar10": {"cifar-10-binary.tar": archive({"data_batch_1.bin": zeros.tobytes()})},
    }[name]
    rest = {} if name == "cifar10" else FILES[name]()
    folder = write(tmp_path, rest | bomb, ".gz")
    with pytest.raises(ValueError, match=r"unpacks to more than 100000 bytes"):
        read(name, folder)


def test_sizes_are_limited_before_anything_is_read(tmp_path, monkeypatch):
    folder = write(tmp_path, cifar_files())
    monkeypatch.setattr(image_files, "TOTAL_BYTES", 5 * 3 * 3073)
    with pytest.raises(ValueError, match=r"more than 46095 bytes in all files of cifar10"):
        read("cifar10", folder)
    write(tmp_path / "packed", cifar_files(), ".gz")
    with pytest.raises(ValueError, match=r"more than 46095 bytes in all files of cifar10"):
        read("cifar10", tmp_path / "packed")
    monkeypatch.setattr(image_files, "PLAIN_BYTES", 9218)
    with pytest.raises(ValueError, match=r"data_batch_1\.bin has or unpacks to more than 9218"):
        read("cifar10", folder)
    monkeypatch.setattr(image_files, "FILE_BYTES", 9000)
    with pytest.raises(ValueError, match=r"has 9219 bytes, expected at most 9000"):
        image_files.find("cifar10", folder)


@pytest.mark.parametrize(
    ("name", "file"), [("svhn", "test_32x32.mat"), ("cifar10", "cifar-10-binary.tar")]
)
def test_bytes_changed_at_random_raise_nothing_but_a_value_error(tmp_path, name, file):
    files = svhn_files() if name == "svhn" else {file: archive(cifar_files())}
    path, whole = write(tmp_path, files) / file, files[file]
    rng, messages = np.random.default_rng(1), []
    for _ in range(120):
        data = bytearray(whole)
        # Where the headers are; pixels may be anything.
        end = 400 if rng.random() < 0.7 else len(data)
        for at in rng.integers(0, end, 3):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            read(name, tmp_path)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(path.name in message for message in messages)


# The published files


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_the_published_one_is_an_error(tmp_path, name):
    folder = write(tmp_path, FILES[name]())
    first = next(iter(FILES[name]()))
    with pytest.raises(ValueError, match="is not the published file") as error:
        images.load(name, folder)
    assert first in str(error.value)
    assert image_files.SHA256[f"{name}/{first}"] in str(error.value)


def test_published_sums_are_of_what_is_unpacked(tmp_path):
    known = sums("cifar10", cifar_files())
    for files, packing in (
        (cifar_files(), ".xz"),
        ({"cifar-10-binary.tar": archive(cifar_files())}, ".gz"),
    ):
        folder = write(tmp_path / packing[1:], files, packing)
        found = image_files.find("cifar10", folder)
        assert len(image_files.read("cifar10", found, known).train) == 15
        other = known | {"cifar10/data_batch_3.bin": "0" * 64}
        with pytest.raises(ValueError, match=r"data_batch_3.bin.* expected sha256 0{64}, got 9219"):
            image_files.read("cifar10", found, other)
    assert {k.split("/")[0] for k in image_files.SHA256} == set(image_files.LAYOUTS)
    assert len(set(image_files.SHA256.values())) == 4 + 4 + 6 + 2
