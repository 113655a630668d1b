"""Heads: from a code to what is asked about the network."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.parts import settings
from wsjax.networks import ROLES, Spec
from wsjax.views import graphs


class Regressor(nn.Module):
    """Linear layers with ReLU between, one number out (Andreis et al., 4.1 and table 15).

    Attributes:
        widths: of the hidden layers; 512, 512 for INRs, 1000, 1000 for classifiers.
    """

    widths: Sequence[int] = (512, 512)

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """[batch, code] -> [batch]."""
        he = nn.initializers.he_normal()
        for width in self.widths:
            code = nn.relu(nn.Dense(width, kernel_init=he)(code))
        small = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
        return nn.Dense(1, kernel_init=small)(code)[..., 0]


class Editor(nn.Module):
    """A network in, an edited network out: theta + gamma * delta (Lim et al., appendix E.2).

    Commutes with renumberings of hidden neurons: editing a renumbered network gives the
    renumbered edit.

    Attributes:
        encoder: with `states(vectors, view)` -> [batch, edge, width], as `GMN` has.
        arrays: how many arrays have a scale gamma of their own; all relations of the view
            if 0. Give it for zoos of several architectures: the most that any of them has.
        initial: what the scales start from.
        expansion: how many maps give a change, which is their mean, see `editing`.

    Raises:
        ValueError: the expansion is below 1.
    """

    encoder: nn.Module
    arrays: int = 0
    initial: float = 0.01
    expansion: int = 1

    def __post_init__(self):
        super().__post_init__()
        settings.check(self, settings.sizes(self, "expansion"))

    def view(self, spec: Spec) -> graphs.Graph:
        """What the encoder needs to know of an architecture."""
        return self.encoder.view(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: graphs.Graph, train: bool = False) -> jax.Array:
        """Edits networks, [batch, entry] -> [batch, entry].

        Raises:
            ValueError: a network has more arrays than there are scales.
        """
        count = self.arrays or view.relation_role.shape[-1]
        if isinstance(view.relation_role, np.ndarray):
            owned = (view.relation_role >= 0) & (view.relation_role < len(ROLES))
            if (present := int(owned.sum(-1).max())) > count:
                raise ValueError(f"expected networks of at most {count} arrays, got {present}")
        gamma = self.param("gamma", nn.initializers.constant(self.initial), (count,))
        states = self.encoder.states(vectors, view)
        delta = nn.Dense(self.expansion, name="delta")(states).mean(-1)
        # Arrays are the first relations of a graph; edges without a parameter are left out.
        # An array too many, in a view that is traced, edits by NaN rather than in silence.
        own = jnp.where(jnp.asarray(view.parameter) < 0, 0, view.relation)
        scale = jnp.take(gamma, own, mode="fill", fill_value=jnp.nan)
        back = lambda g, x: graphs.parameters(g, x, vectors.shape[-1])
        if view.relation.ndim == 2:
            return vectors + jax.vmap(back)(view, scale * delta)
        return vectors + back(view, scale * delta)


class ScaleEditor(nn.Module):
    """A network in, an edited network out, theta + gamma * delta, by an encoder's changes.

    Commutes with what the changes commute with: by `ScaleGMN` with renumberings of hidden
    neurons and with their factors (Kalogeropoulos et al., 2024), as what is added to a
    parameter carries the factors that the parameter carries; by the others with renumberings;
    by `MLP` with nothing.

    Attributes:
        encoder: whose read-out is "edit", and whose view says in `array` which array an entry
            belongs to. Its `expansion` is that of the editor.
        arrays: how many arrays have a scale gamma of their own; all of the view if 0.
        initial: what the scales start from.
    """

    encoder: nn.Module
    arrays: int = 0
    initial: float = 0.01

    def view(self, spec: Spec):
        """What the encoder needs to know of an architecture."""
        return self.encoder.view(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view, train: bool = False) -> jax.Array:
        """Edits networks, [batch, entry] -> [batch, entry].

        Raises:
            ValueError: the encoder does not edit, or a network has more arrays than there
                are scales.
        """
        if self.encoder.readout != "edit":
            raise ValueError(f"expected readout='edit', got {self.encoder.readout!r}")
        count = self.arrays
        if isinstance(view.array, np.ndarray):
            present = int(view.array.max()) + 1
            if present > (count := count or present):
                raise ValueError(f"expected networks of at most {count} arrays, got {present}")
        elif not count:
            raise ValueError("expected a number of arrays, as the view is traced; got 0")
        gamma = self.param("gamma", nn.initializers.constant(self.initial), (count,))
        own = jnp.asarray(view.array)  # -1 on padding
        scale = jnp.where(own < 0, 0, jnp.take(gamma, own, mode="fill", fill_value=jnp.nan))
        return vectors + scale.astype(vectors.dtype) * self.encoder(vectors, view, train)
