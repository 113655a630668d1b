"""Which branch of a checkpoint is the model: training saves more than the weights.

    {"state_dict": {...}, "optimizer_states": [...], "epoch": 3}     state_dict
    {"model": {...}, "ema": {...}, "optimizer": {...}}               ema, or model
    {"step": 7, "params": {...}, "batch_stats": {...}, "opt_state"}  params, with batch_stats
    {"Dense_0": {...}, "Dense_1": {...}}                             the whole file, ""

Words that frameworks use for the weights, their averages and optimisers' states are lists here.
A level of a file's tree is a choice of branches where its keys are such words; below the last
such level every key belongs to the model itself. Where the names are flat, an average is one by
the first word of its names: `ema_model.module.fc.weight` beside `model.fc.weight`.

The default is the average where it holds the arrays of the raw weights, with their shapes, as
it is the one meant for evaluation; then the raw weights; of several, the first in `MODELS`.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

from wsjax.checks import counted, printable
from wsjax.files.checkpoint import Stored
from wsjax.files.names import WRAPPERS, unwrapped

MODELS = (  # words for the weights themselves, the most likely first
    *("state_dict", "model_state_dict", "model_state", "model", "params", "target", "module"),
    "model_weights",
    *("net", "network", "weights", "variables", "nnx_state", "online_model", "student"),
    *("generator", "netG", "G", "discriminator", "netD", "D", "actor", "critic"),
    "target_model",  # of Q-learning: older weights, no average
)
AVERAGES = (
    *("ema", "ema_model", "model_ema", "params_ema", "ema_params", "state_dict_ema", "ema_weights"),
    *("ema_state_dict", "model_ema_state_dict", "module_ema", "averaged_model", "swa_model"),
    *("params_avg", "avg_params", "shadow_params", "teacher", "G_ema", "g_ema"),
)
OPTIMISERS = (
    *("optimizer", "optimizers", "optimizer_state", "optimizer_states", "optimizer_state_dict"),
    *("optim", "optim_state", "optim_state_dict", "opt", "opt_state", "opt_states", "opt_params"),
    *("optimiser", "lr_scheduler", "lr_schedulers", "lr_scheduler_state_dict", "scheduler"),
    *("scheduler_state_dict", "scaler", "grad_scaler", "amp", "callbacks", "loops", "rng_state"),
    *("rng", "rngs", "rng_states", "random_state", "optimizer_weights", "optimizer_G"),
    *("optimizer_D", "exp_avg", "exp_avg_sq", "momentum_buffer", "criterion", "loss"),
)
LEAVES = (  # last words of optimisers' arrays, of whatever name; "step" lies beside them
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "grad_avg"),
    *("exp_avg_sq_row", "exp_avg_sq_col", "exp_inf"),
)
COLLECTIONS = ("batch_stats", "buffers", "model_state", "state", "extra_vars", "non_trainable")
TREES = (
    "state",
    "train_state",
    "shadow",
    "checkpoint",
    "ckpt",
    "states",
    "train",
    "default",
    "items",
)
# words that modules have as well: a choice only beside others of these lists
MODULES = (
    *("model", "net", "network", "module", "target", "weights", "G", "D", "actor", "critic"),
    "student",
)
AGENT = {"actor", "critic"}  # of one network, unless an optimiser lies beside
_LEVELS = 8  # of branches within branches

Kind = Literal["model", "average", "optimiser", "other"]
Named = tuple[tuple[str, ...], Stored]  # keys below the branch, and the array


@dataclasses.dataclass(frozen=True)
class Branch:
    """A part of a file's tree that is, or is not, a network.

    Attributes:
        name: its keys, joined by "/"; "" is the whole file.
        kind: "model"; "average": of the weights over training; "optimiser": never a model;
            "other": a part of a name that is no known word.
        arrays: each with its keys below the branch, in the file's order.
    """

    name: str
    kind: Kind
    arrays: tuple[Named, ...]

    @property
    def parameters(self) -> int:
        """Elements of its arrays, from their shapes; tied arrays count once."""
        return sum({s.storage: s.size for _, s in self.arrays}.values())

    def __str__(self):
        name = printable(self.name) or ("beside" if self.kind == "other" else "the whole file")
        arrays = counted(len(self.arrays), "array")
        return f"{name} ({self.kind}, {arrays}, {counted(self.parameters, 'number')})"


def branches(arrays: Sequence[Stored]) -> tuple[Branch, ...]:
    """Sorts the arrays of a file into branches, in the order in which they begin.

    >>> w = lambda *path: Stored(path, (2, 3), "float32", path, 24, lambda: None)
    >>> for b in branches([w("model", "fc.weight"), w("optimizer", "0", "exp_avg")]):
    ...     print(b)
    model (model, 1 array, 6 numbers)
    optimizer (optimiser, 1 array, 6 numbers)
    """
    parts: dict[tuple[str, Kind], list[Named]] = {}
    for keys, kind, rest, stored in _sorted((), "", [(_keys(s), s) for s in arrays]):
        parts.setdefault(("/".join(keys), kind or "model"), []).append((rest, stored))
    out = [Branch(name, kind, tuple(named)) for (name, kind), named in parts.items()]
    return tuple(x for b in out for x in ([b] if b.kind == "optimiser" else _flat(b)))


def chosen(every: Sequence[Branch], name: str | None) -> Branch:
    """The branch of a name, or the default (see the module).

    Args:
        every: what `branches` returns.
        name: its full name, or the last key of it where only one ends so; None is the default.

    Raises:
        ValueError: there is none of that name, or no branch is a model; lists those that are.
    """
    models = [b for b in every if b.kind != "optimiser"]
    listed = ", ".join(map(str, every)) or "no arrays at all"
    if not models:
        raise ValueError(f"expected arrays of a network, found {listed}")
    if name is not None:
        right = [b for b in models if b.name == name]
        right = right or [b for b in models if b.name.rpartition("/")[2] == name]
        if len(right) != 1:
            raise ValueError(f"expected a branch of a network, got {name!r}; found {listed}")
        return right[0]
    raw = min([b for b in models if b.kind != "average"] or models, key=_rank)
    averages = [b for b in models if b.kind == "average" and twins(b, raw)]
    return averages[0] if averages else raw


def twins(a: Branch, b: Branch) -> bool:
    """Whether the first branch has every array of the second, by name and shape."""
    return set(_shapes(b)) <= set(_shapes(a))


def _shapes(branch):
    """(name, shape) of its arrays of numbers, without wrappers."""
    sizable = [(keys, s) for keys, s in branch.arrays if s.shape]
    names = unwrapped(["/".join(keys) for keys, _ in sizable])[0]
    return [(n, s.shape) for n, (_, s) in zip(names, sizable, strict=True)]


def _rank(branch):
    """First known words, in their order; then the most numbers."""
    last = branch.name.rpartition("/")[2]
    known = MODELS.index(last) if last in MODELS else len(MODELS)
    return (branch.kind == "other", known, -branch.parameters)


def _keys(stored):
    """Keys of the tree, those of flattened trees too: "opt_state/0/mu" is three."""
    return tuple(k for part in stored.path for k in part.split("/")) or ("",)


def _sorted(
    keys: tuple[str, ...], kind: Kind | Literal[""], named: Sequence[Named]
) -> Iterator[tuple[tuple[str, ...], Kind | Literal[""], tuple[str, ...], Stored]]:
    """(keys of the branch, its kind, keys below, array), level by level of the tree."""
    deep = len(keys) >= _LEVELS
    heads = dict.fromkeys(rest[0] for rest, _ in named if len(rest) > 1 and not deep)
    models, collections, optimiser = _words(heads, kind)
    if not models and not optimiser:
        steps = {(*rest[:-1], "step") for rest, _ in named if len(rest) > 1 and _leaf(rest)}
        for rest, stored in named:
            of = "optimiser" if _leaf(rest) or rest in steps else kind
            yield keys, of, rest, stored
        return
    groups: dict[str, list] = {h: [] for h in heads}
    for rest, stored in named:
        if len(rest) == 1:  # a step, a key of randomness: beside the branches, of none
            loose = "other" if models else kind
            yield keys, "optimiser" if _leaf(rest) else loose, rest, stored
        else:
            groups[rest[0]].append((rest[1:], stored))
    for head, below in groups.items():
        if head in optimiser:
            yield from (((*keys, head), "optimiser", rest, s) for rest, s in below)
        elif not models:
            yield from ((keys, kind, (head, *rest), s) for rest, s in below)
        elif head in collections:  # Flax's, a part of every copy of the network
            owners = [_sorted((*keys, m), _owned(m, kind), groups[m]) for m in models]
            inner = {x[:3]: None for owner in owners for x in owner if x[1] != "optimiser"}
            homes = dict.fromkeys(x[:2] for x in inner) or {((*keys, head), "other"): None}
            for place, of, rest, s in _sorted((*keys, head), "other", below):
                path = (*place[len(keys) + 1 :], *rest)
                if of == "optimiser" or path[0] in OPTIMISERS:
                    yield (*keys, head), "optimiser", path, s
                    continue
                for home in homes:
                    yield *home, (head, *path) if (*home, path) in inner else path, s
        else:
            yield from _sorted((*keys, head), _owned(head, kind), below)


def _words(heads, kind):
    """Of the keys at a level those of models, of their collections, and of optimisers."""
    optimiser = [h for h in heads if h in OPTIMISERS]
    known = lambda h: h in MODELS or h in AVERAGES
    models = [h for h in heads if known(h)]
    collections = [h for h in heads if h in COLLECTIONS and {h} < set(models) | {h}]
    models = [h for h in models if h not in collections]
    models += [h for h in heads if h in TREES and h not in collections]
    rest = [h for h in heads if h not in (*models, *collections, *optimiser)]
    # Modules of a network can be called `model` or `state` too, but hardly all of them.
    sure = [h for h in optimiser if h.startswith(("opt", "exp_avg", "lr_sched"))]
    strong = sure or any(h not in (*MODULES, *TREES) for h in models)
    if (rest and (kind or not strong)) or ({*models} == AGENT and (kind or not sure)):
        models = []
    if not models:
        collections, optimiser = [], [] if kind else sure
    return models, collections, optimiser


def _owned(head, kind):
    """The kind of what lies below a key: an average stays one however deep."""
    if kind == "average" or head in TREES:
        return kind
    return "average" if head in AVERAGES else "model" if head in MODELS else "other"


def _leaf(rest):
    return rest[-1].rpartition(".")[2] in LEAVES


def _flat(branch):
    """A branch of flat names, cut where the first word of some says that they are an average."""
    head = lambda keys: keys[0].partition(".")[0]
    dotted = {head(keys) for keys, _ in branch.arrays if "." in keys[0]}
    copies = [h for h in dict.fromkeys(head(k) for k, _ in branch.arrays) if h in AVERAGES]
    copies = [h for h in copies if h in dotted]
    rest = [x for x in branch.arrays if head(x[0]) not in copies]
    if not copies or not any(s.shape for _, s in rest):
        return [branch]
    heads = {head(keys) for keys, s in rest if s.shape}
    name = next(iter(heads)) if len(heads) == 1 and heads & {*MODELS, *WRAPPERS} else "raw"
    under = lambda x: f"{branch.name}/{x}".removeprefix("/")
    cut = lambda keys, h: (keys[0].removeprefix(f"{h}."), *keys[1:])
    out = [Branch(under(name), "model", tuple((cut(k, name), s) for k, s in rest))]
    for h in copies:
        named = tuple((cut(k, h), s) for k, s in branch.arrays if head(k) == h)
        out.append(Branch(under(h), "average", named))
    return out
