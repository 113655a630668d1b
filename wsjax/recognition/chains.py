"""Sequential networks: MLPs, CNNs, SIRENs, VGG, of PyTorch, Flax and Keras.

    features.0.weight [c0, x, 3, 3], features.1.running_mean [c0], classifier.0.weight [y, c0 * 49]

Kernels follow each other as their shapes and the numbers in their names say, `links.chain`. Names
and shapes do not hold the activation, nor where windows are pooled: without these permutations
are claimed, factors are not. Images flattened before a dense layer are channels first in PyTorch,
channels last elsewhere.
"""

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from wsjax import checks
from wsjax.architectures.cnn import by_layer
from wsjax.architectures.spec_builder import Axes
from wsjax.networks import Array
from wsjax.recognition import links, names
from wsjax.recognition.drafting import ODD, OTHER, StoredDraft
from wsjax.recognition.links import Chain, Link, Norm
from wsjax.recognition.names import Leaf, Shapes, UnfitError
from wsjax.settings import SPELLINGS

# Names of parts that do more than read the layer before.
BRANCHES = re.compile(
    r"attn|attention|residual|shortcut|downsample|skip|block|resnet|lstm|gru\b|rnn|"
    r"layer\d+[._/]\d+[._/]|transformer|embed|dense_?layer|densegeneral|inception|branch|_proj\b|"
    r"(^|[._/])(q|k|v|query|key|value|gate|res|identity|highway|film|se|squeeze|excit\w*)\d*([._/]|$)",
    re.IGNORECASE,
)
UNKNOWN = "unknown"
TAPS = {1: ("t",), 2: ("row", "col"), 3: ("depth", "row", "col")}
NORMS = {"layer": r"layer_?norm|\bln\d*\b|layer_normalization", "group": r"group_?norm|\bgn\d*\b"}
CHANNELWISE = r"instance|rms"  # of every channel alone, or of all together without groups
SIREN = re.compile(r"\.\d+\.linear\.weight$")


def chained(weights: Shapes, config: Mapping[str, Any]) -> tuple[StoredDraft, str, bool, bool]:
    """Recognises a sequential network.

    Args:
        weights: shapes by name.
        config: `recognition.recognize` lists its settings.

    Returns:
        The draft; the family; whether its activations are known; whether `architectures.forward`
        runs it.

    Raises:
        UnfitError: the arrays are no chain.
    """
    if not config.get("chain") and (found := sorted(n for n in weights if BRANCHES.search(n))):
        raise UnfitError(
            f"{found[0]}: by its name a part of a network with branches, so no chain is assumed; "
            "config={'chain': True} says that there are none"
        )
    found = names.leaves(weights)
    modules = names.by_module(found)
    kernels = [p["kernel"] for p in modules.values() if "kernel" in p]
    if not kernels:
        raise UnfitError("no kernel, only vectors")
    allowed = [x for x in ("grouped", "transposed") if config.get(x) is True]
    biases = {m: p["bias"].shape[-1] for m, p in modules.items() if {"kernel", "bias"} <= set(p)}
    allowed = allowed or ["grouped", "transposed"]
    chain = links.chain(kernels, allowed, config.get("order", ()), biases)
    listed = [n.name for n in found]
    ordered = bool(config.get("order")) or not names.by_name(listed)
    norms = links.norms(modules, chain, ordered)
    return _Chain(weights, config, modules, chain, norms, biases).draft()


