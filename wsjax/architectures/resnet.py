"""Residual networks of convolutions."""

import itertools
from collections.abc import Sequence

from wsjax.architectures import activations, convolution
from wsjax.architectures.cnn import by_layer, convolve
from wsjax.architectures.spec_builder import Draft, check_norm
from wsjax.networks import Spec


def resnet(
    inputs: int,
    widths: Sequence[int],
    outputs: int,
    *,
    blocks: int | Sequence[int] = 2,
    bottleneck: int | None = None,
    kernel: int = 3,
    stride: int | Sequence[int] = 2,
    stem: tuple[int, int, int] = (3, 1, 1),
    stem_width: int | None = None,
    dims: int = 2,
    norm: str = "batch",
    groups: int | None = None,
    epsilon: float = 1e-5,
    activation: str = "relu",
    bias: bool = False,
) -> Spec:
    """Spec of a residual network (He et al., 2016).

    A convolution, stages of residual blocks, a mean over all positions, a dense layer. A
    block is convolution, norm, activation, convolution, norm, plus what came in, then an
    activation. Where the width or the size of the image changes, what came in goes
    through a convolution of window one with a norm of its own. Reads
    [..., *positions, inputs]. All blocks of a width share the neurons of their stream.

    ResNet-50 is `resnet(3, [256, 512, 1024, 2048], 1000, blocks=[3, 4, 6, 3],
    bottleneck=4, stem=(7, 2, 2), stem_width=64)`, its strides in the 3x3 convolutions.

    Args:
        inputs: channels of the input.
        widths: of the stream, by stage.
        outputs: of the dense layer.
        blocks: of every stage, or of each.
        bottleneck: a block has three convolutions, of windows 1, `kernel` and 1, the
            first two this many times narrower than the stream.
        kernel: window of the convolutions in blocks.
        stride: of the first block of every stage after the first, or of each stage.
        stem: window and stride of the first convolution, and stride of the max pool after
            it (window one larger, 1 for none).
        stem_width: of the first convolution; the first stage's if None.
        dims: 1 or 2.
        norm: after each convolution: "none", "batch", "group" or "layer".
        groups: of a GroupNorm.
        epsilon: of a norm.
        activation: after the first convolution, within blocks and after them.
        bias: whether convolutions have one; the dense layer has.

    Raises:
        ValueError: the settings make no network.
    """
    activations.check(activation)
    check_norm(norm, groups)
    stages = len(widths)
    if not stages or dims not in (1, 2):
        raise ValueError(f"expected a stage's width and 1 or 2 dimensions, got {widths}, {dims}")
    stride = [1] + [stride] * (stages - 1) if isinstance(stride, int) else stride
    strides = by_layer("stride", stride, stages, dims)
    counts = [n for (n,) in by_layer("blocks", blocks, stages, 1)]
    if bottleneck and any(w % bottleneck for w in widths):
        raise ValueError(f"expected widths that {bottleneck} divides, got {list(widths)}")

    draft, one = Draft(), (1,) * dims
    common = {"bias": bias, "norm": norm, "epsilon": epsilon, "activation": activation}
    window, step, narrow = ((n,) * dims for n in stem)
    after = {"max_pool": (tuple(n + 1 for n in narrow), narrow, ((1, 1),) * dims)}
    width = stem_width or widths[0]
    stream, x = draft.neurons("s", width, groups), draft.fixed("x", inputs)
    convolve(
        draft, x, stream, window, stride=step, padding=_centred(window),
        after=after if stem[2] > 1 else {}, **common,
    )  # fmt: skip
    number, square = itertools.count(), (kernel,) * dims
    for stage, target in enumerate(widths):
        for block in range(counts[stage]):
            move, came = strides[stage] if block == 0 else one, stream
            if target != width or move != one:
                stream = draft.neurons(f"s{stage}", target, groups)
            width = target
            windows = [(square, move), (square, one)]
            if bottleneck:
                windows = [(one, one), (square, move), (one, one)]
            inside = [
                draft.neurons(f"c{next(number)}", width // (bottleneck or 1), groups)
                for _ in windows[1:]
            ]
            start = _branch(draft, came, [*inside, stream], windows, move, **common)
            last = stage == stages - 1 and block == counts[stage] - 1
            draft.residual(start, activation=activation, settings={"pool": "mean"} if last else {})
    draft.dense(stream, writes=draft.fixed("y", outputs))
    return draft.spec()


def _branch(draft, came, axes, windows, move, *, bias, norm, epsilon, activation) -> int:
    """Drafts a block's convolutions; gives the level of what is to be added to them.

    That is what came in or, where the block ends in another stream, its projection, which
    is computed beside the block's first convolution.
    """
    start, stream, reads = draft.level, axes[-1], came
    for i, (writes, (window, stride)) in enumerate(zip(axes, windows, strict=True)):
        act = "none" if writes == stream else activation
        own = {"stride": stride, "padding": _centred(window)}
        plain, project = norm == "none", i == 0 and came != stream
        draft.conv(reads, writes, window, bias, settings=own, activation=act if plain else "none")
        if project:
            own = {"stride": move, "padding": "VALID"}
            draft.conv(came, stream, (1,) * len(move), bias, settings=own, beside=True)
        if not plain:
            draft.norm(norm, writes, epsilon, {}, activation=act)
        if project and not plain:
            draft.norm(norm, stream, epsilon, {}, beside=True)
        start = draft.level if project else start
        reads = writes
    return start


def _centred(window) -> convolution.Padding:
    """Padding that keeps the image's size at stride one, the same on both sides if odd."""
    return tuple(((n - 1) // 2, n // 2) for n in window)
