"""Published numbers of accuracy predictors, and how papers obtained those of all experiments.

    PAPERS["cross_dataset"]["sne", "mnist", "svhn"]      ".721 ± .001": method, training, test zoo
    PROTOCOLS["cross_dataset"].of(record)                the paper's protocol for a record

Tables read both when they are rendered; the number that a record was stamped with is not used.
Those of image INRs are in `inr_published`.
"""

from collections.abc import Mapping

from experiments.lib.protocols import Protocol
from experiments.lib.published_predictors import ABOUT, OTHERS, PARAMETERS

Paper = Mapping[tuple[str, str, str], str]  # (method, training zoo, test zoo) -> its number

_DATA = ("mnist", "fashion_mnist", "cifar10", "svhn")
# SNE
_TABLE_8 = {  # of table 8, by method and training data: tested on each of `_DATA`
    ("mlp", "mnist"): (".878 ± .001", ".486 ± .019", ".562 ± .024", ".544 ± .005"),
    ("mlp", "fashion_mnist"): (".507 ± .007", ".874 ± .001", ".515 ± .007", ".554 ± .006"),
    ("mlp", "cifar10"): (".552 ± .003", ".514 ± .005", ".880 ± .000", ".578 ± .005"),
    ("mlp", "svhn"): (".545 ± .025", ".523 ± .026", ".540 ± .027", ".809 ± .003"),
    ("stat_nn", "mnist"): (".926 ± .000", ".756 ± .006", ".773 ± .005", ".698 ± .005"),
    ("stat_nn", "fashion_mnist"): (".667 ± .010", ".915 ± .000", ".698 ± .029", ".502 ± .043"),
    ("stat_nn", "cifar10"): (".656 ± .005", ".677 ± .004", ".912 ± .001", ".728 ± .004"),
    ("stat_nn", "svhn"): (".630 ± .009", ".616 ± .007", ".746 ± .002", ".844 ± .000"),
    ("nfn_np", "mnist"): (".937 ± .000", ".726 ± .005", ".756 ± .010", ".702 ± .005"),
    ("nfn_np", "fashion_mnist"): (".755 ± .018", ".922 ± .001", ".733 ± .007", ".663 ± .014"),
    ("nfn_np", "cifar10"): (".674 ± .018", ".629 ± .031", ".924 ± .002", ".697 ± .006"),
    ("nfn_np", "svhn"): (".674 ± .008", ".567 ± .014", ".725 ± .007", ".855 ± .001"),
    ("nfn_hnp", "mnist"): (".942 ± .001", ".690 ± .008", ".758 ± .000", ".710 ± .010"),
    ("nfn_hnp", "fashion_mnist"): (".617 ± .012", ".935 ± .000", ".695 ± .032", ".662 ± .003"),
    ("nfn_hnp", "cifar10"): (".600 ± .025", ".526 ± .038", ".931 ± .000", ".662 ± .004"),
    ("nfn_hnp", "svhn"): (".647 ± .016", ".494 ± .023", ".547 ± .039", ".862 ± .002"),
    ("sne", "mnist"): (".941 ± .000", ".773 ± .009", ".792 ± .008", ".721 ± .001"),
    ("sne", "fashion_mnist"): (".722 ± .005", ".928 ± .001", ".745 ± .008", ".664 ± .003"),
    ("sne", "cifar10"): (".648 ± .006", ".643 ± .006", ".927 ± .000", ".753 ± .007"),
    ("sne", "svhn"): (".647 ± .001", ".655 ± .003", ".760 ± .006", ".858 ± .003"),
}
_CROSS_DATASET = {
    (method, train, test): tau
    for (method, train), taus in _TABLE_8.items()
    for test, tau in zip(_DATA, taus, strict=True)
}

