"""A PyTorch file as a `Checkpoint`: every tensor listed by its path, read one at a time.

`torch_files` gives files of known contents as they are nested; this takes any, and refuses by
name what is neither an array nor a plain value.
"""

import math

import numpy as np

from wsjax.checks import printable
from wsjax.files import salvage, trees
from wsjax.files.checkpoint import (
    Checkpoint,
    FileFormatError,
    Finding,
    Limits,
    Stored,
    reader,
    too_large,
)
from wsjax.files.json_text import first
from wsjax.files.pickles import Name
from wsjax.files.storages import NAMES, STORAGES, Numbers
from wsjax.files.torch_files import PLAIN, Archive

ADVICE = (
    "where its code is, load it and save its arrays alone, `torch.save(model.state_dict(), path)`"
)


def read(archive: Archive, limits: Limits) -> Checkpoint:
    """The contents of one file.

    Raises:
        FileFormatError: it is damaged, or its tensors are all inside objects that only their
            code could rebuild.
    """
    file = archive.zip.file
    tree, tensors, dropped = salvage.rebuild(archive.program(), archive)
    if type(tree) is Numbers:
        tree = {file.path.stem: tree}
    if type(tree) is salvage.Refused:
        raise FileFormatError(f"it holds a whole {tree.name!r:.200}, not arrays by name; {ADVICE}")
    met = set()

    def leaf(path, x):
        if type(x) is Numbers and x.storage is not None:
            if x.storage.name in STORAGES:  # NumPy's arrays are no tensors
                met.add(id(x))
            return _stored(archive, limits, path, x)
        if type(x) is Name and x.full in NAMES:
            return x.full
        if isinstance(x, np.dtype):
            return x.name
        name = getattr(x, "full", None) or getattr(x, "name", None)
        if isinstance(x, PLAIN) and not name:
            return x
        return trees.Refusal(name or "an array of objects")

    parts = trees.apart(tree, leaf, limits.pickle_bytes)
    findings = parts.findings()
    if inside := tensors - len(met):
        names = first(sorted({printable(x)[:200] for x in parts.refused.values()}))
        text = f"{inside} of {tensors} tensors are inside objects that are not rebuilt ({names})"
        if not parts.arrays:
            raise FileFormatError(f"{text}; {ADVICE}")
        findings.append(Finding("refused", "warning", None, text))
    if dropped:
        text = f"{dropped} times {salvage.KEYS}, which is not read"
        findings.append(Finding("refused", "warning", None, text))
    return Checkpoint(
        str(file.path), "torch", tuple(parts.arrays), trees.metadata_of(parts), tuple(findings)
    )


def _stored(archive, limits, path, x):
    x.check()
    file, dtype = archive.zip.file, trees.plain_dtype(x.kind)
    count = math.prod(x.shape) * x.kind.itemsize
    row = x.storage.key or id(x.storage)  # of the zip, or of the pickle itself

    def read():
        file.check_open()
        if count > limits.array_bytes:
            raise too_large(f"it has {count} bytes", "array_bytes", limits)
        archive.left = archive.limits.total_bytes  # of each array by itself
        return x.array()

    # Views that begin and end at the same numbers, such as a tied weight's transpose, are of the
    # same bytes; those of no numbers share none.
    storage = (*file.identity, row, x.offset, x.last) if count else (*file.identity, path)
    return Stored(path, x.shape, dtype, storage, count, reader(dtype, read, "convert it first"))
