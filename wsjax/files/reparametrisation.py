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
from wsjax.files.derived import Derived, split

_INFIX = "parametrizations."
_REAL = ("float16", "bfloat16", "float32", "float64")


def folded(arrays: Mapping[str, Stored]) -> tuple[list[Derived], list[str]]:
    """The weights of reparametrised layers.

    Args:
        arrays: name -> array, of one network.

    Returns:
        The weights whose parametrisation is one of the above, and the names of arrays that
        belong to a parametrisation of another kind.
    """
    every = [_own(arrays, name) or _registered(arrays, name) for name in arrays]
    real = lambda n: (
        arrays[n].dtype in _REAL or (_split(n)[1] == "mask" and arrays[n].dtype == "bool")
    )
    weights = [d for d in every if d and d.name not in arrays and all(map(real, d.sources))]
    used = {n for d in weights for n in d.sources}
    foreign = lambda n: _INFIX in n or _split(n)[1] == "orig" or _alike(arrays, n)
    return weights, [n for n in arrays if n not in used and foreign(n)]


def _alike(arrays, name):
    """Whether it is the g or v of a weight norm whose shapes do not give the axes of its norm."""
    stem, part = _split(name)
    both = [arrays.get(f"{stem}_{x}") for x in "gv"]
    shapes = [s.shape for s in both if s]
    return part in ("g", "v") and stem not in arrays and len(shapes) == 2 and len({*shapes}) == 1


def _split(name):
    """("fc.weight", "g") of "fc.weight_g"; the second is "" of names of other kinds."""
    head, last = split(name)
    word, _, part = last.rpartition("_")
    return (head + word, part) if word.startswith(("weight", "bias", "kernel")) else (name, "")


def _own(arrays, name):
    """A weight of arrays that are a layer's own."""
    stem, part = _split(name)
    if part == "g":
        return _weight_norm(arrays, stem, name, f"{stem}_v")
    if part == "orig":
        spectral = _spectral_norm(arrays, stem, name, f"{stem}_u", f"{stem}_v")
        return spectral or _pruned(arrays, stem, name, f"{stem}_mask")
    return None


def _registered(arrays, name):
    """A weight of arrays below the layer's `parametrizations`."""
    head, infix, rest = name.rpartition(_INFIX)
    weight, _, part = rest.partition(".")
    base = f"{head}{infix}{weight}"
    if infix and part == "original0":
        return _weight_norm(arrays, head + weight, name, f"{base}.original1")
    if infix and part == "original":
        return _spectral_norm(arrays, head + weight, name, f"{base}.0._u", f"{base}.0._v")
    return None


def _weight_norm(arrays, weight, g, v):
    if v not in arrays:
        return None
    scale, shape = arrays[g].shape, arrays[v].shape
    single = all(n == 1 for n in scale)
    if not single and (
        len(scale) != len(shape)
        or (scale == shape and sum(n > 1 for n in shape) != 1)
        or any(a not in (1, b) for a, b in zip(scale, shape, strict=True))
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
