"""Hostile archives and files of data sets, read by `wsjax.datasets.image_files`."""

import gzip
import lzma
import pathlib
import shutil
import struct
import tarfile
from collections.abc import Callable, Mapping

import numpy as np

from experiments.faults.attacks import FORKED, Attack, cases, verdict
from experiments.faults.mutators import mutate
from wsjax.datasets import image_files

ARCHIVE = "cifar-10-binary.tar"
RECORD = bytes([3]) + bytes(range(256)) * 12  # a label, and an image
BATCHES = dict.fromkeys(image_files.BATCHES, RECORD)
LAST = image_files.BATCHES[-1]


def _head(*sizes):
    """The head of an IDX file of bytes."""
    return struct.pack(f">HBB{len(sizes)}I", 0, 8, len(sizes), *sizes)


PIXELS = _head(2, 28, 28) + bytes(2 * 28 * 28)
LABELS = _head(2) + bytes([1, 2])
IDX = dict(zip(image_files.IDX, 2 * [PIXELS, LABELS], strict=True))
FIRST = image_files.IDX[0]

Files = Mapping[str, bytes | Callable[[pathlib.Path], object]]


def member(name: str, data: bytes = RECORD, kind: bytes = tarfile.REGTYPE, **changed) -> bytes:
    """A member of a tar: its head, and its data up to a whole block."""
    info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    info.type, info.size = kind, len(data)
    for key, value in changed.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def tar(*members: bytes) -> dict[str, bytes]:
    """CIFAR-10's archive with these members."""
    return {ARCHIVE: b"".join(members) + bytes(1024)}


def _sparse(name, size):
    """A member of so many bytes, none of which are in the archive."""
    head = bytearray(member(name, b"", tarfile.GNUTYPE_SPARSE)[:512])
    head[386:410] = b"%011o\0%011o\0" % (size, 0)
    head[483:495] = b"%011o\0" % size
    return _summed(head)


def _summed(head):
    """The head of a member with the checksum that it ought to have."""
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def _sized(name, size):
    """A member that states a size, which may be negative or beyond all bounds."""
    head = bytearray(member(name, b""))
    head[124:136] = (b"\xff" if size < 0 else b"\x80") + size.to_bytes(11, "big", signed=True)
    return _summed(head)


def _pax(name, **records):
    """A member behind a pax header with these records."""
    lines = b""
    for key, value in records.items():
        text = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(text) + len(str(len(text) + 2))
        lines += str(length).encode() + text
    return member("pax", lines, tarfile.XHDTYPE) + member(name, b"")


def _all_but_first(*first):
    """An archive of good batches but for the first."""
    return tar(*first, *(member(k) for k in [*BATCHES][1:]))


def _linked(kind, target):
    return _all_but_first(member("data_batch_1.bin", b"", kind, linkname=target))


def _idx(data, name=FIRST):
    return {**IDX, name: data}


def _instead(ending, data):
    """Packed bytes in place of the first file."""
    return {k: v for k, v in IDX.items() if k != FIRST} | {FIRST + ending: data}


def _link(path):
    path.symlink_to("/etc/hostname")


def _truncated(size):
    def make(path):
        with path.open("wb") as file:
            file.truncate(size)

    return make


