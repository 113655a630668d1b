"""The original files of image data sets, read as published.

    mnist, fashion_mnist   train-images-idx3-ubyte  train-labels-idx1-ubyte
                           t10k-images-idx3-ubyte   t10k-labels-idx1-ubyte
    cifar10                data_batch_1.bin ... data_batch_5.bin  test_batch.bin
                           or cifar-10-binary.tar, with these in it
    svhn                   train_32x32.mat  test_32x32.mat
                           or svhn_crop_0.bin svhn_crop_1.bin ..., the last held out

each as it is, as .gz or as .xz. `find` lists those that a folder holds, `read` turns them
into arrays. Nothing is unpacked onto the disk, nothing is executed, no size is taken on
trust, and a file with a published sha256 must have it; the .mat files are read only if they do.
"""

import hashlib
import io
import lzma
import math
import os
import pathlib
import re
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from wsjax.summaries import summary

IDX = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
ARCHIVE = "cifar-10-binary.tar"
MATRICES = ("train_32x32.mat", "test_32x32.mat")
LAYOUTS = {  # the file names that belong together, one layout after the other
    "mnist": (IDX,),
    "fashion_mnist": (IDX,),
    "cifar10": (BATCHES, (ARCHIVE,)),
    "svhn": (MATRICES,),  # and crops, however many there are
}
PACKINGS = ("", ".gz", ".xz")
CROP = re.compile(r"(svhn_crop_(0|[1-9][0-9]{0,3})\.bin)(\.gz|\.xz)?")
PICKLES = re.compile(r"cifar-10-python\.tar\.gz|cifar-10-batches-py|(data_batch_[1-5]|test_batch)")
CLASSES = 10  # of every data set here
RECORD = 1 + 3 * 32 * 32  # a label, then the planes of red, green and blue
FILE_BYTES = 256 << 20  # of a file, packed and unpacked; the largest official one has 225 million
PLAIN_BYTES = 64 << 20  # of an IDX file or a batch, unpacked; the largest has 47 million
TOTAL_BYTES = 1 << 30  # of all files, unpacked
BLOCK = 512  # bytes, of a tar
NO_CONTENT = tuple(b"%d" % n for n in range(1, 7))  # types of links, devices, folders
MEMBERS = 64  # of an archive; CIFAR-10's has 9

