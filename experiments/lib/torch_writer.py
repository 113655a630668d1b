"""PyTorch files byte by byte: any pickle, in any zip.

    state({"seq.0.weight": tensor("0", (2, 3))}) --program--> pickle --pt--> zip

Parts of a pickle are bytes that leave one object on the stack when they are run.
"""

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

STORAGES = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "u1": "Byte"}


def value(x: object) -> bytes:
    """A number, a string, a tuple of them."""
    return pickle.dumps(x, 2)[2:-1]


def name(full: str) -> bytes:
    """The instruction that looks up "module.name"."""
    return "c{}\n{}\n".format(*full.rsplit(".", 1)).encode()


def call(full: str, *arguments: bytes) -> bytes:
    """A call of "module.name"."""
    return name(full) + b"(" + b"".join(arguments) + b"tR"


def mapping(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A dict."""
    return b"}(" + b"".join(k + v for k, v in pairs) + b"u"


def tensor(
    key: str, shape: object, strides: object = None, offset: object = 0, kind: str = "Float",
    count: object = None,
) -> bytes:  # fmt: skip
    """A tensor of a storage; by default it is the whole of it, row by row."""
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    count = int(np.prod(shape)) if count is None else count
    parts = value("storage"), name(f"torch.{kind}Storage"), value(key), value("cpu"), value(count)
    storage = b"(" + b"".join(parts) + b"tQ"
    hooks = call("collections.OrderedDict")
    rest = value(offset), value(shape), value(strides), value(False), hooks
    return call("torch._utils._rebuild_tensor_v2", storage, *rest)


def state(tensors: Mapping[str, bytes]) -> bytes:
    """A state dict."""
    return mapping((value(k), v) for k, v in tensors.items())


def program(body: bytes) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + body + b"."


def pt(
    pickled: bytes, storages: Sequence[bytes] = (), byteorder: bytes | None = b"little",
    compression: int = zipfile.ZIP_STORED, more: Sequence[tuple[str, bytes]] = (),
) -> bytes:  # fmt: skip
    """The file of a pickle and its storages.

    Args:
        pickled: data.pkl.
        storages: of the members data/0, data/1, ...
        byteorder: of that member; None leaves it out.
        compression: of all members.
        more: further members.
    """
    members = [("archive/data.pkl", pickled)]
    members += [] if byteorder is None else [("archive/byteorder", byteorder)]
    members += [(f"archive/data/{i}", data) for i, data in enumerate(storages)]
    members += [("archive/version", b"3\n"), *more]
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as file:
        warnings.simplefilter("ignore")  # of names that are there twice
        for member, data in members:
            file.writestr(zipfile.ZipInfo(member), data, compression)
    return out.getvalue()


def saved(arrays: Mapping[str, np.ndarray], **more) -> bytes:
    """The file of a state dict of arrays; the rest is `pt`'s."""
    return pt(program_of(arrays), [x.tobytes() for x in arrays.values()], **more)


def program_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The pickle of a state dict of arrays, each in a storage of its own."""
    tensors = {
        k: tensor(str(i), x.shape, kind=STORAGES[x.dtype.str[1:]])
        for i, (k, x) in enumerate(arrays.items())
    }
    return program(state(tensors))


def patched(data: bytes, start: int, offset: int, form: str, number: int) -> bytes:
    """With a number of a zip's record, which starts there, replaced."""
    out = bytearray(data)
    struct.pack_into(f"<{form}", out, start + offset, number)
    return bytes(out)
