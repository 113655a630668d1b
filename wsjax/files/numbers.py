"""Which arrays of a network are weights, and how their numbers are read.

    weight      float64, float32, float16, bfloat16, complex: as they are; or computed from others
    buffer      integers and masks: `num_batches_tracked`, `position_ids`; empty arrays;
                `..._mask` of minus infinity and zero alone
    packed      quantised: counted, not read
    auxiliary   what a weight is computed from, or lies beside a packed one
    refused     numbers that would be wrong: eight bits without their scale

No type is changed but where a weight is computed: complex numbers stay complex, float16 stays
float16. A running mean or variance is a weight here, as a network's function needs it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from wsjax.files.checkpoint import NUMBERS, FileFormatError, Finding, Stored
from wsjax.files.derived import Derived, split
from wsjax.files.packed import INTEGERS, packed
from wsjax.files.reparametrisation import folded
from wsjax.files.scales import MARKER, is_scaled, scaled

Kind = Literal["weight", "buffer", "packed", "auxiliary", "refused"]
_BUFFERS = (  # of whatever type; a causal mask holds infinities
    *("inv_freq", "masked_bias", "attn_mask", "attention_mask", "causal_mask", "mask", "tril"),
    *("n_averaged", "initted", "position_ids", MARKER),
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """An array of a network by its role.

    Attributes:
        name: in the network.
        kind: see the module.
        shape: of the array; of packed ones as stored.
        dtype: as stored, of the first of its sources.
        count: of parameters that it holds; zero of buffers and auxiliary arrays.
        sources: the stored arrays that it is made of.
        how: of computed weights, in a few words; "" of others.
        read: its numbers.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    count: int
    sources: tuple[Stored, ...]
    how: str
    read: Callable[[], np.ndarray] = dataclasses.field(repr=False, compare=False)


def entries(arrays: Mapping[str, Stored]) -> tuple[list[Entry], list[Finding]]:
    """Sorts the arrays of a network, in their order; a computed weight comes with its first source.

    Args:
        arrays: name -> array, of one network.

    >>> mask = Stored(("mask",), (4, 4), "bool", 0, 16, lambda: np.ones((4, 4), bool))
    >>> kernel = Stored(("kernel",), (4, 2), "float32", 1, 32, lambda: np.ones((4, 2), "f4"))
    >>> [(e.name, e.kind, e.count) for e in entries({"mask": mask, "kernel": kernel})[0]]
    [('mask', 'buffer', 0), ('kernel', 'weight', 8)]
    """
    computed, unknown = folded(arrays)
    multiplied, beside, findings = scaled(arrays)
    counts, near, more = packed(arrays)
    findings += more
    at_first: dict[str, Derived] = {d.sources[0]: d for d in (*computed, *multiplied)}
    auxiliary = {n for d in computed for n in d.sources} | beside | near
    out = []
    for name, stored in arrays.items():
        if name in at_first:
            out.append(_computed(at_first[name], arrays))
        if name in auxiliary:
            kind = "auxiliary"
        elif name in at_first:
            continue
        elif name in counts:
            kind = "packed"
        elif _is_buffer(name, stored):
            kind = "buffer"
        else:
            kind = "weight" if stored.dtype in NUMBERS and not _no_weight(stored) else "refused"
        count = counts.get(name, stored.size if kind in ("weight", "refused") else 0)
        out.append(Entry(name, kind, stored.shape, stored.dtype, count, (stored,), "", stored.read))
        if kind == "refused" and not is_scaled(stored):
            text = f"{name} is of type {stored.dtype}, which is listed, not read as numbers"
            findings.append(Finding("refused", "warning", name, text))
    if unknown:
        text = (
            f"{', '.join(unknown[:4])}{', ...' if len(unknown) > 4 else ''}: reparametrised in a "
            "way that is not known here; the arrays are given as stored"
        )
        findings.append(Finding("reparametrised", "warning", unknown[0], text))
    for how in dict.fromkeys(d.how for d in computed):
        names = [d.name for d in computed if d.how == how]
        text = f"{_listed(names)}: reparametrised, folded into the effective weight ({how})"
        findings.append(Finding("reparametrised", "note", names[0], text))
    return out, findings


def _no_weight(stored):
    """Whether its numbers are parts of others: of eight bits, or exponents alone."""
    return is_scaled(stored) or stored.dtype == "float8_e8m0fnu"


def _listed(names):
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def _computed(derived, arrays):
    sources = tuple(arrays[n] for n in derived.sources)

    def read():
        with np.errstate(all="ignore"):  # what is not finite is reported by place
            out = derived.compute(*(s.read() for s in sources))
        if out.shape != derived.shape:
            raise FileFormatError(
                f"expected {derived.name} {list(derived.shape)}, computed {list(out.shape)}"
            )
        return out

    count = int(np.prod(derived.shape, dtype=object))
    return Entry(
        *(derived.name, "weight", derived.shape, sources[0].dtype, count, sources),
        *(derived.how, read),
    )


def _hides(stored):
    """Whether its numbers are those of a mask that is added; a learned mask's are others."""
    if stored.dtype not in NUMBERS:
        return False
    try:
        array = stored.read()
    except (FileFormatError, OSError):
        return False  # as a weight it is an error
    hidden = array == -np.inf
    return bool(hidden.any() and (hidden | (array == 0)).all())


def _is_buffer(name, stored):
    last = split(name)[1]
    if stored.dtype in (*INTEGERS, "bool") or 0 in stored.shape or last in _BUFFERS:
        return True
    if last.endswith("_mask") and _hides(stored):
        return True
    # The causal mask of GPT-2, which its files call a bias.
    shape = stored.shape
    return last == "bias" and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]
