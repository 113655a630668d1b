"""The families of `wsjax.architectures`, by their own names.

    Conv_0/kernel, positions, MultiHeadDotProductAttention_0/query/kernel [s, head, dimension], ...

Settings are read off shapes, the family's function builds the Spec, and the two must agree in
every name and shape. Settings that arrays do not hold, such as the stride, may be in the config.
"""

import contextlib
import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from wsjax import architectures
from wsjax.networks import Spec
from wsjax.packing import Piece
from wsjax.recognition import links, names
from wsjax.recognition.drafting import ODD, OTHER, StoredDraft
from wsjax.recognition.names import Shapes, UnfitError
from wsjax.settings import SPELLINGS

Arguments = tuple[tuple, dict[str, Any]]
ATTENTION = "MultiHeadDotProductAttention"
NORMS = {"BatchNorm_0": "batch", "GroupNorm_0": "group", "LayerNorm_0": "layer"}


def own(weights: Shapes, config: Mapping[str, Any]) -> tuple[StoredDraft, str, bool, bool] | None:
    """Recognises a network of this library; None if the names are of none.

    Args:
        weights: shapes by name.
        config: arguments of the family's function.

    Returns:
        As `chains.chained`.

    Raises:
        UnfitError: the names are a family's, the shapes are not.
    """
    name = config.get("family") or _family(weights)
    if name not in READERS or config.get("chain"):
        return None
    doubt = name == "resnet" and "family" not in config and _is_chain(weights)
    build: Callable[..., Spec] = getattr(architectures, name)
    try:
        positional, keywords = READERS[name](weights)
        allowed = inspect.signature(build).parameters
        if name == "deepsets":
            allowed = inspect.signature(architectures.equivariant).parameters
        keywords |= {k: v for k, v in config.items() if k in allowed and k != "activation"}
        given = str(config.get("activation"))
        missing = set(UNSEEN[name]) - {"size", *config}
        known = given in SPELLINGS and not doubt and not (missing and given in ODD)
        spec = build(*positional, activation=SPELLINGS.get(given, "tanh"), **keywords)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UnfitError(f"wsjax {name}: {error}") from error
    expected = {a.name: spec.shape(a) for a in spec.arrays}
    if wrong := [n for n in {*expected, *weights} if expected.get(n) != weights.get(n)]:
        n = min(wrong)
        hint = "; config={'chain': True} if it is none" if name == "resnet" else ""
        raise UnfitError(
            f"wsjax {name}: {n}: expected {expected.get(n)}, got {weights.get(n)}{hint}"
        )
    draft = StoredDraft(stored=weights)
    if doubt:
        draft.notes.append(
            "shapes of a residual network, and of a chain, which has more permutations: "
            "config={'chain': True} or config={'family': 'resnet'}"
        )
    elif not known:
        wanted = ["activation"] if given not in SPELLINGS else sorted(missing)
        draft.notes.append(f"not known: config of {wanted} would add factors")
    if not known:
        hide = lambda x: dataclasses.replace(x, activation=OTHER)
        layers = (hide(x) if doubt or x.activation == "tanh" else x for x in spec.layers)
        spec = dataclasses.replace(spec, layers=tuple(layers))
    draft.layers, draft.sizes = list(spec.layers), dict(spec.sizes)
    draft.hidden, draft.nested = list(spec.hidden), list(spec.nested)
    for a in spec.arrays:
        shape, axes = spec.shape(a), tuple(range(len(a.axes)))
        draft.pieces.append(Piece(a.name, a.name, shape, (0,) * len(shape), shape, shape, axes))
    return draft, f"wsjax {name}", known, known and set(UNSEEN[name]) <= set(config)


# Settings that change the function and not the arrays. All but the size are of pools, too, with
# whose maxima no sign commutes.
UNSEEN = {
    "vit": ("size",),
    "cnn": ("stride", "padding", "max_pool", "pool"),
    "resnet": ("stride", "stem"),
    "deepsets": ("basis", "pool"),
    "equivariant": ("basis", "pool"),
    "grid": (),
    "triplane": (),
    "hash_grid": ("coarsest", "finest"),
}


def _family(weights: Shapes) -> str | None:
    nested = len(weights.get("GroupNorm_0/scale", ())) == 2
    marks = {
        f"{ATTENTION}_0/query/kernel": "vit",
        "Grid_0/embedding": "grid",
        "Triplane_0/embedding": "triplane",
        "HashGrid_0/embedding": "hash_grid",
        "Equivariant_0/kernel": "deepsets",
    }
    for mark, family in marks.items():
        if any(n == mark or n.startswith(f"{mark}_") for n in weights):
            return family
    convolutions = _numbered(weights, "Conv_{}/kernel")
    if len(convolutions) > 2 and len(_numbered(weights, "Dense_{}/kernel")) == 1:
        with contextlib.suppress(UnfitError, IndexError, ZeroDivisionError):
            _resnet(weights)
            return "resnet"
    return "cnn" if nested and convolutions else None


def _is_chain(weights: Shapes) -> bool:
    modules = names.by_module(names.leaves(weights))
    try:
        links.chain([p["kernel"] for p in modules.values() if "kernel" in p], ())
    except UnfitError:
        return False
    return True


def _numbered(weights: Shapes, pattern: str) -> list[tuple[int, ...]]:
    out = []
    while (name := pattern.format(len(out))) in weights:
        out.append(weights[name])
    return out


