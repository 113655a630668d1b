"""Weights of eight bits, multiplied by the scales that lie beside them.

    gate.weight F8 [n, m]   gate.weight_scale_inv F32 [n/128, m/128]    one for each block
                            gate.weight_scale     F32 [n] or [n, 1]     one for each row
                            gate.scale_weight     F32 [] or [1]         one for all
                            gate.weight_scale     U8  [n, m/32]         exponents: 2 ** (u - 127)
                            gate.input_scale      of activations: listed only

Numbers of eight bits mean nothing without their scale, so that a weight without one, or with
one whose shape does not say what it belongs to, is not read. All spellings multiply:
`weight_scale_inv` is the inverse of what the weight was multiplied by when it was stored. Of a
block the shapes tell only how often it fits: 128 is assumed where it does, then the block that
divides the axis. U8 scales are the exponents of the OCP's microscaling formats (E8M0).
"""

from collections.abc import Mapping

import numpy as np

from wsjax.files.checkpoint import Finding, Stored
from wsjax.files.derived import Derived, split

SPELLINGS = (  # {0}: the module's name with its dot, {1}: the weight's last word; best first
    *("{0}{1}_scale_inv", "{0}{1}_scale", "{0}scale_{1}", "{0}{1}.scale", "{0}{1}/scale"),
    *("{0}scale", "{0}scales"),
)
ACTIVATIONS = ("{0}input_scale", "{0}scale_input", "{0}output_scale", "{0}activation_scale")
EXPONENTS = ("uint8", "float8_e8m0fnu", "F8_E8M0")
MARKER = "scaled_fp8"  # an array that says that a file's weights have scales, and holds none
_MX = 32  # elements that share an exponent


def is_scaled(stored: Stored) -> bool:
    """Whether an array's numbers are of eight bits and mean nothing without a scale."""
    return stored.dtype.startswith(("float8", "F8")) and stored.dtype not in EXPONENTS


def scaled(arrays: Mapping[str, Stored]) -> tuple[list[Derived], set[str], list[Finding]]:
    """Weights of eight bits with their scales.

    Args:
        arrays: name -> array, of one network.

    Returns:
        The weights that can be read; names of arrays that belong to any of eight bits and are no
        weights themselves; an error for each that cannot be read, a note on scales not used.
    """
    out, beside, findings = [], set(), []
    every = {
        text.format(*split(name)) for name in arrays for text in (*SPELLINGS, *ACTIVATIONS)
    } & set(arrays)
    for name, stored in arrays.items():
        if not is_scaled(stored) or not stored.size or name in every or split(name)[1] == MARKER:
            continue
        named = lambda texts, name=name: [
            n for n in dict.fromkeys(t.format(*split(name)) for t in texts) if n in arrays
        ]
        spelled, inputs = named(SPELLINGS), named(ACTIVATIONS)
        beside |= {*spelled, *inputs}
        block = blocks(name, stored, arrays[spelled[0]]) if spelled else None
        if block is None:
            problem = _misfit(stored, spelled[0], arrays[spelled[0]]) if spelled else "has no scale"
            text = f"{name} of {stored.dtype} {problem}: it is not read as numbers"
            findings.append(Finding("refused", "error", name, text))
            continue
        out.append(_multiplied(name, stored, spelled[0], arrays[spelled[0]], block))
        if unused := [*spelled[1:], *inputs]:
            text = f"{name}: multiplied by {spelled[0]}; {', '.join(unused)} not used"
            findings.append(Finding("scale", "note", name, text))
    return out, beside, findings


def _misfit(weight, name, scale):
    return (
        f"{list(weight.shape)} has a scale {name} {list(scale.shape)} of {scale.dtype}, which fits "
        "neither it, its rows nor its blocks"
    )


def blocks(name: str, weight: Stored, scale: Stored) -> tuple[int, ...] | None:
    """Elements along each axis of a weight that share a scale; None if the shapes do not tell.

    >>> w = Stored(("w",), (256, 384), "float8_e4m3fn", 0, 98304, lambda: None)
    >>> s = lambda *shape: Stored(("s",), shape, "float32", 1, 4, lambda: None)
    >>> [blocks("fc.weight", w, s(*n)) for n in ((), (256,), (256, 1), (2, 3), (256, 12), (5, 3))]
    [(256, 384), (1, 384), (1, 384), (128, 128), (1, 32), None]
    """
    shape, rows = weight.shape, scale.shape
    if scale.dtype == "uint8":  # could be anything else, but for the shape of such formats
        fits = len(shape) == len(rows) > 0 and shape[:-1] == rows[:-1]
        return (*(1,) * (len(shape) - 1), _MX) if fits and shape[-1] == _MX * rows[-1] else None
    if not scale.dtype.startswith(("float", "bfloat", "F8_E8M0")):
        return None
    if scale.size == 1:
        return tuple(max(n, 1) for n in shape)
    if len(rows) == 1 and len(shape) > 1:  # of the outputs, which Flax has last
        last = split(name)[1] in ("kernel", "embedding")
        rows = (*(1,) * (len(shape) - 1), *rows) if last else (*rows, *(1,) * (len(shape) - 1))
    if len(rows) != len(shape):
        return None
    sizes = [_block(n, k) for n, k in zip(shape, rows, strict=True)]
    return None if None in sizes else tuple(b for b in sizes if b)


def _block(size, count):
    if count == 1:
        return max(size, 1)
    if count == size:
        return 1
    if count < 1 or count > size:
        return None
    if -(-size // 128) == count:
        return 128
    return size // count if size % count == 0 else None


def _multiplied(name, stored, scale_name, scale, block):
    def compute(weight, scales):
        if scale.dtype in EXPONENTS:
            scales = _powers(scales)
        out = weight.astype(np.float32)
        counts = [-(-n // b) for n, b in zip(stored.shape, block, strict=True)]
        scales = np.asarray(scales, np.float32).reshape(counts)
        if not out.ndim:
            return out * scales
        for i in range(counts[0]):
            wide = scales[i]
            for axis, (b, n) in enumerate(zip(block[1:], stored.shape[1:], strict=True)):
                wide = np.repeat(wide, b, axis).take(range(n), axis)
            out[i * block[0] : (i + 1) * block[0]] *= wide
        return out

    what = "each" if set(block) == {1} else " x ".join(map(str, block))
    how = f"multiplied by {scale_name}, one for {what}"
    return Derived(name, stored.shape, (name, scale_name), how, compute)


def _powers(scales):
    """Exponents of eight bits as powers of two; 255 is NaN, as the format has it."""
    if scales.dtype != np.uint8:
        return scales.astype(np.float32)
    powers = np.ldexp(np.float32(1), np.minimum(scales, 254).astype(np.int32) - 127)
    return np.where(scales == 255, np.float32(np.nan), powers)
