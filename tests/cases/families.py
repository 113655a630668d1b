"""Small networks of every family that `architectures` builds, for batteries over all of them.

Named by what makes each one hard. Widths differ from axis to axis, so that a transposed
array cannot pass for its neighbour, and activations are smooth, so that no neuron is dead.
"""

from wsjax.architectures import (
    cnn,
    deepsets,
    equivariant,
    grid,
    hash_grid,
    mlp,
    resnet,
    triplane,
    vit,
)

IMAGE, SIGNAL, SET = (7, 6, 2), (11, 2), (5, 3)
SMOOTH = {"activation": "tanh"}

# name -> (spec, shape of one input)
FAMILIES = {
    "mlp": (mlp([2, 5, 4, 1], "tanh"), (2,)),
    "mlp siren": (mlp([1, 6, 5, 1], "sin", omega=3.0), (1,)),
    "cnn": (cnn([2, 4, 5], [6, 3], stride=(1, 2), **SMOOTH), IMAGE),
    "cnn in one dimension": (cnn([2, 4, 5], [3], kernel=5, dims=1, **SMOOTH), SIGNAL),
    "cnn without padding": (cnn([2, 4, 5], [3], kernel=(3, 2), padding="VALID", **SMOOTH), IMAGE),
    "cnn of rectangular windows": (
        cnn([2, 4, 5], [3], kernel=[(3, 2), (1, 3)], stride=[(2, 1), (1, 2)], **SMOOTH),
        IMAGE,
    ),
    "cnn of windows of one": (cnn([2, 4, 5], [3], kernel=1, bias=False, **SMOOTH), IMAGE),
    "cnn of one convolution": (cnn([2, 4], [3], bias=False, **SMOOTH), IMAGE),
    "cnn of one channel": (cnn([2, 1, 4, 1], [3], norm="batch", **SMOOTH), IMAGE),
    "cnn batch norm": (cnn([2, 4, 5], [3], norm="batch", activation="gelu"), IMAGE),
    "cnn layer norm": (cnn([2, 4, 5], [3], norm="layer", activation="silu"), IMAGE),
    "cnn group norm": (cnn([2, 6, 4], [5, 3], norm="group", groups=2, **SMOOTH), IMAGE),
    "cnn one group": (cnn([2, 4, 5], [3], norm="group", groups=1, **SMOOTH), IMAGE),
    "cnn groups of one": (  # no bias: an instance norm removes it
        cnn([2, 4, 4], [3], norm="group", groups=4, bias=False, **SMOOTH),
        IMAGE,
    ),
    "cnn flattened": (
        cnn(
            [2, 4, 3],
            [5, 3],
            kernel=(3, 2),
            padding="VALID",
            max_pool=(2, 1),
            pool="flatten",
            size=(10, 8),
            **SMOOTH,
        ),
        (10, 8, 2),
    ),
    "cnn flattened groups": (
        cnn([2, 4], [3], stride=4, pool="flatten", size=(7, 6), norm="group", groups=2, **SMOOTH),
        IMAGE,
    ),
    "cnn flattened in one dimension": (
        cnn([2, 4], [3], stride=3, dims=1, pool="flatten", size=(11,), **SMOOTH),
        SIGNAL,
    ),
    "deepsets": (deepsets([3, 5, 4], [6, 2], **SMOOTH), SET),
    "deepsets of one layer": (deepsets([3, 5], [2], basis="deepsets_mean", **SMOOTH), SET),
    "deepsets batch norm": (deepsets([3, 5, 4], [2], norm="batch", **SMOOTH), SET),
    "deepsets group norm": (deepsets([3, 6], [2], norm="group", groups=3, **SMOOTH), SET),
    "cyclic": (equivariant([3, 4, 5], [2], "cyclic", positions=5, **SMOOTH), SET),
    "resnet": (resnet(2, [4, 6], 3, blocks=(2, 1), **SMOOTH), IMAGE),
    "resnet without norm": (
        resnet(2, [4, 5], 3, blocks=1, norm="none", bias=True, **SMOOTH),
        IMAGE,
    ),
    "resnet group norm": (resnet(2, [4, 6], 3, blocks=1, norm="group", groups=2, **SMOOTH), IMAGE),
    "resnet layer norm": (resnet(2, [4], 3, blocks=2, norm="layer", **SMOOTH), IMAGE),
    "resnet bottleneck": (
        resnet(
            2, [6, 8], 3, blocks=1, bottleneck=2, stem=(5, 1, 2), stem_width=3, activation="silu"
        ),
        IMAGE,
    ),
    "resnet in one dimension": (resnet(2, [4], 3, blocks=1, dims=1, **SMOOTH), SIGNAL),
    "vit": (vit(2, 6, 3, size=(6, 4), patch=(3, 2), blocks=2, heads=2, mlp_width=5), (6, 4, 2)),
    "vit of one head": (
        vit(2, 6, 3, size=(4, 4), patch=2, blocks=1, heads=1, head_width=3, pool="mean"),
        (4, 4, 2),
    ),
    "vit without key bias": (
        vit(2, 6, 3, size=(8,), patch=2, blocks=1, heads=3, mlp_width=4, key_bias=False),
        (8, 2),
    ),
    "grid": (grid([4, 3], 5, [6, 4, 2], **SMOOTH), (2,)),
    "grid of one dense layer": (grid([5], 3, [2]), (1,)),
    "grid in three dimensions": (grid([2, 1, 3], 4, [3, 1], bias=False, **SMOOTH), (3,)),
    "triplane": (triplane(4, 5, [6, 2], activation="sin", omega=2.0), (3,)),
    "hash grid": (
        hash_grid(2, 3, [5, 1], levels=3, coarsest=2, finest=6, table=16, **SMOOTH),
        (2,),
    ),
    "hash grid in three dimensions": (
        hash_grid(3, 2, [4, 1], levels=2, coarsest=1, finest=3, table=16, **SMOOTH),
        (3,),
    ),
}
