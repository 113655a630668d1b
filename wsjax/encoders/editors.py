"""Editors: networks to edited networks by any encoder that edits, theta + gamma * delta.

    module = editor(NFN(kind="hnp", io="none"), expansion=8)
    view = module.view(spec)
    edited = module.apply(variables, vectors, view)        [batch, entry] -> [batch, entry]

gamma is one learned number for each array of a network (Zhou et al., 2023; Lim et al., 2024,
appendix E.2). With an expansion k the last map gives each parameter k changes instead of one,
and delta is their mean:

    scalegmn           (Gamma_j x) * s_j(x), a row of Gamma and of s's last layer for each j;
                       each carries the factors of the parameter, and so does the mean
    gmn, nfn, nft      a linear map for each j, of the states of edges or of features
    unf, mlp           likewise, a last layer for each j
    dwsnet             a last layer to k channels, which share their attention

A mean of linear maps is one linear map: there k changes how the editor begins (delta is
smaller by the square root of k) and how its maps share the gradient, but not which functions it
can express. In ScaleGMN, and with attention, k terms express more than one. A report that
averaging channels cuts the error of dilating images several times could not be verified; no
method of our tables has an expansion by default.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder, expect_encoder
from wsjax.encoders.parts import settings
from wsjax.encoders.registry import ENCODERS
from wsjax.networks import Spec
from wsjax.views import graphs


def editor(encoder: Encoder, expansion: int = 1, initial: float = 0.01) -> "Editor":
    """The editor of an encoder, a module `(vectors, view, train)` -> edited vectors.

    Args:
        encoder: that edits; its read-out and expansion are set here.
        expansion: how many changes are averaged.
        initial: see `Editor`.

    Raises:
        ValueError: the encoder does not edit, or the expansion is below 1.
    """
    expect_encoder(encoder)
    if not encoder.edits:
        names = [name for name, kind in ENCODERS.items() if kind.edits]
        raise ValueError(
            f"expected an encoder that edits, as {names}, got {type(encoder).__name__}"
        )
    if "readout" in {f.name for f in dataclasses.fields(encoder)}:
        encoder = encoder.clone(readout="edit", expansion=expansion)
    return Editor(encoder, initial=initial, expansion=expansion)


class Editor(nn.Module):
    """A module from networks to edited networks: theta + gamma * delta (Lim et al., E.2).

    It commutes with what the changes delta commute with: with permutations of hidden neurons,
    and by `ScaleGMN` with their signs and scales too (Kalogeropoulos et al., 2024), since a
    change carries the factors of its parameter; by `MLP` with nothing.

    Attributes:
        encoder: with readout="edit", and a view whose `array` [entry] is the number of an entry's
            array; or one whose view is a parameter graph, with
            `states(vectors, view)` -> [batch, edge, width], as `GMN` has.
        arrays: how many arrays have a scale gamma of their own; all of the view if 0. Give it
            for several architectures: the most arrays that any of them has.
        initial: initial value of the scales.
        expansion: how many linear maps of edge states give a change, which is their mean. For
            encoders with a read-out it is their own `expansion`.

    Raises:
        ValueError: the expansion is below 1.
    """

    encoder: Encoder
    arrays: int = 0
    initial: float = 0.01
    expansion: int = 1

    def __post_init__(self):
        super().__post_init__()
        settings.check(self, sizes=["expansion"])

    def view(self, spec: Spec) -> Any:
        """The encoder's view of an architecture."""
        return self.encoder.view(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: Any, train: bool = False) -> jax.Array:
        """Edits networks, [batch, entry] -> [batch, entry].

        Raises:
            ValueError: the encoder's read-out is another, or a network has more arrays than
                there are scales.
        """
        on_edges = isinstance(view, graphs.Graph)
        if not on_edges and self.encoder.readout != "edit":
            raise ValueError(f"expected readout='edit', got {self.encoder.readout!r}")
        if not on_edges:
            scale = self._scale(view.array, self.arrays)
            return vectors + scale.astype(vectors.dtype) * self.encoder(vectors, view, train)
        where = np.where if isinstance(view.relation, np.ndarray) else jnp.where
        array = where(view.parameter < 0, -1, view.relation)  # arrays are the first relations
        scale = self._scale(array, self.arrays or view.relation_role.shape[-1])
        states = self.encoder.states(vectors, view)
        delta = scale * nn.Dense(self.expansion, name="delta")(states).mean(-1)
        back = lambda g, x: graphs.parameters(g, x, vectors.shape[-1])
        return vectors + (jax.vmap(back) if view.relation.ndim == 2 else back)(view, delta)

    def _scale(self, array, count):
        """The scale of each edge or entry by the number of its array; 0 where that is -1."""
        if isinstance(array, np.ndarray):
            present = int(array.max()) + 1
            if present > (count := count or present):
                raise ValueError(f"expected networks of at most {count} arrays, got {present}")
        elif not count:
            raise ValueError("expected a number of arrays, as the view is traced; got 0")
        gamma = self.param("gamma", nn.initializers.constant(self.initial), (count,))
        # an array too many, in a view that is traced, edits by NaN
        own = jnp.take(gamma, jnp.asarray(array), mode="fill", fill_value=jnp.nan)
        return jnp.where(jnp.asarray(array) < 0, 0, own)
