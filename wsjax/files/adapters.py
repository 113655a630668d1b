r"""Low-rank adapters: changes of a network that is in another file (Hu et al., 2022).

    base_model.model.q_proj.lora_A.weight [r, in], .lora_B.weight [out, r]        PEFT
    lora_unet_q_proj.lora_down.weight, .lora_up.weight, .alpha []                 kohya
    q_proj/lora_a [in, r], lora_b [r, out]                                        Flax

    $W + \frac{\alpha}{r} B A$        and $\alpha / \sqrt r$ for rank-stabilised ones

An adapter alone is no network: `effective` makes one of it and a base.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax import checks
from wsjax.files.names import unwrapped

# the words of the two factors of a pair: first the one that reads the layer's input
_PAIRS = (
    *(("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora.down", "lora.up")),
    *(("lora_a", "lora_b"), ("lora_embedding_A", "lora_embedding_B")),
    *(("lora_linear_layer.down", "lora_linear_layer.up"),),
)
_KOHYA = re.compile(r"^lora_(unet|te\d?|transformer|prior)_")
_LEAVES = ("weight", "kernel", "embedding")


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """The two factors of one layer's change.

    Attributes:
        target: name of the layer in the base, as far as the adapter's names give it.
        down: [rank, in, *window]; Flax: [in, rank].
        up: [out, rank, *ones]; Flax: [rank, out].
        alpha: the change is alpha/rank times their product; None if nothing says it.
        stabilised: alpha/sqrt(rank) instead.
        layout: "torch", [out, in]; "torch_transposed", of layers that store [in, out];
            "embedding", [number, features]; "flax", [in, out].
    """

    target: str
    down: np.ndarray
    up: np.ndarray
    alpha: float | None
    stabilised: bool = False
    layout: str = "torch"

    @property
    def rank(self) -> int:
        """The number of columns of one factor, rows of the other."""
        return self.down.shape[-1] if self.layout == "flax" else self.down.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the change."""
        if self.layout == "flax":
            return (*self.down.shape[:-1], *self.up.shape[1:])
        shape = (self.up.shape[0], *self.down.shape[1:])
        return shape if self.layout == "torch" else shape[::-1]

    def delta(self, alpha: float | None = None) -> np.ndarray:
        """The change of the layer's weight, [*shape] in float32.

        Args:
            alpha: where the adapter does not say it.

        Raises:
            ValueError: the factors' ranks differ, or alpha is unknown.
        """
        alpha = self.alpha if self.alpha is not None else alpha
        inner = self.up.shape[0 if self.layout == "flax" else 1]
        if inner != self.rank:
            raise ValueError(
                f"{self.target}: expected two factors of one rank, got "
                f"{list(self.down.shape)} and {list(self.up.shape)}"
            )
        if alpha is None:
            raise ValueError(
                f"{self.target}: expected an alpha in adapter_config.json or beside the factors, "
                "found none; give alpha="
            )
        scale = alpha / (math.sqrt(self.rank) if self.stabilised else self.rank)
        down, up = (x.astype(np.float32) for x in (self.down, self.up))
        if self.layout == "flax":
            return np.tensordot(down, up, 1) * np.float32(scale)
        flat = up.reshape(len(up), -1) @ down.reshape(self.rank, -1) * np.float32(scale)
        if self.layout == "torch":
            return flat.reshape(self.shape)
        return flat.T


@dataclasses.dataclass(frozen=True, eq=False)
class Adapter:
    """A low-rank adapter.

    Attributes:
        pairs: one for each layer that it changes.
        others: names of arrays beside them, such as biases, whole layers, or magnitudes.
        decomposed: its change is of DoRA, which scales each row to a stored magnitude as well
            (Liu et al., 2024).
    """

    pairs: tuple[Pair, ...]
    others: tuple[str, ...] = ()
    decomposed: bool = False

    def __str__(self):
        ranks = sorted({p.rank for p in self.pairs})
        alphas = sorted({p.alpha for p in self.pairs if p.alpha is not None})
        unknown = any(p.alpha is None for p in self.pairs)
        text = [f"{a:g}" for a in alphas] + ["unknown"] * unknown
        layers = checks.counted(len(self.pairs), "layer")
        rank = ", ".join(map(str, ranks))
        beside = f", and {checks.counted(len(self.others), 'array')} beside" * bool(self.others)
        return f"an adapter of {layers}, rank {rank}, alpha {', '.join(text)}{beside}"


