"""Fields of coordinates: a spatial parameter grid feeds an MLP, beside the coordinates.

    coordinates x --grid--> features --+
         |                             +--> Dense_0 --> ...         (Lim et al., fig. 7)
         +-----------------------------+

The first dense layer has a kernel for the coordinates and one for each group of features:
the rows of Flax's one kernel on their concatenation. `architectures.feature_grids` interpolates
the grids.
"""

import math
from collections.abc import Sequence

from wsjax.architectures import activations
from wsjax.architectures.cnn import chain
from wsjax.architectures.feature_grids import PRIMES, entries
from wsjax.architectures.spec_builder import Axes, Draft, vector
from wsjax.networks import Spec


def grid(
    cells: Sequence[int],
    features: int,
    widths: Sequence[int],
    *,
    activation: str = "relu",
    omega: float = 1.0,
    bias: bool = True,
) -> Spec:
    """Spec of a dense grid of features and an MLP. Reads [..., len(cells)], in [-1, 1].

    Args:
        cells: entries along each axis; the table is stored [*cells, feature].
        features: of each entry.
        widths: of the dense layers, the output's last.
        activation: after each dense layer but the last.
        omega: factor inside the activation.
        bias: whether dense layers have one.

    Raises:
        ValueError: the settings make no network.

    >>> grid([4, 5], 3, [8, 1]).count  # 4 * 5 * 3, then (2 + 3) * 8 + 8, then 8 + 1
    117
    """
    if not 1 <= len(cells) <= 3:
        raise ValueError(f"expected 1 to 3 coordinates, got cells {list(cells)}")
    draft = Draft()
    x, f = draft.fixed("x", len(cells)), draft.neurons("f", features)
    taps = sum((draft.fixed(f"cell{i}", n) for i, n in enumerate(cells)), ())
    table = vector("Grid_0/embedding", "kernel", f, taps)
    draft.layer("embedding", [table], name="Grid_0", settings={"embedding": "grid"})
    return _decoded(draft, x, [f], widths, activation, omega, bias)


def triplane(
    cells: int,
    features: int,
    widths: Sequence[int],
    *,
    activation: str = "relu",
    omega: float = 1.0,
    bias: bool = True,
) -> Spec:
    """Spec of three planes of features and an MLP (Chan et al., 2022). Reads [..., 3].

    The planes span coordinates (0, 1), (0, 2), (1, 2); their features are summed.

    Args:
        cells: entries along each axis; the table is stored [plane, row, column, feature].
        features: of each entry.
        widths: of the dense layers, the output's last.
        activation: after each dense layer but the last.
        omega: factor inside the activation.
        bias: whether dense layers have one.
    """
    draft = Draft()
    x, f = draft.fixed("x", 3), draft.neurons("f", features)
    taps = draft.fixed("plane", 3) + draft.fixed("cell0", cells) + draft.fixed("cell1", cells)
    table = vector("Triplane_0/embedding", "kernel", f, taps)
    draft.layer("embedding", [table], name="Triplane_0", settings={"embedding": "triplane"})
    return _decoded(draft, x, [f], widths, activation, omega, bias)


def hash_grid(
    coordinates: int,
    features: int,
    widths: Sequence[int],
    *,
    levels: int = 16,
    coarsest: int = 16,
    finest: int = 512,
    table: int = 2**14,
    activation: str = "relu",
    omega: float = 1.0,
    bias: bool = True,
) -> Spec:
    """Spec of a multiresolution hash grid and an MLP (Mueller et al., 2022).

    Each level of resolution has a table [entry, feature] of its own, with features of its
    own, which have a permutation of their own. Reads
    [..., coordinates], in [-1, 1].

    Args:
        coordinates: 1 to 3.
        features: of each entry.
        widths: of the dense layers, the output's last.
        levels: of resolution; they grow in equal ratios (eq. 2 and 3).
        coarsest: cells along each axis at the first level.
        finest: at the last.
        table: entries of a level at most; a level with fewer is stored without hashing.
        activation: after each dense layer but the last.
        omega: factor inside the activation.
        bias: whether dense layers have one.

    Raises:
        ValueError: the settings make no network.
    """
    if not 1 <= coordinates <= len(PRIMES) or levels < 1 or not 1 <= coarsest <= finest:
        raise ValueError(
            "expected 1 to 3 coordinates, at least one level and 1 <= coarsest <= finest, got "
            f"{coordinates}, {levels}, {coarsest} and {finest}"
        )
    draft, streams = Draft(), []
    x = draft.fixed("x", coordinates)
    growth = math.log(finest / coarsest) / max(levels - 1, 1)
    for i in range(levels):
        cells = math.floor(coarsest * math.exp(growth * i) + 1e-6)  # the last is the finest
        taps = draft.fixed(f"entry{i}", entries(cells, coordinates, table))
        f = draft.neurons(f"f{i}", features)
        draft.layer(
            "embedding",
            [vector(f"HashGrid_{i}/embedding", "kernel", f, taps)],
            name=f"HashGrid_{i}",
            beside=i > 0,
            settings={"embedding": "hash", "resolution": cells},
        )
        streams.append(f)
    return _decoded(draft, x, streams, widths, activation, omega, bias)


def _decoded(draft: Draft, x: Axes, streams: list[Axes], widths, activation, omega, bias) -> Spec:
    """Adds the MLP that reads coordinates and features."""
    activations.check(activation)
    if not widths:
        raise ValueError("expected the width of an output, got none")
    if len(widths) == 1:
        draft.dense(x, *streams, writes=draft.fixed("y", widths[0]), bias=bias)
        return draft.spec()
    new = draft.neurons("h0", widths[0])
    draft.dense(x, *streams, writes=new, bias=bias, activation=activation, omega=omega)
    chain(draft, new, widths[1:], activation, bias, omega)
    return draft.spec()
