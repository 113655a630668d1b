"""Encoders of image INRs at three sizes, and the presets that experiments make of them.

settings("laptop") -> method: (encoder, settings)        presets(methods, ...) -> name: Preset

    smoke, laptop, small    encoders of ours, AdamW with a cosine, fewer images
    paper                   encoders and training as published, see `inr_published`
    own                     the same encoders, batches and steps by a recipe of ours: `own`
    h100                    the same recipe, in as many steps as 8 minutes of one H100 take
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping

from experiments.lib import inr_published
from experiments.lib.inr_published import GMN, PROBES
from experiments.lib.methods import Method, Preset
from wsjax.training import Settings

# whose batches are taken in pieces, which stay in the cache of a CPU
GRAPHS = ("gmn", "scalegmn", "neural_graph", "sne", "nft", "dwsnet")


def settings(size: str, zoo: str = "mnist.dws", edit: bool = False) -> dict[str, tuple[str, dict]]:
    """The encoders of all methods: method -> its key in `ENCODERS`, and its settings.

    Args:
        size: "smoke", "laptop" or "paper", see `inr_published.encoders`.
        zoo: its name.
        edit: for editors.
    """
    if size == "paper":
        return inr_published.encoders(zoo, edit)
    small = size == "smoke"
    width, layers = (8, 2) if small else (24, 3)
    signs = {"layers": layers, "symmetry": "sign"}
    graph = {"width": width, "layers": layers}
    field = {"widths": (8, 8) if small else (32, 32, 32), "head": (64,)}
    field |= {} if small else {"frequencies": 16}
    pna = {"backbone": "pna", "layers": layers, "frequencies": 4 * width, "sigma": 3.0}
    relational = {"attention": 2 * width, "hidden": 2 * width, "edge_hidden": width, "heads": 4}
    return {
        "mlp": ("mlp", {"widths": (32,) if small else (128, 128)}),
        "nfn_pt": ("nfn", {**field, "kind": "pt", "io": "none"}),
        "nfn_hnp": ("nfn", {**field, "kind": "hnp", "io": "none"}),
        "nfn_np": ("nfn", {**field, "kind": "np", "io": "encoding", "bands": 3, "highest": 3.0}),
        "nft": ("nft", {"frequencies": width // 2, "blocks": layers - 1, "heads": 4}),
        "dwsnet": ("dwsnet", {"width": 8 if small else 16, "layers": layers, "heads": 4}),
        "unf": ("unf", {"width": width, "layers": layers}),
        "gmn": ("gmn", {**GMN, **graph}),
        "gmn_product": ("gmn", {**graph, "aggregate": "mean", "product": True}),
        "scalegmn": ("scalegmn", {**signs, "width": width, "backward": "none"}),
        "scalegmn_b": ("scalegmn", {**signs, "width": width - 4}),
        "scalegmn_probes": (
            "scalegmn",
            {**signs, "width": width, "backward": "none", "probes": 8 if small else PROBES},
        ),
        "scalegmn_permutation": (
            "scalegmn",
            {**signs, "width": width + 8, "symmetry": "permutation", "backward": "none"},
        ),
        "inr2vec": ("inr2vec", {}),
        "neural_graph": (
            "neural_graph",
            {"width": width, "edge_width": 8, "layers": layers - 1, **relational},
        ),
        "neural_graph_pna": ("neural_graph", {"width": width, "edge_width": width, **pna}),
        "sne_augmented": (
            "sne",
            {"chunk_depth": 1, "depth": layers - 1, "width": 2 * width, "heads": 4},
        ),
        "stat_nn": ("stat_nn", {}),
        "probing": ("probing", {}),
    }


def own(training: Settings, steps: int = 0) -> Settings:
    """Our recipe on top of a published one: a cosine down to 0, and an average of the variables.

    The average spans a twentieth of the run, the warm-up at most that. Rate, batch, optimiser,
    decay and clipping stay.

    Args:
        training: the published one.
        steps: the published ones if 0.
    """
    steps = steps or training.steps
    each = dict.fromkeys(("evaluate_every", "checkpoint_every"), max(1, steps // 25))
    warmup, ema = min(training.warmup, steps // 20), 1 - 20 / steps
    more = {"steps": steps, "warmup": warmup, "schedule": "cosine", "ema": ema}
    return dataclasses.replace(training, **more, **each)


def presets(
    methods: Callable[[str, Settings], Mapping[str, Method]],
    quick: Settings,
    published: Callable[[str], Settings],
    steps: Mapping[str, tuple[int, int]],
    small: int,
    costs: Mapping[str, str],
    default: Collection[str],
) -> dict[str, Preset]:
    """An experiment's presets, by name.

    Args:
        methods: a size of `settings` and the training -> all methods.
        quick: the training, but for its steps, in "smoke", "laptop" and "small".
        published: name of a method -> its training in "paper".
        steps: of each method with an encoder, on a laptop and on an H100.
        small: how many times as many as a laptop "small" has.
        costs: preset -> in words.
        default: names of methods that run if none is named.
    """

    def times(factor):
        pieces = lambda name: {"microbatch": 4} if name.startswith(GRAPHS) else {}
        return lambda name, m: m.train(factor * steps[name][0], **pieces(name))

    def trained(change):
        return lambda name, m: dataclasses.replace(m, training=change(name))

    kinds = {
        "smoke": ("smoke", lambda name, m: m.train(12, 2, batch=8, warmup=2)),
        "laptop": ("laptop", times(1)),
        "small": ("laptop", times(small)),
        "h100": ("paper", trained(lambda name: own(published(name), steps[name][1]))),
        "own": ("paper", trained(lambda name: own(published(name)))),
        "paper": ("paper", trained(published)),
    }
    out = {}
    for preset, (size, train) in kinds.items():
        named = methods(size, quick)
        named = {k: train(k, m) if m.encoder else m for k, m in named.items()}
        chosen = tuple(k for k in default if k in named)
        seeds = 3 if preset in ("own", "paper") else 1
        out[preset] = Preset(named, costs[preset], seeds=seeds, default=chosen)
    return out