# title -> (data set, what gives its files, whether they may be read)
CASES: dict[str, tuple[str, Callable[[], Files], bool | None]] = {
    "good batches in an archive": ("cifar10", lambda: tar(*map(member, BATCHES)), True),
    "good batches": ("cifar10", lambda: BATCHES, True),
    "good IDX files": ("mnist", lambda: IDX, True),
    "sparse members of 7 GB in 4 KB": (
        "cifar10", lambda: tar(*(_sparse(k, 7 << 27) for k in BATCHES)), False,
    ),
    "a sparse member of 8 GB": (
        "cifar10", lambda: _all_but_first(_sparse("data_batch_1.bin", 2**33 - 1)), False,
    ),
    "a sparse member by pax": (
        "cifar10", lambda: _all_but_first(_pax(
            "data_batch_1.bin", GNU__sparse__map="0,0", GNU__sparse__size=7 << 30,
        )), False,
    ),
    "a sparse member by pax, its map broken": (
        "cifar10", lambda: _all_but_first(_pax("data_batch_1.bin", GNU__sparse__map="a,b")), False,
    ),
    "400,000 members": (
        "cifar10", lambda: {ARCHIVE + ".gz": gzip.compress(
            member("a", b"") * 400_000 + b"".join(map(member, BATCHES)), 1,
        )}, None,
    ),
    "a member of 2**60 bytes": ("cifar10", lambda: tar(_sized("data_batch_1.bin", 2**60)), False),
    "a member of -512 bytes": ("cifar10", lambda: tar(_sized("data_batch_1.bin", -512)), False),
    "a member of -1 bytes": ("cifar10", lambda: _all_but_first(_sized("a", -1)), False),
    "a long name of 2**40 bytes": (
        "cifar10", lambda: tar(_summed(bytearray(
            _sized("a", 2**40)[:156] + tarfile.GNUTYPE_LONGNAME + _sized("a", 2**40)[157:]
        ))), False,
    ),
    "a size by pax of 2**62": (
        "cifar10", lambda: _all_but_first(_pax("data_batch_1.bin", size=2**62)), False,
    ),
    "a size by pax that is a word": (
        "cifar10", lambda: _all_but_first(_pax("data_batch_1.bin", size="NaN")), False,
    ),
    "a pax header of no length": (
        "cifar10", lambda: _all_but_first(member("pax", b"0 a=b\n", tarfile.XHDTYPE)), False,
    ),
    "a link to a file of ours": (
        "cifar10", lambda: _linked(tarfile.SYMTYPE, "/etc/hostname"), False,
    ),
    "a link to itself": (
        "cifar10", lambda: _linked(tarfile.LNKTYPE, "cifar-10-batches-bin/data_batch_1.bin"), False,
    ),
    "a device": ("cifar10", lambda: _linked(tarfile.CHRTYPE, ""), False),
    "a folder for a batch": ("cifar10", lambda: _linked(tarfile.DIRTYPE, ""), False),
    "one batch is missing": ("cifar10", lambda: _all_but_first(), False),
    "a record cut short": ("cifar10", lambda: {**BATCHES, LAST: RECORD[:-1]}, False),
    "a label of 255": ("cifar10", lambda: {**BATCHES, LAST: b"\xff" + RECORD[1:]}, False),
    "an empty archive": ("cifar10", lambda: {ARCHIVE: b""}, False),
    "zeros": ("cifar10", lambda: {ARCHIVE: bytes(10_240)}, False),
    "an archive of 20 GB of holes": ("cifar10", lambda: {ARCHIVE: _truncated(20 << 30)}, False),
    "half a gzip": ("mnist", lambda: _instead(".gz", gzip.compress(PIXELS)[:-9]), False),
    "a gzip and more": ("mnist", lambda: _instead(".gz", gzip.compress(PIXELS) + b"0"), False),
    "images of 2**96 bytes": (
        "mnist", lambda: _idx(_head(*[2**32 - 1] * 3)), False,
    ),
    "2**32 - 1 images": (
        "mnist", lambda: _idx(_head(2**32 - 1, 28, 28) + PIXELS[16:]), False,
    ),
    "no image": ("mnist", lambda: _idx(_head(0, 28, 28)), False),
    "one image more than labels": ("mnist", lambda: _idx(_head(3, 28, 28) + bytes(3 * 784)), False),
    "images of doubles": ("mnist", lambda: _idx(b"\0\0\x0e\3" + PIXELS[4:]), False),
    "a label of 10": ("mnist", lambda: _idx(LABELS[:-1] + b"\x0a", image_files.IDX[1]), False),
    "a link out of the folder": ("mnist", lambda: _idx(_link), False),
    "a folder for a file": ("mnist", lambda: _idx(pathlib.Path.mkdir), False),
    "a .mat that no one published": (
        "svhn", lambda: dict.fromkeys(image_files.MATRICES, b"MATLAB 5.0" + bytes(600)), False,
    ),
    "a gzip of 400 MB": (
        "mnist", lambda: _instead(".gz", gzip.compress(bytes(400 << 20), 1)), False,
    ),
    "an xz of 300 MB": (
        "mnist", lambda: _instead(".xz", lzma.compress(bytes(300 << 20), preset=0)), False,
    ),
}  # fmt: skip


def _place(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        if callable(content):
            content(folder / name)
        else:
            (folder / name).write_bytes(content)


def _read(name, folder, expected):
    """The verdict on a folder; the published sums are for others' files."""
    read = lambda: image_files.read(name, image_files.find(name, folder), {})
    if expected is None:  # any
        return verdict(lambda: [read()][:0], [[]], [folder])
    return verdict(read, expected, [folder])


def _expected(name):
    data = RECORD if name == "cifar10" else None
    if data:
        image = np.frombuffer(RECORD[1:], np.uint8).reshape(1, 3, 32, 32).transpose(0, 2, 3, 1)
        label = np.array([3], np.int32)
        train = np.repeat(image, 5, 0), np.repeat(label, 5)
        return image_files.Arrays(*train, image, label)
    images, labels = np.zeros((2, 28, 28, 1), np.uint8), np.array([1, 2], np.int32)
    return image_files.Arrays(images, labels, images, labels)


def _listed(rng, count, folder):
    for number, _ in cases(rng, count):
        title = [*CASES][number % len(CASES)]
        name, make, readable = CASES[title]
        _place(folder / "data", make())
        expected = None if readable is None else [_expected(name)] if readable else []
        found = FORKED.run(_read, name, folder / "data", expected)
        yield found._replace(words=f"{title}: {found.words}")


def _mutated(rng, count, folder):
    """A tar has checksums of heads alone: what is read must have the shapes that are stated."""
    for number, own in cases(rng, count):
        if number % 2:
            name, files = "cifar10", tar(*map(member, BATCHES))
        else:
            name, files = "mnist", dict(IDX)
        file = sorted(files)[int(own.integers(len(files)))]
        words, files[file] = mutate(own, files[file])
        _place(folder / "data", files)
        found = FORKED.run(_read, name, folder / "data", None)
        yield found._replace(words=f"{file}: {words}: {found.words}")


ATTACKS = (
    Attack("archives", "hostile files of data sets", len(CASES), len(CASES) - 2, _listed),
    Attack("archives_mutated", "such files with damaged bytes", 100, 10, _mutated),
)
