"""Residual networks by torchvision's names: ResNet, Wide ResNet, ResNeXt.

    conv1, bn1, layer1.0.conv1, layer1.0.bn1, ..., layer2.0.downsample.0, ..., fc

Blocks of a width share the neurons of their stream; where a block has a projection, `downsample`
or `shortcut`, a new stream begins. Grouped convolutions (ResNeXt) permute groups, and the members
of each. Strides are torchvision's where the stem is: they are not in the weights.
"""

import re
from collections.abc import Mapping
from typing import Any

from wsjax.architectures.spec_builder import Axes
from wsjax.recognition.drafting import OTHER, StoredDraft
from wsjax.recognition.names import Shapes, UnfitError
from wsjax.settings import SPELLINGS

BLOCK = re.compile(r"(?P<prefix>(?:.*\.)?)layer(?P<stage>\d+)\.(?P<block>\d+)\.conv1\.weight")
STATISTICS = {
    **{"weight": "scale", "bias": "bias"},
    **{"running_mean": "mean", "running_var": "variance"},
}


def resnet(
    weights: Shapes, config: Mapping[str, Any]
) -> tuple[StoredDraft, str, bool, bool] | None:
    """Recognises a residual network; None if the names are not torchvision's.

    Args:
        weights: shapes by name.
        config: "activation", for networks that are not torchvision's own.

    Returns:
        As `chains.chained`. Arrays may be left out; then the streams, which they may read, are
        fixed.

    Raises:
        UnfitError: the shapes are not the family's.
    """
    blocks = [m for n in weights if (m := BLOCK.fullmatch(n))]
    if not blocks:
        return None
    prefixes = {m["prefix"] for m in blocks}
    if len(prefixes) > 1:
        raise UnfitError(f"several residual networks, with prefixes {sorted(prefixes)}")
    return _Resnet(weights, config, prefixes.pop(), blocks).whole()