def _dense(weights: Shapes) -> list[int]:
    shapes = _numbered(weights, "Dense_{}/kernel")
    return [s[-1] for s in shapes]


def _vit(weights: Shapes) -> Arguments:
    *patch, inputs, width = weights["Conv_0/kernel"]
    dense = _dense(weights)
    blocks = len(_numbered(weights, ATTENTION + "_{}/query/kernel"))
    _, heads, dimension = weights[f"{ATTENTION}_0/query/kernel"]
    tokens = weights["positions"][0] - ("cls" in weights)
    size = (tokens * patch[0], *patch[1:])
    return (inputs, width, dense[-1]), {
        "size": size,
        "patch": tuple(patch),
        "blocks": blocks,
        "heads": heads,
        "head_width": dimension,
        "mlp_width": dense[0],
        "pool": "first" if "cls" in weights else "mean",
        "key_bias": f"{ATTENTION}_0/key/bias" in weights,
    }


def _grid(weights: Shapes) -> Arguments:
    *cells, features = weights["Grid_0/embedding"]
    return (cells, features, _dense_of_grid(weights)), {"bias": "Dense_0/bias" in weights}


def _triplane(weights: Shapes) -> Arguments:
    _, cells, _, features = weights["Triplane_0/embedding"]
    return (cells, features, _dense_of_grid(weights)), {"bias": "Dense_0/bias" in weights}


def _hash(weights: Shapes) -> Arguments:
    """The settings that arrays have; resolutions are the config's."""
    tables = _numbered(weights, "HashGrid_{}/embedding")
    coordinates = weights["Dense_0/kernel_x"][0]
    keywords = {"levels": len(tables), "table": max(s[0] for s in tables)}
    bias = {"bias": "Dense_0/bias" in weights}
    return (coordinates, tables[0][1], _dense_of_grid(weights)), keywords | bias


def _dense_of_grid(weights: Shapes) -> list[int]:
    return [weights["Dense_0/kernel_x"][1], *_dense_after(weights, 1)]


def _dense_after(weights: Shapes, first: int) -> list[int]:
    out = []
    while (name := f"Dense_{first + len(out)}/kernel") in weights:
        out.append(weights[name][-1])
    return out


def _deepsets(weights: Shapes) -> Arguments:
    norm, layers = _norm(weights), _stacked(weights, "Equivariant_{}/kernel")
    widths = [layers[0][1], *(writes for _, _, writes in layers)]
    return (widths, _dense(weights)), {"bias": "Equivariant_0/bias" in weights} | norm


def _norm(weights: Shapes) -> dict[str, Any]:
    found = next((n for n in NORMS if f"{n}/scale" in weights), None)
    if found is None:
        return {"norm": "none"}
    groups = {"groups": weights[f"{found}/scale"][0]} if found == "GroupNorm_0" else {}
    return {"norm": NORMS[found]} | groups


def _cnn(weights: Shapes) -> Arguments:
    """With a GroupNorm, and without flattened images; other ones are chains."""
    norm, shapes = _norm(weights), _stacked(weights, "Conv_{}/kernel")
    channels = [shapes[0][1], *(writes for _, _, writes in shapes)]
    keywords = {
        "kernel": [window for window, _, _ in shapes],
        "dims": len(shapes[0][0]),
        "bias": "Conv_0/bias" in weights,
    }
    return (channels, _dense(weights)), keywords | norm


def _stacked(weights: Shapes, pattern: str) -> list[tuple[tuple[int, ...], int, int]]:
    """Taps, channels in and channels out of each; with a GroupNorm these are [group, member]."""
    grouped, out = len(weights.get("GroupNorm_0/scale", ())) == 2, []
    for s in _numbered(weights, pattern):
        ends = (2 if out else 1, 2) if grouped else (1, 1)
        dims = len(s) - sum(ends)
        out.append((s[:dims], math.prod(s[dims : dims + ends[0]]), math.prod(s[dims + ends[0] :])))
    return out


def _resnet(weights: Shapes) -> Arguments:
    stem, *rest = _stacked(weights, "Conv_{}/kernel")
    dims, came = len(stem[0]), stem[2]
    one = (1,) * dims
    deep = rest[0][0] == one
    widths, blocks, narrow, window = [], [], None, 3
    while rest:
        first = rest.pop(0)
        project = rest.pop(0) if rest and rest[0][:2] == (one, came) else None
        if len(rest) < (2 if deep else 1):
            raise UnfitError("convolutions do not make blocks")
        inside = [rest.pop(0) for _ in range(2 if deep else 1)]
        target, window = inside[-1][2], (inside if deep else [first])[0][0][0]
        if target != (project or stem)[2] and target != came:
            raise UnfitError("a block does not end in its stream")
        if project or not widths:
            widths.append(target)
            blocks.append(0)
        elif target != came:
            raise UnfitError("a block does not end in its stream")
        blocks[-1] += 1
        came, narrow = target, target // first[2] if deep else None
    keywords = {
        "blocks": blocks,
        "bottleneck": narrow,
        "kernel": window,
        "stem": (stem[0][0], 1, 1),
        "stem_width": stem[2],
        "dims": dims,
        "bias": "Conv_0/bias" in weights,
    }
    return (stem[1], widths, _dense(weights)[-1]), keywords | _norm(weights)


READERS = {
    "vit": _vit,
    "cnn": _cnn,
    "resnet": _resnet,
    "deepsets": _deepsets,
    "equivariant": _deepsets,
    "grid": _grid,
    "triplane": _triplane,
    "hash_grid": _hash,
}
