"""Networks on sets, and on positions that any group in `BASES` permutes."""

from collections.abc import Sequence
from typing import Any

from wsjax.architectures import activations
from wsjax.architectures.cnn import chain
from wsjax.architectures.equivariant_bases import BASES
from wsjax.architectures.spec_builder import Draft, check_norm, kernel, vector
from wsjax.networks import Spec


def deepsets(
    widths: Sequence[int], dense: Sequence[int], basis: str = "deepsets", **settings: Any
) -> Spec:
    """Spec of DeepSets (Zaheer et al., 2017): `equivariant` to all permutations of a set.

    >>> deepsets([3, 8], [2]).count  # 2 * 3 * 8 + 8, then 8 * 2 + 2
    74
    """
    return equivariant(widths, dense, basis, **settings)


def equivariant(
    widths: Sequence[int],
    dense: Sequence[int],
    basis: str,
    *,
    positions: int | None = None,
    pool: str = "mean",
    norm: str = "none",
    groups: int | None = None,
    epsilon: float = 1e-5,
    activation: str = "relu",
    bias: bool = True,
) -> Spec:
    """Spec of equivariant linear layers followed by a pool and dense layers.

    A layer is X -> sum_i B_i X W_i + b (Lim et al., eq. 5); its kernel is stored
    [basis, in, out]. Reads [..., position, widths[0]].

    Args:
        widths: channels of the input and after each equivariant layer.
        dense: widths of the dense layers, the output's last.
        basis: name in `BASES`.
        positions: how many there are, where the size of the basis depends on it.
        pool: "mean", "sum" or "max" over all positions.
        norm: after each equivariant layer: "none", "batch", "group" or "layer".
        groups: of a GroupNorm.
        epsilon: of a norm.
        activation: after each layer but the last, and after its norm.
        bias: whether layers have one.

    Raises:
        ValueError: the settings make no network.
    """
    activations.check(activation)
    check_norm(norm, groups)
    if len(widths) < 2 or not dense:
        raise ValueError(
            "expected widths of an input and of an equivariant layer, and an output width, got "
            f"{list(widths)} and {list(dense)}"
        )
    if basis not in BASES or pool not in ("mean", "sum", "max"):
        raise ValueError(
            f"expected a basis of {sorted(BASES)} and a pool of ['max', 'mean', 'sum'], got "
            f"{basis!r} and {pool!r}"
        )
    if positions is None and BASES[basis].count(1) != BASES[basis].count(2):
        raise ValueError(f"expected the number of positions, which the basis {basis!r} depends on")
    draft = Draft()
    axes = draft.fixed("x", widths[0])
    for i, width in enumerate(widths[1:]):
        after = {"pool": pool} if i == len(widths) - 2 else {}
        new = draft.neurons(f"c{i}", width, groups)
        name = f"Equivariant_{i}"
        maps = draft.fixed(f"basis{i}", BASES[basis].count(positions or 1))
        arrays = [kernel(f"{name}/kernel", axes, new, maps)]
        arrays += [vector(f"{name}/bias", "bias", new)] if bias else []
        own = {"basis": basis} | (after if norm == "none" else {})
        last = activation if norm == "none" else "none"
        draft.layer("dense", arrays, name=name, settings=own, activation=last)
        if norm != "none":
            draft.norm(norm, new, epsilon, after, activation=activation)
        axes = new
    chain(draft, axes, dense, activation, bias)
    return draft.spec()
