"""Editors by name: any encoder that edits, as theta + gamma * delta.

    module = editor("nfn", {"kind": "hnp", "io": "none"}, expansion=8)
    view = module.view(spec)
    edited = module.apply(variables, vectors, view)        [batch, entry] -> [batch, entry]

gamma is one learned number for each array of a network (Zhou et al., 2023; Lim et al.,
appendix E.2). With an expansion k the last map gives each parameter k changes instead of one,
and delta is their mean:

    scalegmn           (Gamma_j x) * s_j(x), a row of Gamma and of s's last layer for each j;
                       each carries the factors of the parameter, and so does the mean
    gmn, nfn, nft      a linear map for each j, of the states of edges or of features
    unf, mlp           likewise, a last layer for each j
    dwsnet             a last layer to k channels, which share their attention

A mean of linear maps is one linear map: there k changes how the editor begins (delta is
smaller by the square root of k) and how its maps share the gradient, not what it can say. By
ScaleGMN, and by attention, k terms say more than one. That averaging channels cuts the error
of dilating images several times is a report that we could not verify; this is our reading of
it, and no configuration of ours has it by default.
"""

from collections.abc import Mapping

import flax.linen as nn

from wsjax.encoders import ENCODERS, Editor, ScaleEditor


def edits(name: str) -> bool:
    """Whether there is an output for every parameter."""
    return hasattr(ENCODERS[name], "states") or hasattr(ENCODERS[name], "readout")


def editor(
    name: str,
    settings: Mapping | None = None,
    expansion: int = 1,
    arrays: int = 0,
    initial: float = 0.01,
) -> nn.Module:
    """The editor of an encoder, a module `(vectors, view, train)` -> edited vectors.

    Args:
        name: a key of `ENCODERS`; of an encoder that edits.
        settings: of the encoder, without its read-out.
        expansion: how many changes are averaged.
        arrays: how many arrays have a scale gamma of their own; all of the view if 0.
        initial: what the scales start from.

    Returns:
        An `Editor` or a `ScaleEditor`. Both have `view(spec)`.

    Raises:
        ValueError: no encoder of that name edits, or its settings make no sense.
    """
    if name not in (known := [x for x in ENCODERS if edits(x)]):
        raise ValueError(f"expected an encoder that edits, one of {known}, got {name!r}")
    encoder, settings = ENCODERS[name], dict(settings or {})
    if hasattr(encoder, "states"):
        return Editor(encoder(**settings), arrays, initial, expansion)
    module = encoder(**{**settings, "readout": "edit", "expansion": expansion})
    return ScaleEditor(module, arrays, initial)
