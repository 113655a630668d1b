"""DWSNet: deep weight-space layers (Navon et al., 2023), from named axes.

In a layer every array t reads every array s. With S the hidden axes that both have, of
neurons that are permuted, and all other axes (inputs, outputs, taps) among the channels:

    y_t = 1 / arrays * sum over s of  block(s, t)
    S empty       block = spread over t of  A pool(x_s)
    S = {h}       block = spread over t of  set layer along h of  pool(x_s to h)
    S = {g, h}    block = 1/4 sum over P within S of  spread over t of  A_P pool(x_s to P)

"pool to P" takes the maximum (or mean, or sum) over all hidden axes but P; every map A has a
bias of its own. Set layers are attention (SAB, `dwsnet_layers.Attention`) or DeepSets,
A x + B pool(x), as in the authors' code (github.com/AvivNavon/DWSNets). With means or sums
and DeepSets a layer is every equivariant affine map, which the paper characterises. The model:

    layer 1 -> width, (norm, ReLU, dropout, layer width -> width) ..., then
    code    Linear of all arrays, after ReLU, dropout and pooling of their hidden axes
    edit    the last layer goes to one channel, the change of its parameter

On `SETTINGS` it has the parameters of the published code, block for block; biases that could
be one are not. The last matrix reads the inner one before it output by output, as all other
arrays. With `as_published` all outputs read the same of it, as the published code has it: its
block of this pair takes the matrix for an inner one. On networks of one output it is one model.

Deviations: the published code reads matrices and biases in order of depth. Blocks here follow
from the axes that two arrays share: the same on an MLP, and defined on other networks. Two
arrays that share g and h, as around a residual, have the four maps that a matrix has with
itself; three axes have eight. LayerNorm over the channels of every entry, with a scale and an
offset for each array, is in place of BatchNorm, since embeddings do not depend on the batch. Maps
between arrays begin without bias, not with one within 1e-4. Dropout acts in training alone.
Parameters are not standardised here; there, each is, by its mean
and deviation over the training networks.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from wsjax import checks
from wsjax.encoders.base import Encoder
from wsjax.encoders.dwsnet.dwsnet_layers import REDUCTIONS, Layer
from wsjax.encoders.parts import settings
from wsjax.encoders.parts.initializers import uniform
from wsjax.networks import Spec, check_vectors
from wsjax.views.arrays import ArraysView, arrays_view, fold

SETS = ("attention", "deepsets")
NORMS = ("layer", "none")

# INRs of MNIST 2-32-32-1, ten classes; sines 1-32-32-1, contrastive embeddings of 16; the row of
# Andreis et al. (2024, table 1) on 1-32-32-1
SETTINGS = {
    "mnist": {"width": 32, "code": 10, "as_published": True},
    "sines": {"width": 16, "code": 16, "as_published": True},
    "sne": {"width": 64, "code": 32, "as_published": True},
}


class DWSNet(Encoder):
    """Layers between all arrays of a network, in which each reads each.

    Attributes:
        width: channels of each parameter.
        layers: between arrays; one more than the published `n_hidden`.
        code: width of the embedding.
        sets: "attention" or "deepsets", along an axis that is the only one shared.
        heads: of attention; the last layer has one.
        reduction: "max", "mean" or "sum", wherever axes are pooled.
        norm: "layer" or "none", between layers.
        dropout: of single numbers, after every ReLU.
        diagonal: only arrays that share neurons read each other.
        as_published: all outputs read the inner matrix before the last alike.
        readout: "edit" gives every parameter a change, [batch, entry].
        expansion: how many maps give a change, which is their mean, see `editors`.
    """

    width: int = 32
    layers: int = 5
    code: int = 32
    sets: str = "attention"
    heads: int = 8
    reduction: str = "max"
    norm: str = "layer"
    dropout: float = 0.0
    diagonal: bool = False
    as_published: bool = False
    readout: str = "code"
    expansion: int = 1

    edits = True

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "width": (self.width > 1 or self.norm == "none", "at least 2 with a norm"),
            "heads": (
                self.sets != "attention" or settings.divides(self.heads, self.width),
                f"a divisor of the width {self.width}",
            ),
        }
        choices = {"sets": SETS, "reduction": tuple(REDUCTIONS), "norm": NORMS}
        choices["readout"] = settings.READOUTS
        settings.check(self, rules, choices=choices, sizes=("layers", "code"), rates=["dropout"])

    def view(self, spec: Spec) -> ArraysView:
        """The architecture.

        Raises:
            ValueError: there are no arrays, an array has a hidden axis twice, or an axis
                that is nested within another; all of them.
        """
        inner, wrong = dict(spec.nested), []
        if not spec.arrays:
            wrong.append("expected arrays, got none")
        for a in spec.arrays:
            if twice := sorted({x for x in a.axes if x in spec.hidden and a.axes.count(x) > 1}):
                wrong.append(f"{a.name}: expected hidden axes once, got {twice} twice")
            if within := [x for x in a.axes if x in inner]:
                wrong.append(
                    f"{a.name}: expected axes that are permuted on their own, got "
                    f"{within} within {[inner[x] for x in within]}"
                )
        checks.raise_all("DWSNet does not support the network", wrong)
        return arrays_view(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: ArraysView, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]; [batch, entry] if the read-out is "edit"."""
        spec, edit = view.spec, self.readout == "edit"
        check_vectors(vectors, view.spec.count)
        x = jnp.asarray(vectors)[..., None]
        for i in range(self.layers):
            last = i == self.layers - 1
            if i > 0:
                x = self._between(x, view, i, train)
            x = Layer(
                spec,
                self.expansion if edit and last else self.width,
                self.sets == "attention",
                1 if last else self.heads,
                self.reduction,
                self.diagonal,
                self.as_published,
                name=f"layer_{i}",
            )(x)
        if edit:
            return x.mean(-1)
        arrays = fold(self._dropped(nn.relu(x), train), spec, spec.hidden)
        pool = lambda x: REDUCTIONS[self.reduction](x, axis=tuple(range(1, x.ndim - 1)))
        code = jnp.concatenate([pool(x) for x in arrays.values()], -1)
        init = uniform(code.shape[-1])
        linear = nn.Dense(
            self.code, True, code.dtype, kernel_init=init, bias_init=init, name="code"
        )
        return linear(code)

    def _between(self, x, view, i, train):
        """Norm, ReLU, dropout, [batch, entry, width]."""
        if self.norm == "layer":
            shape = len(view.spec.arrays), self.width
            table = lambda name, init: self.param(f"norm_{i}_{name}", init, shape, jnp.float32)
            scale = table("scale", nn.initializers.ones)
            offset = table("offset", nn.initializers.zeros)
            x = x - x.mean(-1, keepdims=True)
            x = x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)
            own = jnp.asarray(view.array)
            x = x * scale[own].astype(x.dtype) + offset[own].astype(x.dtype)
        return self._dropped(nn.relu(x), train)

    def _dropped(self, x, train):
        return nn.Dropout(self.dropout, deterministic=not train)(x)