# sha256 of the unpacked files. IDX and CIFAR-10: of files whose md5 is the published one.
# SVHN: as the checksums of tensorflow-datasets 4.9.10 have it.
SHA256 = {
    "mnist/train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "mnist/train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "mnist/t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "mnist/t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
    "fashion_mnist/train-images-idx3-ubyte": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "fashion_mnist/train-labels-idx1-ubyte": (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "fashion_mnist/t10k-images-idx3-ubyte": (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "fashion_mnist/t10k-labels-idx1-ubyte": (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
    "cifar10/data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "cifar10/data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "cifar10/data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "cifar10/data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "cifar10/data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "cifar10/test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    "svhn/train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "svhn/test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
}


class Arrays(NamedTuple):
    """Images [n, row, col, channel] uint8 and labels [n] int32, of training and of the test."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    __repr__ = summary


def find(name: str, folder: str | os.PathLike) -> dict[str, pathlib.Path]:
    """The files of a data set in a folder: unpacked name -> where it lies.

    Args:
        name: a key of `LAYOUTS`.
        folder: searched itself, not its folders.

    Raises:
        FileNotFoundError: no folder, no file of the data set in it, or not all of them.
        ValueError: the folder holds a file twice or two layouts, or a file lies elsewhere
            (a link), is no plain file or is larger than `FILE_BYTES`.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder with the files of {name}, got {folder}")
    present = sorted(os.listdir(folder))
    layouts = LAYOUTS[name]
    if name == "svhn":
        crops = {int(m[2]): m[1] for m in map(CROP.fullmatch, present) if m}
        layouts += (tuple(crops[i] for i in sorted(crops)),)
    packed = lambda file: [file + p for p in PACKINGS if file + p in present]
    matching = [layout for layout in layouts if any(map(packed, layout))]
    if not matching:
        wanted = " or ".join(", ".join(layout) for layout in layouts if layout)
        raise FileNotFoundError(
            f"expected {wanted} (or with .gz, .xz) in {folder}, found {_some(present)}"
            + _pickles(name, present)
        )
    if len(matching) > 1:
        both = " and ".join(packed(next(filter(packed, layout)))[0] for layout in matching)
        raise ValueError(f"{folder} holds two versions of {name}, {both}: expected one")
    (layout,) = matching
    if missing := [file for file in layout if not packed(file)]:
        raise FileNotFoundError(
            f"expected {', '.join(missing)} (or with .gz, .xz) in {folder}, found {_some(present)}"
        )
    if twice := [packed(file) for file in layout if len(packed(file)) > 1]:
        raise ValueError(f"{folder} holds files twice, expected one of each: {twice}")
    if name == "svhn" and layout != MATRICES and len(layout) < 2:
        raise FileNotFoundError(
            f"expected svhn_crop_*.bin in two parts or more, the last to test on, in {folder}, "
            f"found {layout[0]} alone"
        )
    return {file: _inside(folder, *packed(file)) for file in layout}


def digest(files: Mapping[str, pathlib.Path]) -> str:
    """sha256 of these files, as they lie there."""
    lines = []
    for file, path in sorted(files.items()):
        with open(path, "rb") as opened:
            lines.append(f"{hashlib.file_digest(opened, 'sha256').hexdigest()} {file}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read(
    name: str, files: Mapping[str, pathlib.Path], published: Mapping[str, str] | None = None
) -> Arrays:
    """Reads the files that `find` found.

    SVHN's digit 0 is class 0, whichever layout it comes in; the .mat files call it 10.

    Args:
        name: a key of `LAYOUTS`.
        files: unpacked name -> path.
        published: "data set/unpacked name" -> sha256 of the unpacked file; `SHA256` if None.
            A file that is not in it is checked for structure alone, a .mat file not read.

    Raises:
        ValueError: a file is cut short, altered, too large or not of its format, or has a
            label outside its classes; the message names the file.
    """
    published, total, contents = SHA256 if published is None else published, 0, {}
    for file, path in files.items():
        content = _content(path, file, name, TOTAL_BYTES - total)
        members = _members(content, path) if file == ARCHIVE else {file: content}
        total += len(content)
        contents |= {inner: (data, _place(path, file, inner)) for inner, data in members.items()}

    def expect_published(file):
        data, place = contents[file]
        expected, digest = published.get(f"{name}/{file}"), hashlib.sha256(data).hexdigest()
        if expected != digest and (expected or file in MATRICES):
            raise ValueError(
                f"{place} is not the published file: expected sha256 {expected}, got {len(data)} "
                f"bytes with {digest}"
            )

    if set(contents) == set(IDX):
        arrays = _idx_arrays(contents)
    elif set(contents) == set(MATRICES):
        for file in contents:
            expect_published(file)
        arrays = _joined([_matrix(data) for data, _ in contents.values()])
    else:
        arrays = _joined([_records(*content) for content in contents.values()])
    for file in contents:  # structure first: "cut short" is the better message
        expect_published(file)
    return arrays


def _joined(parts):
    """Images and labels of files, the last of them to test on."""
    images, labels = zip(*parts, strict=True)
    train = np.concatenate(images[:-1]), np.concatenate(labels[:-1])
    return Arrays(*train, images[-1], labels[-1])


def _some(names):
    return f"{names[:12]} and {len(names) - 12} more" if len(names) > 12 else f"{names}"


def _place(path, file, inner):
    return str(path) if inner == file else f"{path}: {inner}"


def _pickles(name, present):
    pickles = [file for file in present if PICKLES.fullmatch(file)] if name == "cifar10" else []
    if not pickles:
        return ""
    return (
        f". {', '.join(pickles)}: the Python version, pickles that could run any code, is never "
        "read; take the binary version, cifar-10-binary.tar.gz"
    )


def _inside(folder, file):
    """The path of a plain file that lies in the folder, links followed."""
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is a link out of its folder, to {path.resolve()}")
    if not path.is_file():
        raise ValueError(f"{path} is no plain file")
    if (size := path.stat().st_size) > FILE_BYTES:
        raise ValueError(f"{path} has {size} bytes, expected at most {FILE_BYTES}")
    return path


def _content(path, file, name, left):
    """A file's bytes, unpacked, of which `left` may come at most."""
    own = min(FILE_BYTES, PLAIN_BYTES) if file in (*IDX, *BATCHES) else FILE_BYTES
    most = min(own, left)
    with open(path, "rb") as opened:
        content = opened.read((FILE_BYTES if path.suffix in PACKINGS[1:] else most) + 1)
    if path.suffix == ".gz":
        content = _unpacked(content, zlib.decompressobj(wbits=31), most, path)
    elif path.suffix == ".xz":
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=FILE_BYTES)
        content = _unpacked(content, stream, most, path)
    if len(content) > own:
        raise ValueError(f"{path} has or unpacks to more than {own} bytes")
    if len(content) > left:
        raise ValueError(f"{path.parent}: more than {TOTAL_BYTES} bytes in all files of {name}")
    return content


def _unpacked(data, stream, most, place):
    """All of a compressed stream, which must end where the data end, or one byte more than most."""
    try:
        content = stream.decompress(data, most + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{place} is damaged, or not packed as its name says: {error}") from error
    if len(content) > most:
        return content
    if not stream.eof:
        raise ValueError(
            f"{place} is cut short: its {len(data)} bytes end after {len(content)} bytes of content"
        )
    if stream.unused_data:
        raise ValueError(f"{place} has {len(stream.unused_data)} bytes after its end")
    return content


def _members(content, path):
    """The batches in CIFAR-10's archive, by name; nothing else in it is read.

    A tar is blocks of 512 bytes: of each member a header, then its content. Read here block by
    block, as `tarfile` trusts a sparse member's size, and takes a minute for headers of headers.
    """
    members, skipped, at = {}, [], 0
    for _ in range(MEMBERS):
        header = content[at : at + BLOCK]
        if len(header) == BLOCK and not header.strip(b"\0"):
            break
        stated, size = _octal(header[148:156]), _octal(header[124:136])
        if (
            stated is None
            or size is None
            or stated != sum(header) - sum(header[148:156]) + 8 * ord(" ")
        ):
            raise ValueError(f"{path} is no tar archive, or cut short, at byte {at} of it")
        name, kind = header[:100].split(b"\0")[0].decode("latin-1"), header[156:157]
        if kind == b"S":
            raise ValueError(f"{path}: {name!r} is sparse, which the published archive is not")
        if kind in NO_CONTENT:
            size = 0
        start, at = at + BLOCK, at + BLOCK + -(-size // BLOCK) * BLOCK
        if start + size > len(content):
            raise ValueError(f"{path} is cut short: {name!r} has {size} bytes by its header")
        file = name.removeprefix("cifar-10-batches-bin/")
        if file in members:
            raise ValueError(f"{path} holds {file} twice, expected one")
        if file in BATCHES and kind in (b"0", b"\0"):
            members[file] = memoryview(content)[start : start + size]
        else:
            skipped.append(name)
    else:
        raise ValueError(f"{path} has more than {MEMBERS} members, the published one has 9")
    if missing := [file for file in BATCHES if file not in members]:
        names = _some(sorted([*members, *skipped]))
        raise ValueError(f"{path}: expected the plain files {', '.join(missing)}, found {names}")
    return {file: members[file] for file in BATCHES}


def _octal(field):
    """The number in a field of a tar's header; None where there is none."""
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]{1,12}", digits) else None


def _idx_arrays(contents):
    arrays = []
    for images, labels in (IDX[:2], IDX[2:]):
        pixels = _idx(*contents[images], shape=(28, 28))[..., None]
        numbers = _labels(_idx(*contents[labels], shape=()), contents[labels][1])
        if len(pixels) != len(numbers):
            raise ValueError(
                f"{contents[images][1]} has {len(pixels)} images, {contents[labels][1]} "
                f"{len(numbers)} labels: expected as many"
            )
        arrays += [pixels, numbers]
    return Arrays(*arrays)


def _idx(data, place, shape):
    """[n, *shape] uint8: 0 0 8 RANK, then the sizes, big-endian, then the bytes."""
    rank = 1 + len(shape)
    start, magic = 4 + 4 * rank, bytes((0, 0, 8, rank))
    if len(data) < start or data[:4] != magic:
        raise ValueError(
            f"{place} is no IDX file of {rank} axes: expected it to begin with {magic.hex()}, got "
            f"{data[:4].hex()} in {len(data)} bytes"
        )
    sizes = struct.unpack_from(f">{rank}I", data, 4)
    if sizes[1:] != shape or sizes[0] < 1:
        raise ValueError(f"{place} has sizes {sizes}, expected (1 or more, *{shape})")
    expected = start + math.prod(sizes)
    if len(data) != expected:
        raise ValueError(f"{place} has {len(data)} bytes, expected {expected} by its header")
    return np.frombuffer(data, np.uint8, offset=start).reshape(sizes)


def _records(data, place):
    """Images [n, 32, 32, 3] and labels of records: a label, then red, green, blue."""
    if not data or len(data) % RECORD:
        raise ValueError(
            f"{place} has {len(data)} bytes, expected one record of {RECORD} or more, all whole"
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    planes = rows[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), _labels(rows[:, 0], place)


def _matrix(data):
    """Images [n, 32, 32, 3] and labels of X [32, 32, 3, n] and y [n, 1], where 10 is digit 0.

    For published files alone: on a damaged one `scipy.io.loadmat` may end the process.
    """
    import scipy.io

    matrices = scipy.io.loadmat(io.BytesIO(data), variable_names=("X", "y"))
    digits = (matrices["y"].ravel() % CLASSES).astype(np.int32)
    return np.ascontiguousarray(matrices["X"].transpose(3, 0, 1, 2)), digits


def _labels(values, place):
    """Labels as int32, each of 0 to 9."""
    if (wrong := np.flatnonzero(values >= CLASSES)).size:
        first = wrong[0]
        raise ValueError(
            f"{place}: label {values[first]} of image {first} is not one of 0 to {CLASSES - 1}"
        )
    return values.astype(np.int32)