GRID = "schuerholt"  # names zoos of conv3-linear2 by Schuerholt et al.'s own recipe, table 3
_ONE, _OTHER = (
    {d: f"{f} {d}" for d in _DATA if d != "fashion_mnist"} for f in ("conv3-gap", "conv3-linear2")
)
_TABLE_2 = {  # training and test data -> tau of DeepSets, NeuralGraph, SNE
    ("mnist", "mnist"): (".460 ± .001", ".473 ± .079", ".490 ± .027"),
    ("mnist", "cifar10"): (".508 ± .001", ".528 ± .065", ".586 ± .036"),
    ("mnist", "svhn"): (".546 ± .001", ".502 ± .119", ".535 ± .004"),
    ("cifar10", "cifar10"): (".507 ± .000", ".463 ± .131", ".660 ± .016"),
    ("cifar10", "mnist"): (".459 ± .000", ".352 ± .104", ".558 ± .037"),
    ("cifar10", "svhn"): (".545 ± .000", ".534 ± .123", ".581 ± .024"),
    ("svhn", "svhn"): (".553 ± .000", ".573 ± .067", ".609 ± .039"),
    ("svhn", "mnist"): (".480 ± .001", ".448 ± .044", ".531 ± .039"),
    ("svhn", "cifar10"): (".529 ± .000", ".539 ± .057", ".622 ± .057"),
}
_TABLE_9 = {  # of SNE
    ("mnist", "mnist"): ".452 ± .021", ("mnist", "cifar10"): ".478 ± .010",
    ("mnist", "svhn"): ".582 ± .016", ("cifar10", "cifar10"): ".511 ± .020",
    ("cifar10", "mnist"): ".467 ± .020", ("cifar10", "svhn"): ".594 ± .029",
    ("svhn", "svhn"): ".621 ± .013", ("svhn", "mnist"): ".418 ± .096",
    ("svhn", "cifar10"): ".481 ± .055",
}  # fmt: skip
_TABLE_4 = {  # training data -> of DeepSets, SNE
    "mnist": (".1975 ± .000", ".4625 ± .006"),
    "cifar10": (".1970 ± .000", ".3278 ± .029"),
    "svhn": (".1906 ± .000", ".3735 ± .009"),
}
_TABLE_3 = {"svhn": (".45", ".67"), "mnist": (".15", ".61"), "cifar10": (".10", ".68")}  # one run


def _cross_architecture():
    """Kendall's tau of SNE's tables: (method, training zoo, test zoo) -> the number."""
    paper = {}
    for (a, b), taus in _TABLE_2.items():
        for method, tau in zip(("deepsets", "neural_graph", "sne"), taus, strict=True):
            paper[method, _ONE[a], _OTHER[b]] = tau
    for (a, b), tau in _TABLE_9.items():
        paper["sne", _OTHER[a], _ONE[b]] = tau
    for a, taus in _TABLE_4.items():
        for method, tau in zip(("deepsets", "sne"), taus, strict=True):
            paper[method, _ONE[a], "vit-small mnist"] = tau
    for b, (hyperrep, sne) in _TABLE_3.items():
        paper["hyperrep_pretrained", f"{GRID} svhn", f"{GRID} {b}"] = hyperrep
        paper["sne", _ONE["svhn"], f"{GRID} {b}"] = sne
    return paper


