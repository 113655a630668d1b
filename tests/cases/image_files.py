"""Image data sets in their published file layouts, tiny, written by hand."""

import functools
import gzip
import hashlib
import io
import lzma
import struct
import tarfile

import numpy as np
import scipy.io

from wsjax.datasets import image_files

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
RNG = np.random.default_rng(0)
SMALL = RNG.integers(0, 256, (7, 28, 28), np.uint8)
COLOR = RNG.integers(0, 256, (18, 32, 32, 3), np.uint8)
NUMBERS = np.array([7, 0, 9, 3, 3, 1, 2] + [5] * 11, np.uint8)


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def records(pixels, labels):
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    return np.concatenate([labels[:, None], planes], axis=1).tobytes()


def mnist_files():
    parts = SMALL[:4], NUMBERS[:4], SMALL[4:], NUMBERS[4:7]
    return dict(zip(image_files.IDX, map(idx, parts), strict=True))


def cifar_files():
    rows = [slice(3 * i, 3 * i + 3) for i in range(6)]
    return {
        file: records(COLOR[i], NUMBERS[i])
        for file, i in zip(image_files.BATCHES, rows, strict=True)
    }


def matrix(pixels, labels, compress=True, **others):
    file = io.BytesIO()
    content = {"X": pixels.transpose(1, 2, 3, 0), "y": labels[:, None]} | others
    scipy.io.savemat(file, content, do_compression=compress)
    return file.getvalue()


@functools.cache  # SciPy writes the time of day into them
def svhn_files(compress=True):
    labels = np.where(NUMBERS == 0, 10, NUMBERS).astype(np.uint8)
    parts = (COLOR[:5], labels[:5]), (COLOR[5:8], labels[5:8])
    return {
        file: matrix(*part, compress)
        for file, part in zip(image_files.MATRICES, parts, strict=True)
    }


def archive(files, kind=tarfile.REGTYPE):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.type, member.size, member.linkname = kind, len(data), "/etc/hostname"
            tar.addfile(member, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
    return file.getvalue()


FILES = {"mnist": mnist_files, "fashion_mnist": mnist_files, "cifar10": cifar_files}
FILES["svhn"] = svhn_files
KINDS = {"idx": "mnist", "records": "cifar10", "matrix": "svhn"}


def write(folder, files, packing=""):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / (name + packing)).write_bytes(PACK[packing](data))
    return folder


def read(name, folder):
    """As if the tiny .mat files were the published ones."""
    return image_files.read(name, image_files.find(name, folder), sums("svhn", svhn_files()))


def sums(name, files):
    return {f"{name}/{file}": hashlib.sha256(data).hexdigest() for file, data in files.items()}


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype
