"""The table of encoders: method, paper, supported architectures, symmetries, and size.

A line of `ABOUT` names a method's paper and the symmetries that its embeddings have; everything
else is computed from the encoder. `rows` makes the table in `wsjax/encoders/README.md`.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from wsjax import architectures
from wsjax.encoders import ENCODERS

SYMMETRIES = ("permutation", "sign", "scale", "phase")


@dataclasses.dataclass(frozen=True)
class About:
    """The facts of a method that its encoder cannot state.

    Attributes:
        method: its name.
        paper: its authors and year, or "" for a baseline without one.
        exact: of `SYMMETRIES`, those that embeddings have by construction.
        learned: those that training is meant to teach.
        note: more to consider when it is compared with others.
    """

    method: str
    paper: str
    exact: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    note: str = ""


PERMUTATION = ("permutation",)
NO_WIRING = "does not read which weight meets which"
ABOUT: Mapping[str, About] = {
    "sne": About("SNE", "Andreis et al., 2024", learned=PERMUTATION),
    "gmn": About("GMN", "Lim et al., 2024", PERMUTATION),
    "grit": About("GMN with GRIT", "Ma et al., 2023; Lim et al., 2024", PERMUTATION),
    "neural_graph": About("Neural Graphs", "Kofinas et al., 2024", PERMUTATION),
    "scalegmn": About("ScaleGMN", "Kalogeropoulos et al., 2024", ("permutation", "sign", "scale")),
    "dwsnet": About("DWSNet", "Navon et al., 2023", PERMUTATION),
    "nfn": About("NFN", "Zhou et al., 2023", PERMUTATION),
    "nft": About("NFT", "Zhou et al., 2023 (Transformers)", PERMUTATION),
    "unf": About("UNF", "Zhou, Finn and Harrison, 2024", PERMUTATION),
    "stat_nn": About("StatNN", "Unterthiner et al., 2020", PERMUTATION, note=NO_WIRING),
    "mlp": About("MLP", "", learned=PERMUTATION),
    "deepsets": About("DeepSets", "Zaheer et al., 2017", PERMUTATION, note=NO_WIRING),
    "transformer": About("Transformer", "Navon et al., 2023", learned=PERMUTATION),
    "inr2vec": About("INR2Vec (arch.)", "De Luigi et al., 2023", learned=PERMUTATION),
    "dmc": About("DMC", "Eilertsen et al., 2020", learned=PERMUTATION),
    "hyperrep": About("HyperRep", "Schürholt et al., 2021", learned=PERMUTATION),
    "probing": About(
        "Probing",
        "Herrmann et al., 2024",
        SYMMETRIES,
        note="runs the network, so exact to widening too; images with their `shape`",
    ),
}

READS = {
    "MLPs": architectures.mlp([2, 5, 5, 1], "tanh"),
    "CNNs": architectures.cnn([2, 4, 5], [3]),
    "norms": architectures.cnn([2, 4, 5], [3], norm="batch"),
    "residuals": architectures.resnet(2, [4, 5], 3, blocks=1, norm="none"),
    "attention": architectures.vit(2, 6, 3, size=(6, 4), patch=(3, 2), blocks=1, heads=2),
    "sets": architectures.deepsets([3, 5, 4], [2]),
    "grids": architectures.grid([4, 3], 5, [6, 2]),
}
INR = architectures.mlp([1, 32, 32, 1], "sin", 30.0)


def supported(name: str) -> list[str]:
    """The keys of `READS` that an encoder supports at its default settings."""
    kinds = []
    for kind, spec in READS.items():
        try:
            ENCODERS[name]().view(spec)
        except ValueError:
            continue
        kinds.append(kind)
    return kinds


def parameters(name: str) -> int:
    """The number of an encoder's parameters at default, for networks 1-32-32-1."""
    encoder = ENCODERS[name]()
    view = encoder.view(INR)
    init = lambda key: encoder.init(key, jnp.zeros((1, INR.count)), view)["params"]
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))


@functools.cache
def rows() -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table, in the order of `ENCODERS`."""
    header = ["encoder", "method", "paper", "reads", "mixed batches", "exact symmetries"]
    header += ["learned", "edits", "parameters", ""]
    lines = []
    for name, encoder in ENCODERS.items():
        about, kinds = ABOUT[name], supported(name)
        lines.append([
            f"`{name}`",
            about.method,
            about.paper or "–",
            "all" if len(kinds) == len(READS) else ", ".join(kinds),
            "yes" if encoder.mixes else "no",
            ", ".join(about.exact) or "–",
            ", ".join(about.learned) or "–",
            "yes" if encoder.edits else "no",
            f"{parameters(name):,}",
            about.note,
        ])  # fmt: skip
    return header, lines
