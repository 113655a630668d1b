"""Encoders of image INRs at three sizes, and the presets that experiments make of them.

settings("laptop") -> row: (encoder, settings)        presets(rows, ...) -> name: Preset
"""

import dataclasses
import re
from collections.abc import Callable, Mapping

from experiments.lib.cli import Row
from wsjax.encoders.dwsnet.dwsnet import SETTINGS as DWSNET
from wsjax.encoders.nfn.nfn import SETTINGS as NFN
from wsjax.encoders.nft import SETTINGS as NFT
from wsjax.encoders.scalegmn.scalegmn_settings import SETTINGS as SCALEGMN
from wsjax.training import Settings

PROBES = 64  # as many as NG-GNN and NG-T have (Kofinas et al., 2024)
# whose batches are taken in pieces, which stay in the cache of a CPU
GRAPHS = ("gmn", "scalegmn", "neural_graph", "sne", "nft", "dwsnet")


@dataclasses.dataclass(frozen=True)
class Preset:
    """How large an experiment is.

    Attributes:
        rows: all there are, by name; of published settings those for MNIST.
        seeds: how many runs a row has.
        cost: in words.
    """

    rows: Mapping[str, Row]
    seeds: int
    cost: str


def settings(size: str, data: str = "mnist", edit: bool = False) -> dict[str, tuple[str, dict]]:
    """The encoders of all rows: row -> its key in `ENCODERS`, and its settings.

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
    found = {
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
    return found


def augmented(data: str) -> bool:
    """Whether a zoo's name says that its images have several networks each."""
    return re.search(r"-views(?!1\b)", data) is not None


def _published(data, edit):
    """Settings for GPUs."""
    known = {"fashion_mnist": "fmnist", "cifar10": "cifar_inr"}
    base = next((v for k, v in known.items() if data.startswith(k)), "mnist")
    scalegmn = "mnist_edit" if edit else base
    if base == "cifar_inr" and augmented(data) and not edit:
        scalegmn = "cifar_inr_aug"
    both = {"cifar_inr_aug": "cifar_inr_aug_b"}.get(scalegmn, f"{scalegmn}_b")
    nfn = "edit" if edit else "cifar" if base == "cifar_inr" else "mnist"
    sized = settings("laptop")
    permutation = {"symmetry": "permutation", "symmetrise": False}
    return sized | {
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
    rows: Callable[[str, Settings], Mapping[str, Row]],
    quick: Settings,
    published: Settings,
    steps: Mapping[str, int],
    small: int,
    paper: Callable[[str, Row], Row],
    costs: Mapping[str, str],
) -> dict[str, Preset]:
    """An experiment's presets, by name.

    Args:
        rows: a size of `settings` and how they are trained -> all there are.
        quick: how rows are trained, but for their steps, in all presets but "paper".
        published: and in that.
        steps: of each row with an encoder, on a laptop.
        small: how many times as many "small" has.
        paper: name and row -> that row, trained as in the paper.
        costs: preset -> in words.
    """

    def trained(size, training, how):
        found = rows(size, training).items()
        return {name: how(name, row) if row.encoder else row for name, row in found}

    def several(times):
        return lambda k, row: timed(
            row, times * steps[k], **({"microbatch": 4} if k.startswith(GRAPHS) else {})
        )

    brief = lambda k, row: timed(row, 12, 2, batch=8, warmup=2)
    every = {
        "smoke": trained("smoke", quick, brief),
        "laptop": trained("laptop", quick, several(1)),
        "small": trained("laptop", quick, several(small)),
        "paper": trained("paper", published, paper),
    }
    return {k: Preset(v, 3 if k == "paper" else 1, costs[k]) for k, v in every.items()}


def timed(row: Row, steps: int, looks: int = 12, **changes) -> Row:
    """The row trained for so many steps, with so many looks at validation."""
    often = {k: max(1, steps // looks) for k in ("evaluate_every", "checkpoint_every")}
    how: Settings = dataclasses.replace(row.training, steps=steps, **often | changes)
    return dataclasses.replace(row, training=how)
