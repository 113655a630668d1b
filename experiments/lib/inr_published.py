"""Published encoders of image INRs, how each was trained, and scores.

    encoders("mnist.dws") -> method: (encoder, settings)
    training("scalegmn", "mnist.dws") -> Settings
    accuracy("mnist.dws", "scalegmn"), editing("mnist.dws", "dilation", "scalegmn") -> "96.57 ± .10"

Zoos are named by data and recipe, "cifar10.nfn-views21": scores are those of the recipe alone
whose networks the paper has, since those of others have another range or fit. Squared errors of
"nfn" are of images on [-1, 1], four times those of "dws", on [0, 1].

Encoders and training are from configuration files of the authors' code: NFN's, DWSNets', Neural
Graphs' and ScaleGMN's; of GMN from the paper. Augmentations of DWSNets and Neural Graphs and the
BatchNorm of DWSNets' MLP are missing here.
Methods that no paper has on these networks are trained as ScaleGMN, editors as NFN's.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

from experiments.lib.protocols import Protocol
from wsjax.encoders.dwsnet.dwsnet import SETTINGS as DWSNET
from wsjax.encoders.neural_graph import SETTINGS as NEURAL_GRAPH
from wsjax.encoders.nfn.nfn import SETTINGS as NFN
from wsjax.encoders.nft import SETTINGS as NFT
from wsjax.encoders.scalegmn.scalegmn_settings import SETTINGS as SCALEGMN
from wsjax.training import Settings

PROBES = 64  # as many as NG-GNN and NG-T have (Kofinas et al., 2024)
# As the parameters of GMN's editor count; the paper has no sizes of MLPs, norm or residual.
# Eq. 1 adds messages up: without a norm the first changes are then thousands of times the
# weights, and short runs on a laptop's digits do not recover; with means they learn.
GMN = {"layers": 4, "lift": 2, "norm": "none", "residual": False, "aggregate": "mean"}
TRAINED = {"cifar10": 45_000}  # training networks of a view; of other data 55,000
NOTES = {  # differences of single methods from what was published
    **dict.fromkeys(("dwsnet", "neural_graph", "neural_graph_pna"), "no augmentation"),
    "mlp": "no BatchNorm",
    "gmn": "messages are means, sums in the paper",
}
OPTIMIZERS = {"amsgrad": "AdamW with AMSGrad", "adamw": "AdamW", "adam": "Adam", "muon": "Muon"}

# ScaleGMN, table 1, in per cent; * from memory, as are all deviations
_ACCURACY = {
    "mnist.dws": {
        **{"mlp": "17.55 ± .01*", "inr2vec": "23.69 ± .10*", "dwsnet": "85.71 ± .57"},
        **{"nfn_np": "78.50 ± .23", "nfn_hnp": "79.11 ± .84", "neural_graph_pna": "91.40 ± .60"},
        **{"scalegmn": "96.57 ± .10", "scalegmn_b": "96.59 ± .24"},
    },
    "fashion_mnist.dws": {
        **{"mlp": "19.91 ± .47*", "inr2vec": "22.33 ± .41*", "dwsnet": "67.06 ± .29"},
        **{"nfn_np": "68.19 ± .28", "nfn_hnp": "68.94 ± .64", "neural_graph_pna": "68.00 ± .20"},
        **{"scalegmn": "80.46 ± .32", "scalegmn_b": "80.78 ± .16"},
    },
    "cifar10.nfn": {
        **{"mlp": "11.38 ± .34*", "dwsnet": "34.45 ± .42", "nfn_np": "33.41 ± .01"},
        **{"nfn_hnp": "28.64 ± .07", "neural_graph_pna": "36.04 ± .44"},
        **{"scalegmn": "36.43 ± .41", "scalegmn_b": "38.82 ± .10"},
    },
    "cifar10.nfn, augmented": {
        **{"mlp": "16.90 ± .25*", "dwsnet": "41.27 ± .03*", "nfn_np": "46.60 ± .07*"},
        **{"nfn_hnp": "44.10 ± .47*", "neural_graph_pna": "45.70 ± .20*"},
        **{"scalegmn": "56.62 ± .24*", "scalegmn_b": "56.95 ± .57*"},
    },
}
_EDITING = {
    ("cifar10.nfn", "contrast"): {  # GMN, table 2
        **{"mlp": ".031", "mlp_aug": ".029", "nfn_pt": ".029", "nfn_hnp": ".0204 ± .0000"},
        **{"nfn_np": ".0203 ± .0000", "nft": ".0200 ± .0002", "gmn": ".0197 ± .0000"},
    },
    ("mnist.nfn", "dilation"): {  # the same
        **{"mlp": ".306", "mlp_aug": ".307", "nfn_pt": ".197", "nfn_hnp": ".0706 ± .0005"},
        **{"nfn_np": ".0693 ± .0009", "nft": ".0510 ± .0004", "gmn": ".0603 ± .0010"},
    },
    ("mnist.dws", "dilation"): {  # ScaleGMN, from memory
        **{"mlp": ".0535*", "dwsnet": ".0258*", "nfn_np": ".0255*", "nfn_hnp": ".0265*"},
        **{"scalegmn": ".0256 ± .0003*", "scalegmn_b": ".0189*"},
    },
}
# of models built by the authors' code; GMN's as in the paper
_PARAMETERS = {
    "mnist.dws": {
        **{"dwsnet": 552_650, "scalegmn": 1_772_042, "scalegmn_b": 3_089_162},
        **{"nfn_np": 45_500_000, "nfn_hnp": 68_800_000, "neural_graph_pna": 92_010},
    },
    "fashion_mnist.dws": {"scalegmn": 1_160_970, "scalegmn_b": 1_722_378},
    "cifar10.nfn": {"scalegmn": 397_450, "scalegmn_b": 492_298},
    "cifar10.nfn, augmented": {"scalegmn": 2_285_322, "scalegmn_b": 3_324_938},
    "mnist.dws, edited": {"scalegmn": 4_002_058, "scalegmn_b": 4_821_385},
    "mnist.nfn, edited": {"gmn": 8_945_671, "nfn_np": 4_130_000, "nfn_hnp": 6_440_000},
}


def augmented(zoo: str) -> bool:
    """True if a zoo's images have several networks each, by its name."""
    return re.search(r"-views(?!1\b)", zoo) is not None


