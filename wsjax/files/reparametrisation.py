r"""Weights that a layer computes from others before it uses them, computed here too.

    weight_g [n, 1], weight_v [n, m]                      weight norm: $w = g v / \|v\|$
    parametrizations.weight.original0, .original1         the same, in PyTorch since 2.0
    weight_orig [n, m], weight_u [n], weight_v [m]        spectral norm: $w = W / (u^T W v)$
    parametrizations.weight.original, .0._u, .0._v        the same, in PyTorch since 1.9
    weight_orig, weight_mask                              pruning: $w = W m$

The norm of a weight norm is over the axes in which g has size one (Salimans & Kingma, 2016); a
spectral norm divides by the largest singular value as the stored u and v estimate it (Miyato et
al., 2018), as PyTorch does in evaluation.
"""

from collections.abc import Mapping

import numpy as np

from wsjax.files.checkpoint import Stored
from wsjax.files.derived import Derived

_INFIX = "parametrizations."


def folded(arrays: Mapping[str, Stored]) -> tuple[list[Derived], list[str]]:
    """The weights of reparametrised layers.

    Args:
        arrays: name -> array, of one network.

    Returns:
        The weights whose parametrisation is one of the above, and the names of arrays that
        belong to a parametrisation of another kind.
    """
    out, unknown = [], []
    for name in arrays:
        stem = name[: -len("_g")]
        if name.endswith("_g") and (d := _weight_norm(arrays, stem, name, f"{stem}_v")):
            out.append(d)
        stem = name.removesuffix("_orig")
        if name.endswith("_orig"):
            d = _spectral_norm(arrays, stem, name, f"{stem}_u", f"{stem}_v")
            d = d or _pruned(arrays, stem, name, f"{stem}_mask")
            out += [d] if d else []
            unknown += [] if d else [name]
        if _INFIX in name:
            head, _, rest = name.rpartition(_INFIX)
            weight, _, part = rest.partition(".")
            stem, base = head + weight, f"{head}{_INFIX}{weight}"
            if part == "original0":
                d = _weight_norm(arrays, stem, name, f"{base}.original1")
            elif part == "original":
                d = _spectral_norm(arrays, stem, name, f"{base}.0._u", f"{base}.0._v")
            else:
                continue
            out += [d] if d else []
            unknown += [] if d else [n for n in arrays if n.startswith(f"{base}.")]
    return [d for d in out if d.name not in arrays], unknown


def _weight_norm(arrays, weight, g, v):
    if v not in arrays:
        return None
    scale, shape = arrays[g].shape, arrays[v].shape
    single = all(n == 1 for n in scale)
    if not single and (
        len(scale) != len(shape) or any(a not in (1, b) for a, b in zip(scale, shape, strict=True))
    ):
        return None
    axes = None if single else tuple(i for i, n in enumerate(scale) if n == 1)

    def compute(g, v):
        kind = np.result_type(v.dtype, np.float32)
        wide = v.astype(kind)
        norm = np.sqrt(np.sum(wide * wide, axes, keepdims=True))
        return g.astype(kind).reshape(scale if not single else (1,) * wide.ndim) / norm * wide

    return Derived(weight, shape, (g, v), "weight norm", compute)


def _spectral_norm(arrays, weight, original, u, v):
    if u not in arrays or v not in arrays:
        return None
    shape, left, right = arrays[original].shape, arrays[u].shape, arrays[v].shape
    if len(left) != 1 or len(right) != 1 or len(shape) < 2:
        return None
    size = arrays[original].size
    # Transposed convolutions normalise over their second axis.
    axis = next((i for i in (0, 1) if (shape[i], size // max(shape[i], 1)) == left + right), None)
    if axis is None:
        return None

    def compute(w, u, v):
        wide = w.astype(np.result_type(w.dtype, np.float32))
        matrix = np.moveaxis(wide, axis, 0).reshape(len(u), -1)
        return wide / (u.astype(wide.dtype) @ matrix @ v.astype(wide.dtype))

    return Derived(weight, shape, (original, u, v), "spectral norm, u and v as stored", compute)


def _pruned(arrays, weight, original, mask):
    if mask not in arrays or arrays[mask].shape != arrays[original].shape:
        return None
    compute = lambda w, m: w * m.astype(w.dtype)
    return Derived(weight, arrays[original].shape, (original, mask), "pruned by its mask", compute)
