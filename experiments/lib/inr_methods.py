"""Encoders of image INRs at three sizes, and the presets that experiments make of them.

settings("laptop") -> method: (encoder, settings)        presets(methods, ...) -> name: Preset
"""

import re
from collections.abc import Callable, Collection, Mapping

from experiments.lib.methods import Method, Preset
from wsjax.encoders.dwsnet.dwsnet import SETTINGS as DWSNET
from wsjax.encoders.nfn.nfn import SETTINGS as NFN
from wsjax.encoders.nft import SETTINGS as NFT
from wsjax.encoders.scalegmn.scalegmn_settings import SETTINGS as SCALEGMN
from wsjax.training import Settings

PROBES = 64  # as many as NG-GNN and NG-T have (Kofinas et al., 2024)
# whose batches are taken in pieces, which stay in the cache of a CPU
GRAPHS = ("gmn", "scalegmn", "neural_graph", "sne", "nft", "dwsnet")


def settings(size: str, data: str = "mnist", edit: bool = False) -> dict[str, tuple[str, dict]]:
    """The encoders of all methods: method -> its key in `ENCODERS`, and its settings.

    "paper" has published settings where there are any: of ScaleGMN's, NFN's and DWSNets' code,
    of the data set or, of others than those, of MNIST. Those are of INRs with two hidden layers.

    Args:
        size: "smoke", "laptop" or "paper".
        data: the data set; its name may have more behind it.
        edit: for editors.
    """
    if size == "paper":
        return _published(data, edit)
    small = size == "smoke"
    width, layers = (8, 2) if small else (24, 3)
    signs = {"layers": layers, "symmetry": "sign"}
    graph = {"width": width, "layers": layers, "aggregate": "mean", "product": True}
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
        "gmn": ("gmn", graph),
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
        "sne": ("sne", {"chunk_depth": 1, "depth": layers - 1, "width": 2 * width, "heads": 4}),
        "stat_nn": ("stat_nn", {}),
        "probing": ("probing", {}),
    }


def augmented(data: str) -> bool:
    """True if a zoo's images have several networks each, by its name."""
    return re.search(r"-views(?!1\b)", data) is not None


def _published(data, edit):
    """Settings for GPUs."""
    names = {"fashion_mnist": "fmnist", "cifar10": "cifar_inr"}
    base = next((v for k, v in names.items() if data.startswith(k)), "mnist")
    scalegmn = "mnist_edit" if edit else base
    if base == "cifar_inr" and augmented(data) and not edit:
        scalegmn = "cifar_inr_aug"
    both = {"cifar_inr_aug": "cifar_inr_aug_b"}.get(scalegmn, f"{scalegmn}_b")
    nfn = "edit" if edit else "cifar" if base == "cifar_inr" else "mnist"
    permutation = {"symmetry": "permutation", "symmetrise": False}
    return settings("laptop") | {
        "mlp": ("mlp", {"widths": (512, 512)}),
        "nfn_pt": ("nfn", {**NFN[f"{nfn}_hnp"], "kind": "pt"}),
        "nfn_hnp": ("nfn", NFN[f"{nfn}_hnp"]),
        "nfn_np": ("nfn", NFN[f"{nfn}_np"]),
        "nft": ("nft", NFT["classifier"]),
        "dwsnet": ("dwsnet", DWSNET["mnist"]),
        "unf": ("unf", {"width": 64, "layers": 4}),
        "gmn": ("gmn", {"width": 512 if edit else 128, "layers": 4}),
        "scalegmn": ("scalegmn", SCALEGMN[scalegmn]),
        "scalegmn_b": ("scalegmn", SCALEGMN[both]),
        "scalegmn_probes": ("scalegmn", {**SCALEGMN[scalegmn], "probes": PROBES}),
        "scalegmn_permutation": ("scalegmn", {**SCALEGMN[scalegmn], **permutation}),
        "inr2vec": ("inr2vec", {"widths": (512, 512, 1024, 1024), "pooled": 1024}),
        "neural_graph": ("neural_graph", {}),
        "neural_graph_pna": ("neural_graph", {"backbone": "pna", "sigma": 3.0}),
        "sne": ("sne", {"chunk": 32}),
        "stat_nn": ("stat_nn", {"widths": (1000,), "code": 1000}),
    }


def presets(
    methods: Callable[[str, Settings], Mapping[str, Method]],
    quick: Settings,
    published: Settings,
    steps: Mapping[str, int],
    small: int,
    paper: Callable[[str, Method], Method],
    costs: Mapping[str, str],
    default: Collection[str],
) -> dict[str, Preset]:
    """An experiment's presets, by name.

    Args:
        methods: a size of `settings` and the training -> all methods.
        quick: the training, but for its steps, in all presets but "paper".
        published: and in that.
        steps: of each method with an encoder, on a laptop.
        small: how many times as many "small" has.
        paper: name and method -> that method, trained as in the paper.
        costs: preset -> in words.
        default: names of methods that run if none is named.
    """

    def times(factor):
        pieces = lambda name: {"microbatch": 4} if name.startswith(GRAPHS) else {}
        return lambda name, m: m.train(factor * steps[name], **pieces(name))

    trained = {
        "smoke": ("smoke", quick, lambda name, m: m.train(12, 2, batch=8, warmup=2)),
        "laptop": ("laptop", quick, times(1)),
        "small": ("laptop", quick, times(small)),
        "paper": ("paper", published, paper),
    }
    out = {}
    for preset, (size, training, train) in trained.items():
        named = methods(size, training)
        named = {k: train(k, m) if m.encoder else m for k, m in named.items()}
        chosen = tuple(k for k in default if k in named)
        seeds = 3 if preset == "paper" else 1
        out[preset] = Preset(named, costs[preset], seeds=seeds, default=chosen)
    return out
