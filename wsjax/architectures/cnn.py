"""Convolutional networks in one or two dimensions."""

import math
from collections.abc import Sequence

from wsjax.architectures import activations, convolution
from wsjax.architectures.spec_builder import Axes, Draft, check_norm
from wsjax.networks import Spec

ByLayer = int | Sequence[int | Sequence[int]]  # for all layers, or for each; by dimension


def cnn(
    channels: Sequence[int],
    dense: Sequence[int],
    *,
    kernel: ByLayer = 3,
    stride: ByLayer = 1,
    padding: convolution.Padding = "SAME",
    max_pool: ByLayer = 1,
    pool: str = "mean",
    size: Sequence[int] | None = None,
    dims: int = 2,
    norm: str = "none",
    groups: int | None = None,
    epsilon: float = 1e-5,
    activation: str = "relu",
    bias: bool = True,
) -> Spec:
    """Spec of convolutions followed by dense layers, an activation after each but the last.

    Reads [..., *positions, channels[0]]. The zoo of Unterthiner et al. (2020) is
    `cnn([1, 16, 16, 16], [10], stride=2, padding="VALID")`; Schuerholt et al. (2022) have
    `cnn([1, 8, 6, 4], [20, 10], kernel=(5, 5, 2), max_pool=(2, 2, 1), padding="VALID",
    pool="flatten", size=(28, 28))`.

    Args:
        channels: of the input and after each convolution.
        dense: widths of the dense layers, the output's last.
        kernel: window of every convolution, or of each; a number or one by dimension.
        stride: likewise.
        padding: of every convolution.
        max_pool: window, and stride, of the pooling after each activation; 1 for none.
        pool: "mean", "sum" or "max" over all positions; or "flatten", whose first dense
            kernel is stored [*positions, channels, out].
        size: of the image, for "flatten".
        dims: 1 or 2.
        norm: after each convolution: "none", "batch", "group" or "layer".
        groups: of a GroupNorm.
        epsilon: of a norm.
        activation: after each layer but the last, and after its norm.
        bias: whether convolutions and dense layers have one.

    Raises:
        ValueError: the settings make no network.

    >>> cnn([1, 16, 16, 16], [10], stride=2, padding="VALID").count
    4970
    """
    activations.check(activation)
    check_norm(norm, groups)
    if len(channels) < 2 or not dense:
        raise ValueError(
            "expected channels of an input and of a convolution, and an output width, got "
            f"{list(channels)} and {list(dense)}"
        )
    if dims not in (1, 2) or pool not in ("mean", "sum", "max", "flatten"):
        raise ValueError(
            "expected 1 or 2 dimensions and a pool of ['flatten', 'max', 'mean', 'sum'], got "
            f"{dims} and {pool!r}"
        )
    depth, draft = len(channels) - 1, Draft()
    windows, strides, pools = (
        by_layer(n, v, depth, dims)
        for n, v in (("kernel", kernel), ("stride", stride), ("max_pool", max_pool))
    )
    spans = () if size is None else tuple(size)
    if pool == "flatten" and len(spans) != dims:
        raise ValueError(f"expected the size of an image in {dims} dimensions, got {size}")
    axes = draft.fixed("x", channels[0])
    for i, width in enumerate(channels[1:]):
        after: dict[str, object] = {}
        if math.prod(pools[i]) > 1:
            after["max_pool"] = (pools[i], pools[i], "VALID")
        if i == depth - 1 and pool != "flatten":
            after["pool"] = pool
        new = draft.neurons(f"c{i}", width, groups)
        convolve(
            draft, axes, new, windows[i], stride=strides[i], padding=padding, bias=bias,
            norm=norm, epsilon=epsilon, activation=activation, after=after,
        )  # fmt: skip
        axes = new
        if pool == "flatten":
            spans = convolution.positions(spans, windows[i], strides[i], padding)
            spans = convolution.positions(spans, pools[i], pools[i], "VALID")
            if min(spans) < 1:
                raise ValueError(f"Conv_{i}: expected an image that its window fits into")
    if pool == "flatten":
        names = ("rows", "cols") if dims == 2 else ("steps",)
        axes = sum((draft.fixed(n, s) for n, s in zip(names, spans, strict=True)), ()) + axes
    chain(draft, axes, dense, activation, bias)
    return draft.spec()


def convolve(
    draft: Draft,
    reads: Axes,
    writes: Axes,
    window: tuple[int, ...],
    *,
    stride: tuple[int, ...],
    padding: convolution.Padding,
    bias: bool,
    norm: str,
    epsilon: float,
    activation: str = "none",
    after: dict | None = None,
) -> int:
    """Drafts a convolution, then its norm if it has one; gives the level."""
    own = {"stride": stride, "padding": padding}
    last = {"activation": activation}
    if norm == "none":
        return draft.conv(reads, writes, window, bias, settings=own | (after or {}), **last)
    draft.conv(reads, writes, window, bias, settings=own)
    return draft.norm(norm, writes, epsilon, after or {}, **last)


def chain(
    draft: Draft,
    axes: Axes,
    widths: Sequence[int],
    activation: str,
    bias: bool = True,
    omega: float = 1.0,
) -> None:
    """Drafts dense layers to the output, an activation after each but the last."""
    for width in widths[:-1]:
        new = draft.neurons("h" + draft.name("Dense").rpartition("_")[2], width)
        draft.dense(axes, writes=new, bias=bias, activation=activation, omega=omega)
        axes = new
    draft.dense(axes, writes=draft.fixed("y", widths[-1]), bias=bias)


def by_layer(name: str, value: ByLayer, depth: int, dims: int) -> list[tuple[int, ...]]:
    """For each layer, a number by dimension.

    Raises:
        ValueError: there are other than one per layer, or per dimension.

    >>> by_layer("kernel", (3, (5, 1)), 2, 2)
    [(3, 3), (5, 1)]
    """
    layers = [value] * depth if isinstance(value, int) else list(value)
    out = [(v,) * dims if isinstance(v, int) else tuple(v) for v in layers]
    if len(out) != depth or any(len(v) != dims or min(v) < 1 for v in out):
        raise ValueError(
            f"expected a positive {name!r} for all, or for each of {depth} layers, a number or "
            f"{dims} of them, got {value}"
        )
    return out
