"""Architectures: the `Spec` of each family, and one forward pass for all of them.

    spec = architectures.cnn([1, 16, 16, 16], [10], kernel=3, stride=2)
    y = architectures.forward(params, images, spec)              # [..., 10]

    mlp         dense layers; SIREN                          x [..., inputs]
    cnn         convolutions in one or two dimensions        x [..., *positions, inputs]
    deepsets    equivariant layers on sets                   x [..., set, inputs]
    equivariant the same for any group in `BASES`            x [..., position, inputs]
    resnet      residual blocks of convolutions              x [..., row, column, inputs]
    vit         transformer on patches                       x [..., *positions, inputs]
    grid, triplane, hash_grid                                x [..., coordinates]
                spatial parameter grids that feed an MLP

Names and storage orders are Flax Linen's (`Dense_0/kernel` is [in, out]); where a kernel
reads flattened images it is stored [*positions, channels, out], and channels with a
GroupNorm are stored [group, member], both reshapes of Flax's. A forward pass is a pure
function of a network's arrays and its inputs; `jax.vmap` gives a zoo.

`Layer.settings` has the hyperparameters of a layer:

    kind       setting     value
    conv       stride      by window axis: (2, 2); default ones
               padding     "SAME", "VALID" (default), or ((before, after), ...) by window axis
    dense      basis       name in `BASES`; the kernel's one tap is the basis index
    norm       norm        "batch" (default; stored statistics), "group", "layer"
               groups      number of groups of channels, with "group"
               epsilon     added to the variance; default 1e-5
    embedding  embedding   "token": goes before the others; "positions": is added;
                           "grid", "triplane", "hash": looked up at the network's input
               resolution  cells along each axis, with "hash"
    any        max_pool    (window, stride, padding), after the activation
               pool        of the positions, last of all: "mean", "sum", "max" over them;
                           "first": only the first is kept; "tokens": they become one axis,
                           row by row

Adding a family: write its function with a `Draft`, list it here, add small examples to
`tests/cases/families.py`, which every battery runs over.
"""

from wsjax.architectures.activations import ACTIVATIONS
from wsjax.architectures.cnn import cnn
from wsjax.architectures.convolution import by_slices, by_xla
from wsjax.architectures.equivariant_bases import BASES
from wsjax.architectures.grid_fields import grid, hash_grid, triplane
from wsjax.architectures.interpreter import forward
from wsjax.architectures.mlp_chains import mlp
from wsjax.architectures.resnet import resnet
from wsjax.architectures.set_networks import deepsets, equivariant
from wsjax.architectures.vit import vit

__all__ = [
    "ACTIVATIONS",
    "BASES",
    "by_slices",
    "by_xla",
    "cnn",
    "deepsets",
    "equivariant",
    "forward",
    "grid",
    "hash_grid",
    "mlp",
    "resnet",
    "triplane",
    "vit",
]