def adapter(arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> Adapter | None:
    """Recognises an adapter by the names of its arrays.

    Args:
        arrays: name -> array.
        config: of `adapter_config.json`; {} if there is none.

    Returns:
        The adapter; None if no array is a factor of one.

    >>> names = {"q.lora_A.weight": np.ones((2, 6)), "q.lora_B.weight": np.ones((4, 2))}
    >>> print(adapter(names, {"lora_alpha": 16}))
    an adapter of 1 layer, rank 2, alpha 16
    """
    pairs, used = [], set()
    for name in arrays:
        for down_word, up_word in _PAIRS:
            head, word, tail = name.partition(down_word)
            other = f"{head}{up_word}{tail}"
            if not word or head[-1:] not in ("", ".", "/") or other not in arrays:
                continue
            if min(arrays[name].ndim, arrays[other].ndim) < 2:
                continue
            stem = head.rstrip("./")
            alpha = arrays.get(f"{stem}.alpha")
            used |= {name, other, f"{stem}.alpha"}
            layout = _layout(down_word, tail, config)
            own = float(alpha.reshape(-1)[0]) if alpha is not None and alpha.size else None
            made = Pair(stem, arrays[name], arrays[other], own, layout=layout)
            if made.alpha is None:
                alpha = _alpha(made, config, word)
                made = dataclasses.replace(made, alpha=alpha, stabilised=_stabilised(config))
            pairs.append(made)
    if not pairs:
        return None
    targets = unwrapped([p.target for p in pairs])[0]
    pairs = [dataclasses.replace(p, target=t) for p, t in zip(pairs, targets, strict=True)]
    others = tuple(n for n in arrays if n not in used)
    return Adapter(tuple(pairs), others, config.get("use_dora") is True)


def _layout(down_word, tail, config):
    if "embedding" in down_word:
        return "embedding"
    if down_word == "lora_a" and not tail.endswith("weight"):
        return "flax"
    return "torch_transposed" if config.get("fan_in_fan_out") is True else "torch"


def _stabilised(config):
    return config.get("use_rslora") is True


def _alpha(pair, config, word):
    """Of the configuration; kohya's trainers take the rank where none is stored."""
    patterns = config.get("alpha_pattern")
    for key, alpha in patterns.items() if isinstance(patterns, dict) else ():
        if pair.target == key or pair.target.endswith(f".{key}"):
            return _number(alpha)
    if (alpha := _number(config.get("lora_alpha"))) is not None:
        return alpha
    return float(pair.rank) if word in ("lora_down", "lora.down") else None


def _number(x):
    plain = isinstance(x, int | float) and not isinstance(x, bool)
    return float(x) if plain and math.isfinite(x) else None


def effective(
    adapter: Adapter, base: Mapping[str, np.ndarray], alpha: float | None = None
) -> dict[str, np.ndarray]:
    """The base with the adapter's change added.

    Args:
        adapter: as `load` found it.
        base: name -> array of the network that it adapts.
        alpha: of pairs that do not say theirs.

    Returns:
        A new dict in the base's order; changed arrays are float32 (or wider, as the base's),
        others are the base's own.

    Raises:
        ValueError: layers that the base lacks, or has in other shapes; every one is named. Or a
            pair's factors do not fit each other, or its alpha is unknown. Or the adapter has more
            than pairs: `others`, or DoRA's magnitudes, which are not added here.

    >>> base = {"q.weight": np.zeros((4, 6), "float32")}
    >>> names = {"q.lora_A.weight": np.ones((2, 6)), "q.lora_B.weight": np.ones((4, 2))}
    >>> effective(adapter(names, {"lora_alpha": 1}), base)["q.weight"][0, 0].item()
    1.0
    """
    if adapter.others or adapter.decomposed:
        what = "DoRA's magnitudes" if adapter.decomposed else "arrays"
        listed = f" ({', '.join(adapter.others[:8])}{', ...' * (len(adapter.others) > 8)})"
        raise ValueError(
            f"expected an adapter of pairs of factors alone, it has {what} beside them"
            f"{checks.printable(listed) * bool(adapter.others)}, which are not added here; "
            "dataclasses.replace(adapter, others=(), decomposed=False) leaves them out"
        )
    changes, wrong = {}, []
    for pair in adapter.pairs:
        name = _place(pair, base)
        if name is None:
            wrong.append(f"{pair.target}: changes a layer that the base lacks")
        elif pair.shape != base[name].shape:
            wrong.append(
                f"{pair.target}: changes a weight {list(pair.shape)}, the base's {name} is "
                f"{list(base[name].shape)}"
            )
        else:
            changes[name] = pair
    checks.raise_all("adapter does not fit its base", wrong)
    out = dict(base)
    for name, pair in changes.items():
        kind = np.result_type(out[name].dtype, np.float32)
        out[name] = out[name].astype(kind) + pair.delta(alpha)
    return out


def _place(pair, base):
    """The base's weight that a pair changes; None if there is none, or not one alone."""
    flat = _KOHYA.sub("", pair.target, count=1)
    ends = lambda a, b: a.endswith((f".{b}", f"/{b}"))
    rules = (  # the first that any weight meets
        lambda stem: stem == pair.target,
        lambda stem: flat != pair.target and re.sub("[./]", "_", stem) == flat,
        lambda stem: ends(stem, pair.target),
        lambda stem: ends(pair.target, stem),
    )
    stems = {n: n[: -len(leaf) - 1] for n in base for leaf in _LEAVES if ends(n, leaf)}
    stems |= {n: n for n in base if n not in stems}
    for rule in rules:
        if fitting := [n for n, stem in stems.items() if rule(stem)]:
            return fitting[0] if len(fitting) == 1 else None
    return None