class _Resnet:
    """One network, block after block."""

    def __init__(self, weights, config, prefix, blocks):
        self.out, self.prefix = StoredDraft(stored=weights), prefix
        self.blocks = sorted((int(m["stage"]), int(m["block"])) for m in blocks)
        stem = self.out.dims(f"{prefix}conv1.weight", 4)
        self.torchvision = stem[2:] == (7, 7) and f"{prefix}fc.weight" in weights
        given = config.get("activation", "relu" if self.torchvision else None)
        self.known = given in SPELLINGS
        self.activation = SPELLINGS.get(given, OTHER)
        self.runs = self.torchvision
        self.streams: list[str] = []
        if not self.known:
            self.out.notes.append(
                "activations are not known: config={'activation': 'relu'} would add factors"
            )

    def whole(self) -> tuple[StoredDraft, str, bool, bool]:
        out, p, stem = self.out, self.prefix, (7, 2, 2) if self.torchvision else None
        _, inputs, *window = out.stored[f"{p}conv1.weight"]
        stream = self._stream(out.stored[f"{p}conv1.weight"][0])
        x = out.fixed("x", inputs)
        centred = tuple((n // 2, n // 2) for n in window)
        self._conv(f"{p}conv1", x, stream, stem[1] if stem else None)
        pooled = {"max_pool": ((3, 3), (2, 2), ((1, 1), (1, 1)))} if stem and centred else {}
        self._norm(f"{p}bn1", stream, self.activation, pooled)
        for number, (stage, block) in enumerate(self.blocks):
            last = number == len(self.blocks) - 1
            stream = self._block(number, f"{p}layer{stage}.{block}.", stage, block, stream, last)
        head = next((h for h in (f"{p}fc", f"{p}linear") if out.has(f"{h}.weight")), None)
        if head:
            y = out.fixed("y", out.dims(f"{head}.weight", 2)[0])
            arrays = [out.kernel(f"{head}.weight", "wr", stream, y)]
            if out.has(f"{head}.bias"):
                arrays.append(out.vector(f"{head}.bias", "bias", y))
            out.layer("dense", arrays, name=head)
        rest = [n for n in out.stored if n not in out.used()]
        if inside := [n for n in rest if n.startswith(f"{p}layer")]:
            raise UnfitError(f"{', '.join(inside[:3])}: no part of a residual block")
        if rest:
            out.notes.append("the streams are fixed: other arrays may read them")
            out.hidden = [h for h in out.hidden if h not in self.streams]
        elif not head:
            out.notes.append("the last stream is fixed: it may be the output")
            out.hidden.remove(stream[0])
        family = "torchvision ResNet" if self.torchvision else "ResNet"
        return out, family, self.known, self.runs and self.known

    def _stream(self, width: int) -> Axes:
        name = f"s{len(self.streams)}"
        self.streams.append(name)
        return self.out.neurons(name, width)

    def _block(self, number, at, stage, block, came: Axes, last: bool) -> Axes:
        out = self.out
        depth = 3 if out.has(f"{at}conv3.weight") else 2
        short = next((s for s in ("downsample", "shortcut") if out.has(f"{at}{s}.0.weight")), None)
        width = out.dims(f"{at}conv{depth}.weight", 4)[0]
        stream = self._stream(width) if short else came
        if self.torchvision and block == 0 and stage > 1 and not short:
            self.runs = False
        move = 2 if block == 0 and stage > 1 else 1
        strides = [1] * depth
        strides[1 if depth == 3 else 0] = move
        ends = [*self._inside(number, at, depth), stream]
        start, reads = out.level, came
        for i, writes in enumerate(ends):
            act = "none" if i == depth - 1 else self.activation
            self._conv(f"{at}conv{i + 1}", reads, writes, strides[i])
            if i == 0 and short:
                self._conv(f"{at}{short}.0", came, stream, move, beside=True)
            self._norm(f"{at}bn{i + 1}", writes, act)
            if i == 0 and short:
                self._norm(f"{at}{short}.1", stream, beside=True)
                start = out.level
            reads = writes
        settings = {"pool": "mean"} if last else {}
        out.residual(start, activation=self.activation, settings=settings)
        return stream

    def _inside(self, number, at, depth) -> list[Axes]:
        """The axes of the neurons within a block, in groups if its second convolution has any."""
        shapes = [self.out.dims(f"{at}conv{i + 1}.weight", 4) for i in range(depth)]
        widths = [s[0] for s in shapes[:-1]]
        groups = widths[0] // shapes[1][1]
        if depth == 2 or groups == 1:
            return [self.out.neurons(f"c{number}_{i}", w) for i, w in enumerate(widths)]
        self.runs = False
        shared, axes = self.out.neurons(f"g{number}", groups), []
        for i, w in enumerate(widths):
            self.out.nested.append((f"c{number}_{i}", shared[0]))
            axes.append(shared + self.out.neurons(f"c{number}_{i}", w // groups))
        return axes

    def _conv(self, name, reads: Axes, writes: Axes, stride: int | None, **fields) -> None:
        out, source = self.out, f"{name}.weight"
        window = out.dims(source, 4)[2:]
        taps = tuple(out.fixed(f"{name}.{x}", n)[0] for x, n in zip("rc", window, strict=True))
        if len(reads) == len(writes) == 2:
            inner, outer, both = reads[1:], writes[1:], writes[:1]
            arrays = [out.kernel(source, "bwrt", inner, outer, taps, both=both)]
        else:
            arrays = [out.kernel(source, "wrt", reads, writes, taps)]
        if out.has(f"{name}.bias"):
            arrays.append(out.vector(f"{name}.bias", "bias", writes))
        own = {}
        if stride and self.torchvision:
            own = {"stride": (stride,) * 2, "padding": tuple((n // 2, n // 2) for n in window)}
        out.layer("conv", arrays, name=name, settings=own, **fields)

    def _norm(self, name, axes: Axes, activation="none", settings=None, **fields) -> None:
        own = {"norm": "batch", "epsilon": 1e-5} | (settings or {})
        arrays = [self.out.vector(f"{name}.{k}", r, axes) for k, r in STATISTICS.items()]
        self.out.layer("norm", arrays, name=name, settings=own, activation=activation, **fields)
