"""NFN: permutation-equivariant neural functionals (Zhou et al., NeurIPS 2023).

Every parameter has channels: itself, or random Fourier features of itself. Then, in turn, an
equivariant linear layer (`nfn_layers`), ReLU and dropout, and at the end

    code    means of every array over hidden neurons, and dense layers
    edit    one more linear layer to one channel, the change of the parameter

Which permutations a layer commutes with is its kind:

    hnp     those of hidden neurons; inputs and outputs are channels
    np      those of inputs and outputs too: fewer weights. `io` distinguishes them, by learned
            numbers that every layer adds ("embed"), or by sinusoids beside the parameter at
            the start ("encoding")
    pt      each array alone, one parameter like the other: no wiring of a network is read

Layers are derived from named axes, so skips, norms, biases that are absent and flattened
images need no rules of their own; on chains of layers they are the published ones, with
`SETTINGS` to the last variable.

Deviations: parameters are not standardised here, as one published configuration has it
("generalisation_np"). Fourier frequencies are constants of the class. No sigmoid ends the
embedding. Heads of "mnist" and "cifar" are followed by nothing: their code is the classes' logits.
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax.encoders.base import Encoder
from wsjax.encoders.neural_graph import fourier
from wsjax.encoders.nfn.nfn_layers import (
    Dropout,
    Head,
    Linear,
    Reading,
    end_waves,
    pooled,
    reading,
)
from wsjax.encoders.parts import settings
from wsjax.networks import Spec, check_vectors
from wsjax.views.arrays import ArraysView, arrays_view, fold, unfold

CHOICES = {
    "kind": ("hnp", "np", "pt"),
    "io": ("embed", "encoding", "none"),
    "pool": ("hidden", "all"),
    "readout": settings.READOUTS,
}

_HNP = {"kind": "hnp", "io": "none"}
_SMALL = {"widths": (16, 16, 5), "head": (1000, 1000), "code": 1}
_INR = {"widths": (512, 512, 512), "frequencies": 128, "head": (1000, 1000), "code": 10}
_MNIST = {**_INR, "sigma": 3.0, "dropout": 0.1, "feature_dropout": 0.1}
_CIFAR = {**_INR, "sigma": 10.0, "dropout": 0.5}
_EDIT = {"widths": (128, 128, 128), "frequencies": 128, "sigma": 3.0, "readout": "edit"}
_COARSE = {"kind": "np", "io": "encoding", "bands": 3, "highest": 3.0}
_FINE = {"kind": "np", "io": "encoding", "bands": 6, "highest": 10.0}

# from the configuration files of the authors' code (github.com/AllanYangZhou/nfn)
SETTINGS: Mapping[str, Mapping] = {
    "generalisation_hnp": {**_SMALL, **_HNP},
    "generalisation_np": {**_SMALL, "kind": "np", "io": "embed"},
    "mnist_hnp": {**_MNIST, **_HNP},
    "mnist_np": {**_MNIST, **_COARSE},
    "cifar_hnp": {**_CIFAR, **_HNP},
    "cifar_np": {**_CIFAR, **_FINE},
    "edit_hnp": {**_EDIT, **_HNP},
    "edit_np": {**_EDIT, **_COARSE},
}


class NFN(Encoder):
    """Equivariant linear layers between all arrays of a network.

    Attributes:
        kind: "hnp", "np" or "pt", see above.
        widths: channels after each layer.
        frequencies: of the Fourier features of a parameter; itself if 0.
        sigma: their deviation.
        io: "embed", "encoding" or "none"; "embed" is for "np".
        bands: frequencies of the encoding.
        highest: of them.
        pool: "hidden" keeps inputs and outputs apart, "all" averages them too.
        head: widths of the dense layers before the embedding.
        code: width of the embedding.
        dropout: after the head's layers.
        feature_dropout: after each equivariant layer.
        as_published: layers of the published package; False has all equivariant maps, each
            once, see `nfn_layers.groups`.
        readout: "edit" gives every parameter a change, [batch, entry].
        expansion: how many maps give a change, which is their mean, see `editors`.
    """

    kind: str = "np"
    widths: Sequence[int] = (16, 16, 5)
    frequencies: int = 0
    sigma: float = 3.0
    io: str = "embed"
    bands: int = 6
    highest: float = 10.0
    pool: str = "hidden"
    head: Sequence[int] = (1000, 1000)
    code: int = 32
    dropout: float = 0.0
    feature_dropout: float = 0.0
    as_published: bool = True
    readout: str = "code"
    expansion: int = 1

    edits = True

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "widths": (len(self.widths) > 0 and min(self.widths) > 0, "widths above 0"),
            "head": (all(x > 0 for x in self.head), "widths above 0"),
            "frequencies": (self.frequencies >= 0, "at least 0"),
            "sigma": (self.sigma > 0, "above 0"),
            "highest": (self.highest > 0, "above 0"),
        }
        if self.kind in ("hnp", "pt"):
            rules["io"] = self.io in ("encoding", "none"), f"'encoding' or 'none' for {self.kind!r}"
        rates = "dropout", "feature_dropout"
        settings.check(self, rules, choices=CHOICES, sizes=("code", "bands"), rates=rates)

    def view(self, spec: Spec) -> ArraysView:
        """The architecture.

        Raises:
            ValueError: see `nfn_layers.reading`.
        """
        self._read(spec)
        return arrays_view(spec)

    def _read(self, spec: Spec) -> Reading:
        return reading(spec, "NFN", self.kind == "hnp")

    @nn.compact
    def __call__(self, vectors: jax.Array, view: ArraysView, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]; [batch, entry] if the read-out is "edit"."""
        read = self._read(view.spec)
        check_vectors(vectors, view.spec.count)
        x = jnp.asarray(vectors)[..., None]
        x = fourier(x, self.frequencies, self.sigma) if self.frequencies else x
        if self.io == "encoding":
            waves = jnp.asarray(end_waves(read, self.bands, self.highest), x.dtype)
            waves = jnp.broadcast_to(waves, (len(x), *waves.shape))
            x = jnp.concatenate([x, waves], axis=-1)
        arrays = fold(x, view.spec, read.keep)
        how = (self.kind == "pt", self.as_published, self.io == "embed")
        layer = lambda width, i: Linear(read, width, *how, name=f"layer_{i}")
        for i, width in enumerate(self.widths):
            arrays = {k: nn.relu(y) for k, y in layer(width, i)(arrays).items()}
            arrays = Dropout(read, self.feature_dropout)(arrays, train)
        if self.readout == "edit":
            change = layer(self.expansion, len(self.widths))(arrays)
            return unfold(change, view.spec, read.keep).mean(-1)
        x = pooled(arrays, read, self.pool == "all")
        return Head(self.head, self.code, self.dropout, name="readout")(x, train)