# GMN
MANY = ("varying-cnns", "diverse")
DIRECTIONS = ("50 %", "5 %", "OOD")
_TABLE_1 = {  # of table 1, in the order of `DIRECTIONS`
    ("deepsets", "varying-cnns"): (".697 ± .002", ".648 ± .002", ".683 ± .005"),
    ("dmc", "varying-cnns"): (".876 ± .003", ".762 ± .014", ".760 ± .024"),
    ("gmn", "varying-cnns"): (".915 ± .006", ".797 ± .005", ".870 ± .010"),
    ("deepsets", "diverse"): (".559 ± .011", ".290 ± .010", ".380 ± .014"),
    ("dmc", "diverse"): (".883 ± .007", ".758 ± .013", ".566 ± .055"),
    ("gmn", "diverse"): (".908 ± .004", ".828 ± .005", ".780 ± .030"),
}
_TABLE_1_R2 = {
    ("deepsets", "varying-cnns"): (".778 ± .002", ".692 ± .006", ".741 ± .015"),
    ("dmc", "varying-cnns"): (".948 ± .009", ".816 ± .038", ".387 ± .229"),
    ("gmn", "varying-cnns"): (".978 ± .002", ".876 ± .010", ".891 ± .037"),
    ("deepsets", "diverse"): (".562 ± .020", ".126 ± .015", ".128 ± .071"),
    ("dmc", "diverse"): (".957 ± .009", ".810 ± .046", "-.134 ± .147"),
    ("gmn", "diverse"): (".975 ± .002", ".918 ± .002", ".768 ± .063"),
}
_TABLE_6 = {  # tau; the paper's GMN is GRIT there
    "nfn_hnp": ".934 ± .001", "nfn_np": ".922 ± .001", "stat_nn": ".915 ± .002",
    "nft": ".926 ± .001", "grit": ".938 ± .000",
}  # fmt: skip
_ACCURACY_PREDICTION = {  # tau, and R2 in brackets
    (method, f"{family} cifar10 {way}", "wider" if way == "OOD" else "rest"): f"{tau} ({r2})"
    for (method, family), taus in _TABLE_1.items()
    for way, tau, r2 in zip(DIRECTIONS, taus, _TABLE_1_R2[method, family], strict=True)
} | {(k, "conv3-gap cifar10 50 %", "rest"): tau for k, tau in _TABLE_6.items()}

# ScaleGMN
SUBSETS = (
    *(("cifar10", "relu"), ("cifar10", "tanh"), ("cifar10", "both")),
    *(("svhn", "relu"), ("svhn", "tanh")),
)
SYMMETRY = {"relu": "relu", "tanh": "tanh", "both": "hetero"}  # activation -> of configurations
_TRAINED = {("cifar10", "relu"): 6_024, ("cifar10", "tanh"): 5_976, ("cifar10", "both"): 12_000}
_GENERALIZATION_TAU = {  # in the order of `SUBSETS`; * from memory, not checked against the paper
    "stat_nn": (".914*", ".914*", ".915 ± .002", ".846*", ".844*"),
    "nfn_np": (".919*", ".925*", ".922 ± .001", ".859*", ".858*"),
    "nfn_hnp": (".927*", ".934*", ".934 ± .001", ".864*", ".859*"),
    "neural_graph": (".901*", ".934*", ".931*", ".855*", ".862*"),
    "scalegmn": (".928 ± .002*", ".942 ± .005*", ".941 ± .006*", ".869 ± .003*", ".874 ± .003*"),
    "scalegmn_b": (".928 ± .003*", ".943 ± .004*", ".941 ± .000*", ".865 ± .001*", ".866 ± .004*"),
}
_GENERALIZATION = {
    (method, f"{data} {activation}", activation): tau
    for method, taus in _GENERALIZATION_TAU.items()
    for (data, activation), tau in zip(SUBSETS, taus, strict=True)
}