def source(zoo: str) -> str:
    """Data and recipe of a zoo: "mnist.dws" of "mnist.dws-steps1500.dilation"."""
    return ".".join(part.split("-")[0] for part in zoo.split(".")[:2])


def accuracy(zoo: str, method: str) -> str:
    """The published accuracy in per cent, or a dash."""
    key = source(zoo) + ", augmented" * augmented(zoo)
    return _ACCURACY.get(key, {}).get(method, "–")


def editing(zoo: str, task: str, method: str) -> str:
    """The published squared error, in the range of the zoo's images, or a dash."""
    return _EDITING.get((source(zoo), task), {}).get(method, "–")


def encoders(zoo: str, edit: bool = False) -> dict[str, tuple[str, dict]]:
    """The encoders of all methods: method -> its key in `ENCODERS`, and its settings.

    Of the data set or, of others than those published, of MNIST.

    Args:
        zoo: its name.
        edit: for editors.
    """
    config, base = _scalegmn(zoo, edit)
    nfn = "edit" if edit else "cifar" if base == "cifar_inr" else "mnist"
    permutation = {"symmetry": "permutation", "symmetrise": False}
    gmn = {**GMN, "width": 512 if edit else 128}
    # NFN's, of 1,000; or DWSNets', whose accuracy on the MNISTs is published
    mlp = (1000,) * 3 if edit else (1000,) * 2 if base == "cifar_inr" else (32,) * 5
    return {
        "mlp": ("mlp", {"widths": mlp} | ({} if edit else {"code": 10})),
        "nfn_pt": ("nfn", {**NFN[f"{nfn}_np"], "kind": "pt"}),
        "nfn_hnp": ("nfn", NFN[f"{nfn}_hnp"]),
        "nfn_np": ("nfn", NFN[f"{nfn}_np"]),
        "nft": ("nft", NFT["classifier"]),
        "dwsnet": ("dwsnet", DWSNET["mnist"]),
        "unf": ("unf", {"width": 64, "layers": 4}),
        "gmn": ("gmn", gmn),
        "gmn_product": ("gmn", {"width": gmn["width"], "product": True, "aggregate": "mean"}),
        "scalegmn": ("scalegmn", SCALEGMN[config]),
        "scalegmn_b": ("scalegmn", SCALEGMN[f"{config}_b"]),
        "scalegmn_probes": ("scalegmn", {**SCALEGMN[config], "probes": PROBES}),
        "scalegmn_permutation": ("scalegmn", {**SCALEGMN[config], **permutation}),
        "inr2vec": ("inr2vec", {"widths": (512, 512, 1024, 1024), "pooled": 1024}),
        "neural_graph": ("neural_graph", NEURAL_GRAPH["ng_t"]),
        "neural_graph_pna": ("neural_graph", NEURAL_GRAPH["ng_gnn"]),
        "sne_augmented": ("sne", {"chunk": 32}),
        "stat_nn": ("stat_nn", {"widths": (1000,), "code": 1000}),
        "probing": ("probing", {}),
    }