class _Chain:
    """The layers of a chain, one after another."""

    def __init__(self, weights, config, modules, chain: Chain, norms: tuple[Norm, ...], biases):
        self.out, self.biases = StoredDraft(stored=weights), biases
        self.config, self.modules, self.chain, self.norms = config, modules, chain, norms
        self.vgg = _vgg(chain, norms)
        sines = sum(bool(SIREN.search(x.kernel.name)) for x in chain)
        self.siren = sines >= max(1, len(chain) - 1) and not self.convolutions and not norms
        self.activation = self._activation()
        self.same, self.ends = dict[int, int](), set[int]()
        if not (config.get("chain") or self.vgg or self.siren or links.in_sequence(chain)):
            self.same, self.ends = links.ties(chain)
        if self.same or self.ends:
            self.activation = UNKNOWN
            self.out.notes.append(
                "by their names layers as wide as others may be added to them, so their neurons "
                "move together or not at all; config={'chain': True} says that they are not"
            )
        self.pools = self._pools()
        self.exact = self.activation != UNKNOWN
        self.runs = self.exact

    @property
    def convolutions(self) -> list[Link]:
        return [x for x in self.chain if x.window]

    def _activation(self) -> str:
        given = self.config.get("activation")
        if given is not None:
            if given not in SPELLINGS:
                self.out.notes.append(f"activation {given!r} is not known: no factor is claimed")
            return SPELLINGS.get(given, UNKNOWN)
        if self.vgg:
            return "relu"
        if self.siren and "omega" in self.config:
            return "sin"
        if self.siren:
            self.out.notes.append(
                "names as of a SIREN: config={'omega': 30.0} would add signs and phase shifts"
            )
        else:
            self.out.notes.append(
                "activations are not known: config={'activation': 'relu'} would add factors"
            )
        return UNKNOWN

    def _pools(self) -> bool:
        """Whether it is known where windows and positions are pooled, and how."""
        if not self.convolutions or self.vgg:
            return True
        return "max_pool" in self.config and (
            "pool" in self.config or self._flattened() is not None
        )

    def _flattened(self) -> Link | None:
        return next((x for x in self.chain if x.positions > 1 or x.spots), None)

    def draft(self) -> tuple[StoredDraft, str, bool, bool]:
        axes = self._axes()
        for n in self.norms:
            if n.after[0] == -1:
                self._norm(n, axes[-1], "none")
        for i, link in enumerate(self.chain):
            self._layer(i, link, axes[i - 1], axes[i])
        kinds = "CNN" if self.convolutions else "MLP"
        leaf = self.chain[0].kernel
        framework = "PyTorch" if leaf.writes_first else "Keras" if _keras(self.modules) else "Flax"
        family = f"{framework} {kinds}"
        if self.siren and (self.activation == "sin" or "omega" in self.config):
            family = "SIREN"
        if self.vgg:
            family = "torchvision VGG"
        if not self.vgg:
            wanted = ("stride", "padding", "max_pool", *["pool"] * (self._flattened() is None))
            if lacking := [k for k in wanted if self.convolutions and k not in self.config]:
                self.out.notes += [f"outputs are not computed: config lacks {', '.join(lacking)}"]
            self.out.notes.append("each layer is taken to read the one before and nothing else")
        return self.out, family, self.exact, self.runs and self.exact

    # axes

    def _axes(self) -> dict[int, Axes]:
        """For each kernel, the axes of its output; -1 for the input."""
        axes, last = {-1: self.out.fixed("x", self.chain[0].reads)}, len(self.chain) - 1
        fixed, runs = self._open(), {i: run for run in self._runs() for i in run}
        for i, link in enumerate(self.chain):
            name = f"{'c' if link.window else 'h'}{i}"
            if link.depthwise and i != last:
                axes[i] = axes[i - 1]  # the same channels
            elif i in self.same and i not in fixed:
                axes[i] = axes[self.same[i]]
            elif i == last or i in fixed:
                axes[i] = self.out.fixed("y" if i == last else name, link.writes)
            elif i in runs:
                axes[i] = self._nested(name, runs[i], link.writes)
            else:
                kinds = {self._kind(n) for n in self.norms if i in map(self._first, n.after)}
                groups = self.config["groups"] if "group" in kinds else None
                axes[i] = self.out.neurons(name, link.writes, groups)
        for word in ("grouped", "transposed"):
            if any(x.transposed if word == "transposed" else x.groups > 1 for x in self.chain):
                self.out.notes.append(f"{word} convolutions are inferred from shapes")
                self.runs = False
        return axes

    def _first(self, i: int) -> int:
        """The first output that has the axis of this one."""
        while i > 0 and self.chain[i].depthwise:
            i -= 1
        return self.same.get(i, i)

    def _runs(self) -> list[tuple[int, ...]]:
        """Outputs of kernels that share their groups: before and after grouped convolutions."""
        runs: list[list[int]] = []
        for i, link in enumerate(self.chain):
            if link.groups > 1 and not link.depthwise:
                if runs and runs[-1][-1] == i - 1:
                    runs[-1].append(i)
                else:
                    runs.append([i - 1, i])
        return [tuple(run) for run in runs]

    def _nested(self, name: str, run: tuple[int, ...], width: int) -> Axes:
        """Axes (group, member); the groups are those of the whole run."""
        group, member = f"g{run[0]}", f"{name}_member"
        if group not in self.out.sizes:
            self.out.sizes[group] = self.chain[run[1]].groups
            self.out.hidden.append(group)
        self.out.sizes[member] = width // self.out.sizes[group]
        self.out.hidden.append(member)
        self.out.nested.append((member, group))
        return group, member

    def _open(self) -> set[int]:
        """The kernels whose outputs are fixed, for names and shapes leave them open."""
        fixed = set() if self.config.get("chain") else set(links.seams(self.chain))
        if fixed:
            parts = [".".join(self.chain[i + 1].kernel.module) for i in sorted(fixed)]
            self.out.notes.append(
                f"{checks.some('part', parts)} may be residual blocks or networks of their own, so "
                "the neurons before them are fixed; config={'chain': True} would free them"
            )
        for n in self.norms:
            label = ".".join(n.module)
            if len(n.after) > 1:
                self.out.notes.append(
                    f"{label}: may follow any of {len(n.after)} layers, whose neurons are fixed"
                )
                fixed |= set(n.after)
            elif self._kind(n) == UNKNOWN:
                self.out.notes.append(
                    f"{label}: a norm of unknown groups, so its neurons are fixed; "
                    "config={'norm': 'layer'} would free them"
                )
                fixed |= set(n.after)
        fixed |= self.ends
        given = self.config.get("transposed") is True
        doubts = links.swappable(self.chain, self.biases, given)
        self.exact &= not (fixed or doubts)
        for i in doubts:
            self.out.notes.append(
                f"{self.chain[i].kernel.name}: a convolution or a transposed one, both fit, so "
                "what it reads and writes is fixed"
            )
            fixed |= {i - 1, i}
        last = len(self.chain) - 1
        for i, link in enumerate(self.chain):
            if link.kernel.writes_first and self._pools_or_positions(i, link):
                self.out.notes.append(
                    f"{link.kernel.name}: reads {link.positions} numbers of each channel, which "
                    "may be several pools, so they are fixed; 'flatten' of config would free them"
                )
                fixed.add(i - 1)
        fixed |= {last - 1} if self.chain[last].groups > 1 else set()
        for run in self._runs():
            if self.config.get("grouped") is not True:
                label = self.chain[run[1]].kernel.name
                self.out.notes.append(
                    f"{label}: grouped, or channels before it are split or shuffled, so they are "
                    "fixed; config={'grouped': True} would free them within groups"
                )
                fixed |= set(run)
                self.exact = False
            fixed |= set(run) & {*self.same, *self.same.values()}
            grouped = any(self._kind(n) == "group" for n in self.norms if set(n.after) & set(run))
            counts = {self.chain[i].groups for i in run[1:]}
            between = any(self.chain[i].depthwise for i in run if i >= 0)
            if grouped or between or {-1, last} & set(run) or len(counts) > 1:
                fixed |= set(run)
        return self._spread(fixed)

    def _pools_or_positions(self, i: int, link: Link) -> bool:
        """Whether what a dense layer reads of a channel may come from several pools, joined."""
        if link.positions == 1 or {"flatten", "flattened"} & set(self.config):
            return False
        square = math.isqrt(link.positions) ** 2 == link.positions
        return link.positions == 2 or (len(self.chain[i - 1].window) > 1 and not square)

    def _spread(self, fixed: set[int]) -> set[int]:
        """With those that share their neurons: across depthwise kernels, in runs, and ties."""
        pairs = [(i - 1, i) for i, x in enumerate(self.chain) if x.depthwise]
        pairs += self.same.items()
        while (
            more := {i for same in (*pairs, *self._runs()) if fixed & set(same) for i in same}
            - fixed
        ):
            fixed = fixed | more
        return fixed

    def _kind(self, n: Norm) -> str:
        """The kind of a norm: batch, layer, group, channelwise or unknown."""
        label = ".".join(n.module).lower()
        if "mean" in n.parts or "variance" in n.parts:
            return "batch"
        if set(n.parts) == {"bias"}:
            raise UnfitError(f"{label}: a bias without a kernel")
        kind = self.config.get("norm")
        for name, pattern in NORMS.items():
            kind = name if re.search(pattern, label) else kind
        if re.search(CHANNELWISE, label):
            return "channelwise"
        if kind == "group" and "groups" not in self.config:
            return UNKNOWN
        return kind if kind in ("layer", "group") else UNKNOWN

    # layers

    def _layer(self, i: int, link: Link, reads: Axes, writes: Axes) -> None:
        last = i == len(self.chain) - 1
        norms = [n for n in self.norms if n.after[0] == i]
        before, after = self._around(norms, link, last)
        arrays = [self._kernel(i, link, reads, writes)]
        module = self.modules[link.kernel.module]
        if strange := set(module) - {"kernel", "bias"}:
            raise UnfitError(f"{module[min(strange)].name}: not an array of a dense layer")
        if "bias" in module:
            arrays.append(self.out.vector(module["bias"].name, "bias", writes))
        settings = self._settings(i, link) if link.window else {}
        ends = {k: settings.pop(k) for k in ("max_pool", "pool") if k in settings and norms}
        omega = float(self.config.get("omega", 1.0)) if before == "sin" else 1.0
        self.out.layer(
            "conv" if link.window else "dense", arrays, name=".".join(link.kernel.module) or "root",
            settings=settings, activation=before, omega=omega,
        )  # fmt: skip
        for n in norms:
            self._norm(n, writes, after, ends if n is norms[-1] else {})

    def _around(self, norms, link, last) -> tuple[str, str]:
        """The activations after a kernel and after its norm."""
        if last:
            return "none", "none"
        act = self.activation
        unknown = link.window and not self.pools and act in ODD
        if act == UNKNOWN or unknown or len(norms) > 1:
            if unknown:
                self.out.notes.append(
                    "windows may be pooled: config={'max_pool': 1, 'pool': 'mean'} would add signs"
                )
            self.exact &= not unknown and len(norms) < 2
            return OTHER, OTHER
        if not norms:
            return act, "none"
        direct = norms[0].direct
        if direct is None and "norm_first" in self.config:
            direct = bool(self.config["norm_first"])
        if direct is None:
            self.out.notes.append(
                f"{'.'.join(norms[0].module)}: before or after the activation? "
                "config={'norm_first': True} would add factors"
            )
            self.exact = False
            return OTHER, OTHER
        if direct:
            return "none", act
        self.runs &= self.pools
        return act, "none" if self.pools or not link.window else OTHER

    def _kernel(self, i: int, link: Link, reads: Axes, writes: Axes) -> Array:
        taps = ()
        for name, size in zip(TAPS.get(len(link.window), ()), link.window, strict=True):
            taps += self.out.fixed(f"{name}{i}", size)
        source = link.kernel.name
        first = link.kernel.writes_first
        if link.depthwise and reads == writes:
            return self.out.kernel(source, "bt" if first else "tb", (), (), taps, both=writes)
        if link.groups > 1 and len(reads) == len(writes) == 2:
            order = "bwrt" if first else "trbw"
            shared, inner, outer = writes[:1], reads[1:], writes[1:]
            return self.out.kernel(source, order, inner, outer, taps, both=shared)
        if link.groups > 1:  # of neurons that are fixed
            inner = self.out.fixed(f"member{i}", link.reads // link.groups)
            return self.out.kernel(source, link.order, inner, writes, taps)
        if link.positions > 1 or link.spots:
            spots = self._spots(link, len(self.chain[i - 1].window))
            channels = self.config.get("flatten", "first" if first else "last")
            if "flatten" not in self.config and not link.spots:
                self.out.notes.append(
                    f"images are taken to be flattened channels {channels}: 'flatten' of config"
                )
            reads = (*reads, *spots) if channels == "first" else (*spots, *reads)
        return self.out.kernel(source, link.order, reads, writes, taps)

    def _spots(self, link: Link, dims: int) -> Axes:
        """The axes of the positions of a flattened image."""
        size, side = link.spots or self.config.get("flattened"), math.isqrt(link.positions)
        if dims == 2 and size is None and side * side == link.positions:
            size = (side, side)
        if dims == 1 and size is None:
            size = (link.positions,)
        if size is None:
            self.runs = False
            return self.out.fixed("positions", link.positions)
        if math.prod(size) != link.positions:
            raise UnfitError(f"flattened: expected {link.positions} positions, got {size}")
        axes = {1: ("steps",), 2: ("rows", "cols"), 3: ("depth", "rows", "cols")}[len(size)]
        return sum((self.out.fixed(a, n) for a, n in zip(axes, size, strict=True)), ())

    def _settings(self, i: int, link: Link) -> dict[str, object]:
        """A convolution's, as far as they are known."""
        dims, count = len(link.window), len(self.convolutions)
        if self.vgg:
            own: dict[str, object] = {"stride": (1, 1), "padding": ((1, 1), (1, 1))}
            return own | ({"max_pool": ((2, 2), (2, 2), "VALID")} if i in self.vgg else {})
        if not {"stride", "padding"} <= set(self.config):
            self.runs = False
            return {}
        padding = self.config["padding"]
        if isinstance(padding, int):
            padding = ((padding, padding),) * dims
        stride = by_layer("stride", self.config["stride"], count, dims)[i]
        out: dict[str, object] = {"stride": stride, "padding": padding}
        window = by_layer("max_pool", self.config.get("max_pool", 1), count, dims)[i]
        if math.prod(window) > 1:
            out["max_pool"] = (window, window, "VALID")
        if i == count - 1 and self._flattened() is None and "pool" in self.config:
            out["pool"] = self.config["pool"]
        self.runs &= self.pools
        return out

    def _norm(self, n: Norm, axes: Axes, activation: str, ends: dict | None = None) -> None:
        kind = self._kind(n)
        settings = dict(ends or {})
        if kind in ("batch", "layer", "group"):
            settings |= {"norm": kind, "epsilon": float(self.config.get("epsilon", 1e-5))}
            settings |= {"groups": self.config["groups"]} if kind == "group" else {}
        else:
            self.runs = False
        arrays = [self.out.vector(x.name, role, axes) for role, x in n.parts.items()]
        self.out.layer(
            "norm", arrays, name=".".join(n.module), settings=settings, activation=activation
        )


def _keras(modules: Mapping[names.Module, Mapping[str, Leaf]]) -> bool:
    leaves = [x.name for parts in modules.values() for x in parts.values()]
    return any(n.endswith(":0") or "/vars/" in n for n in leaves) or any(
        re.search(r"(gamma|beta|moving_mean)$", n) for n in leaves
    )


def _vgg(chain: Chain, norms: tuple[Norm, ...]) -> set[int]:
    """Of torchvision's VGG, the convolutions before a max pool; of others, none."""
    convolutions = [x for x in chain if x.window]
    dense = [x.kernel.module for x in chain if not x.window]
    named = all(x.kernel.module[:-1] == ("features",) for x in convolutions)
    if not convolutions or not named or dense != [("classifier", n) for n in "036"]:
        return set()
    if any(x.window != (3, 3) or x.groups > 1 or x.transposed for x in convolutions):
        return set()
    numbers = [int(x.kernel.module[-1]) for x in convolutions]
    step = 3 if norms else 2  # convolution, norm, activation
    gaps = [b - a - step for a, b in itertools.pairwise(numbers)]
    if numbers[0] or set(gaps) - {0, 1} or (norms and not all(n.direct for n in norms)):
        return set()
    return {i for i, gap in enumerate([*gaps, 1]) if gap}