PAPERS: Mapping[str, Paper] = {
    "cross_dataset": _CROSS_DATASET,
    "cross_architecture": _cross_architecture(),
    "accuracy_prediction": _ACCURACY_PREDICTION,
    "generalization": _GENERALIZATION,
}
NOISE = "the noise of DWSNets' code is one number for all weights of an array; a cosine here"
MEANS = "messages are means here, sums in the paper"
PROTOCOLS = {
    "inr_frequency": Protocol(  # SNE, table 1
        "the zoo of DWSNets' authors",
        networks=1000,
        words="the paper does not state how long methods are trained; the zoos differ: an MLP of "
        "the flat weights learns on theirs and stays near the mean on ours, where StatNN and "
        "DeepSets have less than half of their published errors",
        methods={
            "mlp": {"parameters": 14_000},
            "mlp_aug": {"parameters": 14_000},
            "deepsets": {"parameters": 99_000},
            "stat_nn": {"parameters": 44_000},
            "nfn_np": {"parameters": 2_000_000},
            "nfn_hnp": {"parameters": 2_800_000},
            "nft": {"parameters": 6_000_000},
            "dwsnet": {"parameters": 1_500_000},
            "sne": {"parameters": 358_000},
        },
    ),
    "inr_ablation": Protocol(  # SNE, tables 6 and 7
        "the zoo of DWSNets' authors",
        networks=1000,
        words="the paper does not state how long methods are trained",
        methods={"sne": {"parameters": 358_000}},
    ),
    "inr_self_supervised": Protocol(  # GMN, table 3, after Navon et al.
        "the zoo of DWSNets' authors",
        epochs=500,
        batch=512,
        words=NOISE,
        methods={"gmn": {"words": f"{NOISE}; {MEANS}"}},
    ),
    "cross_dataset": Protocol(
        "the zoos of Unterthiner et al.", networks=12_000, epochs=300, batch=64
    ),
    "cross_architecture": Protocol(
        "the authors' zoos",
        networks=12_000,
        epochs=300,
        batch=64,
        words="the paper's text and its appendix disagree on which architecture learns",
        zoos={"conv3-linear2": {"networks": 0}, GRID: {"data": "those of Schuerholt et al."}},
        methods={
            "neural_graph": {"words": "no augmentation"},
            "hyperrep_pretrained": {
                **{"networks": 0, "epochs": 0, "batch": 500},
                "words": "as Schuerholt et al. (2022) have it, of one run",
            },
        },
    ),
    "embeddings": Protocol("the zoos of Unterthiner et al.", networks=48_000, epochs=300, batch=64),
    "accuracy_prediction": Protocol(  # tables 1 and 6
        "the authors' zoos",
        parameters=ABOUT,
        words="the paper does not state how long methods are trained",
        zoos={
            **{f"{k} cifar10 50 %": {"networks": 15_000} for k in MANY},
            **{f"{k} cifar10 5 %": {"networks": 1_500} for k in MANY},
            "conv3-gap": {"data": "the zoo of Unterthiner et al.", "networks": 12_000},
        },
        methods={
            "gmn": {"words": f"the paper does not state how long methods are trained; {MEANS}"},
            "grit": {"parameters": PARAMETERS["grit"]},
            "stat_nn": {"epochs": 50, "batch": 8, "parameters": PARAMETERS["stat_nn"]},
            "nfn_np": {"epochs": 50, "batch": 8, "parameters": PARAMETERS["nfn_np"], "words": ""},
            "nfn_hnp": {"epochs": 50, "batch": 8, "parameters": PARAMETERS["nfn_hnp"], "words": ""},
            "nft": {"parameters": 0},
        },
    ),
    "generalization": Protocol(
        "the zoos of Unterthiner et al.",
        networks=12_000,
        epochs=200,
        zoos={
            f"{data} {activation}": {
                "networks": _TRAINED.get((data, activation), 0),
                "methods": {
                    f"scalegmn{b}": {
                        "epochs": OTHERS.get(f"{data}_{SYMMETRY[activation]}{b}", (200,))[0],
                        "parameters": PARAMETERS.get(
                            f"scalegmn {data}_{SYMMETRY[activation]}{b}", 0
                        ),
                    }
                    for b in ("", "_b")
                },
            }
            for data, activation in SUBSETS
        },
        methods={
            "stat_nn": {"epochs": 50, "batch": 8, "parameters": PARAMETERS["stat_nn"]},
            "nfn_np": {"epochs": 50, "batch": 8, "parameters": PARAMETERS["nfn_np"]},
            "nfn_hnp": {"epochs": 50, "batch": 8, "parameters": PARAMETERS["nfn_hnp"]},
            "neural_graph": {"epochs": 300, "batch": 128, "words": "no augmentation"},
        },
    ),
    "interpolation": Protocol(epochs=100),
}
