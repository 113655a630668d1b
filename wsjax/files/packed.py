"""Weights that were quantised to integers: counted, never read as numbers.

    qweight I32 [in/8, out]    scales [groups, out]  qzeros I32 [groups, out/8]  g_idx   GPTQ, AWQ
    weight  U32 [out, in/8]    scales, biases [out, groups]                              MLX
    weight_packed I32          weight_scale, weight_shape                                vLLM
    weight  U8 [n/2, 1]        weight.absmax, weight.quant_map, weight.quant_state...    NF4
    weight  I8 [out, in]       SCB or weight_scale                                       8 bits
    x_blocks U8 [..., 16]      x_scales                                                  MXFP4

How many weights an element holds follows from shapes, or else from the width of four bits that
such files have; what a file's metadata claims is not used. What lies beside them, scales and
zeros, is no weight by itself and is counted as none, though it is checked like any array.
"""

from collections.abc import Mapping

from wsjax.checks import counted
from wsjax.files.checkpoint import NUMBERS, Finding, Stored
from wsjax.files.derived import split

INTEGERS = (
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "int4", "uint4"),
)
WEIGHTS = ("weight", "kernel", "qweight", "weight_packed", "embedding", "w", "qkernel")
_BESIDE = (  # {0}: the module's name with its dot, {1}: the packed array's last word
    *("{0}scales", "{0}biases", "{0}qzeros", "{0}zeros", "{0}g_idx", "{0}perm", "{0}SCB"),
    *("{0}{1}.SCB", "{0}{1}_scales", "{0}{1}_scale", "{0}{1}_scale_2", "{0}{1}_zero_point"),
    *("{0}weight_scale", "{0}weight_zero_point", "{0}weight_g_idx", "{0}weight_shape"),
    *("{0}input_scale", "{0}{1}_format", "{0}weight_format"),
    *("{0}{1}.absmax", "{0}{1}.quant_map", "{0}{1}.nested_absmax", "{0}{1}.nested_quant_map"),
    *(f"{{0}}{{1}}.quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4")),
)


def packed(arrays: Mapping[str, Stored]) -> tuple[dict[str, int], set[str], list[Finding]]:
    """Quantised weights.

    Args:
        arrays: name -> array, of one network.

    Returns:
        Name -> number of weights, of arrays that are packed; names of arrays beside them; one
        warning that lists them.
    """
    counts, beside = {}, set()
    for name, stored in arrays.items():
        head, last = split(name)
        near = {n for t in _BESIDE if (n := t.format(head, last)) in arrays and n != name}
        if last.endswith("_blocks"):
            near |= {f"{head}{last[:-7]}_scales"} & set(arrays)
        if stored.dtype not in INTEGERS:
            if stored.dtype not in NUMBERS and stored.dtype != "F8_E8M0":
                counts[name] = stored.size  # formats' own types list their elements
                beside |= near
            continue
        # By themselves such wide integers are indices: no format packs weights into them.
        lone = stored.dtype in ("int64", "uint64") and not near
        weight = last in WEIGHTS or (last.endswith("_blocks") and near)
        if len(stored.shape) > 1 and weight and not lone:
            counts[name] = stored.size * _each(arrays, name, near)
            beside |= near
    types = dict.fromkeys(arrays[n].dtype for n in counts)
    if not counts:
        return counts, beside, []
    first, *more = counts
    text = (
        f"{counted(len(counts), 'array')} ({first}{', ...' if more else ''}): "
        f"{sum(counts.values()):,} packed weights as {', '.join(types)}, by their shapes; they are "
        "not read as numbers"
    )
    return counts, beside - set(counts), [Finding("packed", "warning", first, text)]


def _each(arrays, name, near):
    """Weights in one element."""
    stored, (head, last) = arrays[name], split(name)
    if stored.dtype in ("int32", "uint32"):
        zeros, scales = arrays.get(f"{head}qzeros"), arrays.get(f"{head}scales")
        if zeros and scales and zeros.size and scales.size % zeros.size == 0:
            return scales.size // zeros.size
        return 8
    if stored.dtype == "uint8":
        halves = last.endswith("_blocks") or any(
            n.endswith((".quant_map", ".absmax", "_scale_2")) for n in near
        )
        return 2 if halves else 1
    return 1
