"""INR2Vec's encoder: every row of the inner weight matrices, and the maximum over them.

De Luigi et al. (2023), section 3, as the supervised "INR2Vec (arch.)" row of Navon et al.
(2023) and Lim et al. (2024, table 3). For networks whose hidden layers all have width H:

    rows   [row, H]   for each map from hidden to hidden neurons: the incoming weights of
                      each of its H neurons, and its bias
    embedding         map of max over rows ( maps of each row )

The arrays of the first and last layer are not read, by design: all networks are meant to
share one initialisation. Rows are a set: the order of neurons is not read.

Deviations: LayerNorm for BatchNorm, since embeddings here do not depend on the batch. It takes
the scale of a row away but for the biases before it, so these start at random, as in the
published code. A linear map follows the maximum, which in the paper is the embedding itself.
The default size is ours, about 100 000 parameters on 1-32-32-1 networks as Navon et al. have
it; the paper's is `widths=(512, 512, 1024, 1024), pooled=1024`.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks
from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.encoders.parts.initializers import uniform
from wsjax.encoders.parts.pooling import largest
from wsjax.networks import Spec, check_vectors, offsets

WANTED = {"kernel", "bias"}


def rows(spec: Spec) -> np.ndarray:
    """Positions of the rows in `ravel`'s vector, [row, H].

    Layer by layer, its neurons in their order and then its bias, if it has one.

    Raises:
        ValueError: a layer is not a dense layer with one axis read and one written, hidden
            widths differ, or no layer maps hidden to hidden neurons; all at once.

    >>> from wsjax import architectures
    >>> rows(architectures.mlp([1, 8, 8, 8, 1])).shape
    (18, 8)
    """
    sizes, places, out, wrong = dict(spec.sizes), offsets(spec) if spec.arrays else {}, [], []
    for layer in spec.layers:
        kernels = [a for a in layer.arrays if a.role == "kernel"]
        plain = len(kernels) == 1 and len(kernels[0].reads) == len(kernels[0].writes) == 1
        plain = plain and not kernels[0].taps and {a.role for a in layer.arrays} <= WANTED
        if layer.kind != "dense" or not plain:
            wrong.append(
                f"{layer.name}: expected a dense layer of one kernel, which reads one axis and "
                f"writes one, and biases; got {layer.kind!r} of "
                f"{[(a.role, a.axes) for a in layer.arrays]}"
            )
            continue
        kernel = kernels[0]
        if set(kernel.axes) <= set(spec.hidden):
            neurons = kernel.writes + kernel.reads  # [written, read]
            out += [places[kernel.name].transpose(neurons)]
            out += [places[a.name][None] for a in layer.arrays if a.role == "bias"]
    widths = {h: sizes[h] for h in spec.hidden}
    if len(set(widths.values())) > 1:
        wrong.append(f"expected one width of all hidden layers, got {widths}")
    if not (out or wrong):
        wrong.append(
            "expected a dense kernel from hidden to hidden neurons, got kernels along "
            f"{[a.axes for a in spec.arrays if a.role == 'kernel']}; hidden are {spec.hidden}"
        )
    checks.raise_all("INR2Vec does not support the network", wrong)
    return np.concatenate(out).astype(np.int32)


class INR2Vec(Encoder):
    """Maps each row of the inner weight matrices on its own; the maximum becomes an embedding.

    Attributes:
        widths: of the maps with LayerNorm and ReLU.
        pooled: of the last map, whose maximum over rows is taken.
        code: width of the embedding.
    """

    widths: Sequence[int] = (90, 90, 180, 180)
    pooled: int = 180
    code: int = 32

    def __post_init__(self):
        super().__post_init__()
        settings.check(self, sizes=["widths", "pooled", "code"])

    def view(self, spec: Spec) -> np.ndarray:
        """Positions of the rows, [row, H]."""
        return rows(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: np.ndarray, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        least = int(view.max()) + 1 if isinstance(view, np.ndarray) else 0
        check_vectors(vectors, least, exactly=False)
        x = jnp.asarray(vectors)[:, view]  # [batch, row, H]
        for width in self.widths:
            x = nn.relu(nn.LayerNorm()(nn.Dense(width, bias_init=uniform(x.shape[-1]))(x)))
        return nn.Dense(self.code)(largest(nn.Dense(self.pooled)(x), (1,)))
