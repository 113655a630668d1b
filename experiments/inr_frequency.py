"""The frequency of the sine that a network was fitted to, from its weights.

SNE, table 1 (Andreis et al., NeurIPS 2024): INRs 1-32-32-1 with sine activations, fitted to
sin(bx) on [-pi, pi], b ~ U(0.5, 10); an encoder makes an embedding of 32 numbers, a head of
two layers of 512 predicts b; mean squared error on held-out networks. The paper: SNE .098 +- .002
with 358K parameters, DWSNet .209, NFT .401, boosted trees not tried. GMN, GRIT, NeuralGraph and
ScaleGMN, which read parameter graphs and are exactly invariant, are not in the paper's table.

    python -m experiments.inr_frequency                      laptop, on 2 CPU cores
    python -m experiments.inr_frequency --methods grit,neural_graph,neural_graph_pna
    python -m experiments.inr_frequency --methods scalegmn,scalegmn_b,scalegmn_permutation
    python -m experiments.inr_frequency --preset relu --methods all    networks of ReLU instead
    python -m experiments.inr_frequency --preset paper       three seeds, for a GPU
    python -m experiments.inr_frequency --methods sne --set training.steps=20000
    python -m experiments.inr_frequency --encoder my_module:MyEncoder --set encoder.width=64
    python -m experiments.inr_frequency --evaluate runs/inr_frequency/laptop/sne-0-...

Any run can be killed at any moment; the same command goes on where it stopped. Methods that
are finished are not run again.

Protocol, where the paper is silent or we differ: the published zoo is not available, so we
make our own with its recipe (`wsjax.zoos.sines.sine`); the laptop preset trains on 4 000 networks
and tests on 1 000, where the paper's set has, by its text, 1 000 for training and 100 for testing.
Of 26 recipes tried (offset, phase, domain, rate, first weights as SIREN or PyTorch have them,
networks that share initial weights) none gives the published errors together: the flat MLP learns
only where networks share initial weights, and there SNE, UNF and DWSNet were far above the paper's
errors (short runs of one seed, not on record).
All seeds of a method share one zoo and one split: their spread is that of initial weights and
of the order of the data.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

from experiments.lib import cli, records, runs
from experiments.lib.baselines import boosted_trees, mean
from experiments.lib.label_regression import label_regression
from experiments.lib.methods import Method, Preset
from experiments.lib.zoo_loading import sine_facts, sine_zoo, zoo_of
from wsjax import metrics, storage
from wsjax.encoders.nfn.nfn import SETTINGS as NFN
from wsjax.encoders.sne import WIDE
from wsjax.tasks import restore
from wsjax.tasks.regression import Objective, Regression
from wsjax.training import Settings
from wsjax.zoos.sines import sine
from wsjax.zoos.sines.sine_datasheet import datasheet

LABEL = "frequency"
DEFAULT = ("mean", "boosted_trees", "stat_nn", "sne", "gmn_product", "scalegmn_b")
COLUMNS = {"test MSE": "test_mse", "tau": "test_tau", "R²": "test_r2"}

# how methods are trained, but for their steps; the rates are the best of three on validation, in
# short runs
QUICK = Settings(batch=32, learning_rate=1e-3, warmup=50, weight_decay=0.01)
PIECES = dataclasses.replace(QUICK, microbatch=4)  # stays in the cache of a CPU
FAST = dataclasses.replace(PIECES, learning_rate=3e-3)
SLOW = dataclasses.replace(PIECES, learning_rate=3e-4)
LARGE = {"batch": 64, "microbatch": 0, "warmup": 500, "learning_rate": 1e-3}  # on GPUs
# of SNE on CPUs: in short runs Muon was ahead of AdamW
PAIRS = {"batch": 16, "microbatch": 2, "warmup": 100, "optimizer": "muon", "learning_rate": 2e-3}
PLAIN, PERMUTED = Objective(permute=False), Objective()
INVARIANT = Objective(permute=False, invariance=0.1)  # eq. 10: the task loss is of originals
AUGMENTED = Objective(invariance=0.1)

# products of weights and neurons in messages did better on validation than sums
GRAPH = {"width": 48, "layers": 3, "aggregate": "mean", "product": True}
RELATIONAL = {"width": 32, "edge_width": 16, "attention": 64, "hidden": 64, "edge_hidden": 32}
PNA = {"backbone": "pna", "width": 32, "edge_width": 32, "head": (32, 32), "sigma": 3.0}
SIGN = {"layers": 3, "symmetry": "sign"}  # of about 115,000 parameters at the widths below
PERMUTATION = {"layers": 3, "symmetry": "permutation", "width": 48}  # what are signs worth?
SCALE = {"layers": 3, "width": 29, "symmetry": "scale"}

METHODS = {  # at the sizes of a laptop; the paper's numbers are its table 1
    "mean": Method(compute=mean),
    "boosted_trees": Method(compute=boosted_trees),
    "stat_nn": Method("stat_nn", {}, (512, 512), PLAIN, QUICK, paper="0.937 ± .276"),
    "mlp": Method("mlp", {}, (12,), PLAIN, QUICK, paper="1.917 ± .241"),
    "mlp_aug": Method("mlp", {}, (12,), PERMUTED, QUICK, paper="1.917 ± .241"),
    "deepsets": Method("deepsets", {}, (128,), PLAIN, QUICK, paper="2.674 ± .740"),
    "sne": Method("sne", {}, (512, 512), INVARIANT, QUICK, paper="0.098 ± .002"),
    "sne_augmented": Method(
        "sne", {}, (512, 512), AUGMENTED, QUICK, words="trained on permuted copies too"
    ),
    "sne_wide": Method("sne", WIDE, (512, 512), AUGMENTED, QUICK, words="wider, permuted copies"),
    "gmn": Method("gmn", {"width": 48, "layers": 3}, (512, 512), PLAIN, PIECES),
    "gmn_product": Method(
        "gmn", GRAPH, (512, 512), PLAIN, FAST, words="products and means in messages"
    ),
    "grit": Method("grit", {"width": 32, "layers": 2, "heads": 4}, (512, 512), PLAIN, PIECES),
    "neural_graph": Method(
        "neural_graph", {**RELATIONAL, "heads": 4, "layers": 3}, (512, 512), PLAIN, PIECES
    ),
    "neural_graph_pna": Method("neural_graph", PNA, (512, 512), PLAIN, PIECES),
    "scalegmn": Method(
        "scalegmn", {**SIGN, "width": 32, "backward": "none"}, (512, 512), PLAIN, FAST
    ),
    "scalegmn_b": Method("scalegmn", {**SIGN, "width": 26}, (512, 512), PLAIN, FAST),
    "scalegmn_permutation": Method("scalegmn", PERMUTATION, (512, 512), PLAIN, FAST),
    # with weights for each array of one architecture; of NFN the widths that it has on CNNs,
    # for which the paper's table gives numbers of parameters, 2.0M and 2.8M
    "nfn_np": Method(
        "nfn", {**NFN["generalisation_np"], "code": 32}, (512, 512), PLAIN, SLOW,
        paper="0.911 ± .218",
    ),
    "nfn_hnp": Method(
        "nfn", {**NFN["generalisation_hnp"], "code": 32}, (512, 512), PLAIN, PIECES,
        paper="0.998 ± .382",
    ),
    "nft": Method("nft", {}, (512, 512), PLAIN, PIECES, paper="0.401 ± .109"),
    "dwsnet": Method(
        "dwsnet", {"width": 32, "layers": 4}, (512, 512), PLAIN, PIECES, paper="0.209 ± .026"
    ),
    "unf": Method("unf", {}, (512, 512), PLAIN, PIECES),
    # these are not invariant to permutations, and are trained on permuted copies
    "dmc": Method("dmc", training=PIECES),
    "hyperrep": Method("hyperrep", training=PIECES),
    "transformer": Method("transformer", training=PIECES),
    "probing": Method("probing", {}, (512, 512), PLAIN, FAST, words="runs the network"),
}  # fmt: skip
BASELINES = {k: METHODS[k] for k in ("mean", "boosted_trees")}


def smoke() -> Preset:
    """Every kind of method for a few steps."""
    m, few = METHODS, {"batch": 16, "warmup": 3}
    sne = {"chunk_depth": 1, "depth": 1, "width": 16, "heads": 2}
    return Preset(
        BASELINES
        | {
            "stat_nn": m["stat_nn"].train(60, evaluate_every=30, **few),
            "mlp": m["mlp"].train(60, evaluate_every=30, **few),
            "deepsets": m["deepsets"].train(12, evaluate_every=6, **few),
            "sne": m["sne"].sized(**sne).train(20, batch=16, warmup=4, evaluate_every=10),
            "gmn_product": m["gmn_product"].sized(layers=1).train(12, evaluate_every=6, **few),
            "grit": m["grit"].sized(layers=1).train(12, evaluate_every=6, **few),
            "neural_graph": m["neural_graph"].sized(layers=1).train(12, evaluate_every=6, **few),
            "scalegmn_b": m["scalegmn_b"].sized(layers=1).train(12, evaluate_every=6, **few),
            "nfn_hnp": m["nfn_hnp"].train(12, evaluate_every=6, **few),
            "unf": m["unf"].sized(width=8).train(12, evaluate_every=6, **few),
            "probing": m["probing"].train(12, evaluate_every=6, **few),
        },
        "a minute on 2 CPU cores, half of it compilation",
        {"sines": sine.Recipe(networks=160, points=32)},
        {"train": 96, "validation": 32, "test": 32},
        default=DEFAULT,
    )


def laptop() -> Preset:
    """Minutes for each method on a CPU core."""
    m = METHODS
    wide = m["sne_wide"].sized(chunk_depth=1, depth=2).aimed(share=0.25)
    return Preset(
        BASELINES
        | {
            "stat_nn": m["stat_nn"].train(2500),
            "mlp": m["mlp"].train(2000, weight_decay=0.1, evaluate_every=25),
            "deepsets": m["deepsets"].train(600, microbatch=4),
            # two that are cheap, at the budget of the others
            "stat_nn_long": m["stat_nn"].train(20000),
            "deepsets_long": m["deepsets"].train(8000, microbatch=4),
            "sne": m["sne"].aimed(share=0.5).train(2000, **PAIRS),
            "sne_augmented": m["sne_augmented"].aimed(share=0.5).train(2000, **PAIRS),
            "sne_wide": wide.train(2100, batch=16, microbatch=4, warmup=100),
            "gmn": m["gmn"].train(700),
            "gmn_product": m["gmn_product"].train(700),
            "grit": m["grit"].train(500),
            "neural_graph": m["neural_graph"].train(300),
            "neural_graph_pna": m["neural_graph_pna"].train(1500),
            "scalegmn": m["scalegmn"].train(1500),
            "scalegmn_b": m["scalegmn_b"].train(450),
            "scalegmn_permutation": m["scalegmn_permutation"].train(1500),
            "nfn_np": m["nfn_np"].train(10000),
            "nfn_hnp": m["nfn_hnp"].train(10000),
            "unf": m["unf"].train(10000),
            "nft": m["nft"].train(1000),
            "dwsnet": m["dwsnet"].train(1000),
            "dmc": m["dmc"].train(8000),
            "hyperrep": m["hyperrep"].train(2500),
            "transformer": m["transformer"].train(5000),
            "mlp_aug": m["mlp_aug"].train(4000),
            "probing": m["probing"].train(4000),
        },
        "its default methods 10 minutes on 2 CPU cores, each other one 5 to 15 on a core",
        {"sines": sine.Recipe(networks=5600)},
        {"train": 4000, "validation": 500, "test": 1000},
        default=DEFAULT,
    )


def relu() -> Preset:
    """Networks of ReLU have scales: which messages back are worth having, at one size."""
    scale = dataclasses.replace(METHODS["scalegmn_b"], settings=SCALE).train(400)
    return Preset(
        BASELINES
        | {
            "gmn_product": METHODS["gmn_product"].sized(width=59).train(400),
            "scalegmn": scale.sized(backward="none", width=37),
            "scalegmn_as_published": scale.sized(backward="as_published"),
            "scalegmn_reciprocal": scale.sized(backward="reciprocal"),
            "scalegmn_gated": scale.sized(backward="gated"),
            "scalegmn_b": scale,
            "scalegmn_permutation": scale.sized(symmetry="permutation", width=48),
        },
        "a quarter of an hour on 2 CPU cores",
        {"sines": sine.Recipe.relu(networks=3600)},
        {"train": 2500, "validation": 300, "test": 800},
        default=("mean", "boosted_trees", "gmn_product", "scalegmn_b"),
    )


def long() -> Preset:
    """Three times the networks of `laptop`, and as many steps more."""
    m = METHODS
    wide = m["sne_wide"].sized(chunk_depth=1, depth=2).aimed(share=0.25)
    return Preset(
        BASELINES
        | {
            "stat_nn": m["stat_nn"].train(6000),
            "sne": m["sne"].aimed(share=0.5).train(12000, **PAIRS),
            "sne_wide": wide.train(9000, batch=16, microbatch=4, warmup=100),
            "gmn_product": m["gmn_product"].train(6000),
        },
        "an hour on 2 CPU cores",
        {"sines": sine.Recipe(networks=14000)},
        {"train": 12000, "validation": 500, "test": 1000},
    )


def paper() -> Preset:
    """The sizes of the papers; the steps are ours."""
    m, steps, default = METHODS, 20000, (*DEFAULT, "sne_chunk_8", "mlp", "deepsets")
    slow = LARGE | {"learning_rate": 5e-4}
    grit, neural_graph = (dataclasses.replace(m[k], settings={}) for k in ("grit", "neural_graph"))
    return Preset(
        BASELINES
        | {
            "stat_nn": m["stat_nn"].train(steps),
            "mlp": m["mlp"].train(steps, weight_decay=0.1),
            "deepsets": m["deepsets"].train(steps),
            "sne": m["sne"].train(steps, **slow),
            "sne_chunk_8": m["sne"].sized(chunk=8).train(steps, **slow),
            "sne_augmented": m["sne_augmented"].train(steps, **slow),
            "sne_wide": m["sne_wide"].sized(chunk=8).train(steps, **slow),
            "gmn": m["gmn"].sized(width=64, layers=4).train(steps, **LARGE),
            "gmn_product": m["gmn_product"].sized(width=64, layers=4).train(steps, **LARGE),
            "grit": grit.train(steps, batch=64, microbatch=0),
            "neural_graph": neural_graph.train(steps, batch=64, microbatch=0),
            "scalegmn": m["scalegmn"].sized(width=64).train(steps, **LARGE),
            "scalegmn_b": m["scalegmn_b"].sized(width=64).train(steps, **LARGE),
            "scalegmn_permutation": m["scalegmn_permutation"].sized(width=64).train(steps, **LARGE),
            "nfn_np": m["nfn_np"].train(steps, **LARGE),
            "nfn_hnp": m["nfn_hnp"].train(steps, **LARGE),
            "nft": m["nft"].sized(frequencies=128, blocks=4, heads=8).train(steps, **LARGE),
            "dwsnet": m["dwsnet"].sized(width=64, layers=5).train(steps, **LARGE),
            "unf": m["unf"].train(steps, **LARGE),
            "dmc": m["dmc"].train(steps, **LARGE),
            "hyperrep": m["hyperrep"].train(steps, **LARGE),
            "transformer": m["transformer"].train(steps, **LARGE),
            "mlp_aug": m["mlp_aug"].train(steps, **LARGE),
            "probing": m["probing"].train(steps, **LARGE),
        },
        "hours, for a GPU; resumable method by method",
        {"sines": sine.Recipe.published(networks=2600)},
        {"train": 1000, "validation": 500, "test": 1000},
        seeds=3,
        default=default,
    )


PRESETS = {f.__name__: f() for f in (smoke, laptop, relu, long, paper)}


def evaluate(path: pathlib.Path) -> float:
    """The test MSE of a checkpoint on the split of its training, given nothing but its path."""
    trained = restore(path, Regression)
    vectors, labels = zoo_of(trained.config, path).part("test", LABEL)
    scores = metrics.evaluate(trained.predict(vectors), labels)
    print(f"test MSE {scores['mse']:.6f} on {len(labels)} networks")
    return scores["mse"]


def reference() -> dict | None:
    """Statistics of networks fitted by the published recipe, see `experiments.make.sine_zoo`."""
    path = records.PUBLISHED / "sine_zoo_reference.json"
    return storage.read_sealed(path)["published"]["statistics"] if path.exists() else None


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("inr_frequency", __doc__, PRESETS, own=True)
    parser.add_argument("--evaluate", type=pathlib.Path, help="a checkpoint folder to measure")
    options = cli.prepare(parser.parse_args(arguments))
    if options.evaluate:
        with cli.reading(f"--evaluate {options.evaluate}"):
            evaluate(options.evaluate)
        return []
    preset = PRESETS[options.preset]
    methods = cli.choose(options, preset)
    zoo, manifest = sine_zoo(preset, options)
    print(datasheet(zoo, manifest, reference()))
    work = functools.partial(label_regression, zoo, LABEL)
    plan = runs.plan(options, preset, methods, work, **sine_facts(preset))
    table = functools.partial(runs.columns, named=COLUMNS)
    return runs.execute(plan, options, table, curves="MSE of the frequency")


if __name__ == "__main__":
    cli.run(main)