def _scalegmn(zoo, edit):
    """The keys in `SCALEGMN` of a zoo's configuration and, without views, of its data's."""
    names = {"fashion_mnist": "fmnist", "cifar10": "cifar_inr"}
    base = names.get(source(zoo).split(".")[0], "mnist")
    several = base == "cifar_inr" and augmented(zoo)
    return "mnist_edit" if edit else base + "_aug" * several, base


def training(method: str, zoo: str, edit: bool = False) -> Settings:
    """How a method was trained on such networks.

    Epochs are as many steps as on the published zoos: 55,000 training networks, of CIFAR-10
    45,000. Validation is once an epoch or every so many steps, as published.
    """
    networks = TRAINED.get(source(zoo).split(".")[0], 55_000)
    epoch = lambda batch: math.ceil(networks / batch)
    warm = Settings(50_000, schedule="constant", learning_rate=1e-3, warmup=1_000, clip=0.0)
    config, base = _scalegmn(zoo, edit)
    dwsnets = ("dwsnet",) if base == "cifar_inr" else ("dwsnet", "mlp", "inr2vec")
    if method.startswith(dwsnets) and not edit:  # 100 epochs
        each = {"steps": 100 * epoch(512), "evaluate_every": epoch(512), "batch": 512}
        each |= {"optimizer": "amsgrad", "weight_decay": 5e-4}
        return _every(warm, learning_rate=5e-3, warmup=0, **each)
    if method.startswith(("neural_graph", "dwsnet")):  # 200 epochs
        each = {"steps": 200 * epoch(128), "evaluate_every": 1_000, "batch": 128}
        more = {"clip": 1.0, "warmup": 10_000} if edit else {"clip": 10.0}
        return _every(warm, optimizer="amsgrad", weight_decay=5e-4, **each, **more)
    if method.startswith(("nfn", "mlp")) and not edit:
        each = {"steps": 200_000, "evaluate_every": 3_000, "batch": 32, "warmup": 10_000}
        return _every(warm, optimizer="adam", learning_rate=1e-4, **each)
    if edit and not method.startswith("scalegmn"):
        each = {"steps": 50_000, "evaluate_every": 1_000, "batch": 32}
        return _every(warm, optimizer="adam", **each)
    both = method.startswith("scalegmn_b")
    batch, decay = {
        "mnist": (128, 0.001 if both else 0.01),
        "fmnist": (128, 0.01),
        "cifar_inr": (64, 5e-4),
        "cifar_inr_aug": (256, 1e-4 if both else 0.001),
        "mnist_edit": (64, 0.001),
    }[config]
    if config == "cifar_inr_aug":
        steps, every = 300_000 if both else 200_000, 3_000
    elif edit:
        steps, every = 300 * epoch(batch), 1_000
    else:
        steps, every = 200 * epoch(batch), epoch(batch)
    each = {"steps": steps, "evaluate_every": every, "batch": batch}
    return _every(warm, weight_decay=decay, clip=10.0, **each)


def protocol(run: Mapping) -> Protocol:
    """How the published score was obtained that stands beside a record, for footnotes."""
    zoo, method, edit = run["train_zoo"], run["row"], "task" in run["config"]
    how = training(method, zoo, edit)
    key = source(zoo) + ", augmented" * augmented(zoo) + ", edited" * edit
    ours = run["config"].get("training", {}).get("optimizer", how.optimizer)
    trained = f"{OPTIMIZERS[ours]}, the paper: {OPTIMIZERS[how.optimizer]}"
    return Protocol(
        "the authors' INRs",
        TRAINED.get(source(zoo).split(".")[0], 55_000),
        steps=how.steps,
        batch=how.batch,
        parameters=_PARAMETERS.get(key, {}).get(method, 0),
        words="; ".join(filter(None, (trained * (ours != how.optimizer), NOTES.get(method, "")))),
    )


def _every(settings, evaluate_every, **changes):
    """With a checkpoint at each evaluation."""
    each = dict.fromkeys(("evaluate_every", "checkpoint_every"), evaluate_every)
    return dataclasses.replace(settings, **each, **changes)
