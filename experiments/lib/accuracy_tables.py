"""Tables of zoos, and of the methods that predict a classifier's accuracy from its weights."""

import itertools
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from experiments.lib import records, tables
from experiments.lib.protocols import Footnotes, Protocol, both, of_data, of_size, of_training
from experiments.lib.published_numbers import PAPERS, PROTOCOLS, Paper
from experiments.lib.zoo_recipes import ZOOS
from wsjax.zoos import store
from wsjax.zoos.inrs import inr_statistics

ESCAPED = r"\*"  # within italics
CPU = (
    "Presets other than `paper` and `schuerholt` have encoders of CPU size, trained for 300 steps "
    "at most (`h100`: 3,000): not the papers' models, whatever their names. `sne_small` has chunks "
    "of 64, width 32, one SAB a stage, an embedding of 64 and permuted copies; the paper's SNE "
    "chunks of 32, width 64, two SABs, an embedding of 1,024 and no copies."
)


def accuracy_predictors(
    experiment: str, protocol: Protocol, paper: Paper, also: str = ""
) -> Callable[[pathlib.Path], str]:
    """The table of an experiment: Kendall's tau in each direction, the best mean first.

    Methods that do not support all test zoos have no mean. Footnotes state how our networks
    differ from the paper's, by direction, and our models and training, by method.

    Args:
        experiment: its name.
        protocol: the paper's.
        paper: its numbers.
        also: another metric of the test, behind tau in brackets.

    Returns:
        A function of the folder of records.
    """

    def table(results):
        runs = records.latest(records.read(experiment, results))
        key = lambda r: (r["row"], r["train_zoo"], r["test_zoo"])
        runs = [{**r, "paper": paper.get(key(r), "–")} for r in runs]
        groups, notes = tables.by_preset(runs).items(), Footnotes()
        sections = [_section(p, group, also, protocol, notes) for (p,), group in groups]
        memory = tables.FROM_MEMORY * any("*" in r["paper"] for r in runs)
        if any(records.bare(r["preset"]) not in ("paper", "schuerholt") for r in runs):
            sections.append(CPU)
        if notes.texts:
            sections.append(f"Published numbers: {notes.lines()}{memory}")
        return "\n\n".join(sections) or tables.EMPTY

    return table


def _section(preset, runs, also, protocol, notes):
    """The methods of one preset; on several kinds of device, a line for each."""
    directions = list(tables.grouped(runs, "train_zoo", "test_zoo"))
    several = len(set(map(records.device_kind, runs))) > 1
    by_method = {}
    for r in runs:
        name = f"`{r['row']}`" + f" on {records.device_kind(r)}" * several
        by_method.setdefault(name, {}).setdefault((r["train_zoo"], r["test_zoo"]), []).append(r)
    tau = lambda group: [r["metrics"]["test_tau"] for r in group if "test_tau" in r["metrics"]]
    means = {
        name: np.mean([np.mean(tau(groups[d])) for d in directions])
        for name, groups in by_method.items()
        if all(tau(groups.get(d, [])) for d in directions)
    }
    headings = {d: " → ".join(d) for d in directions}
    for r in runs:
        if r["paper"] != "–":  # the same of all methods of a direction
            d, theirs = (r["train_zoo"], r["test_zoo"]), protocol.of(r)
            headings[d] = " → ".join(d) + notes.mark(both(of_data(theirs, r)))
    lines = {}
    for name in sorted(by_method, key=lambda name: -means.get(name, -2.0)):
        groups = by_method[name]
        sizes = [r["parameters"] for g in groups.values() for r in g if r["parameters"]]
        cells = {"parameters": f"{max(sizes):,}" if sizes else "–"}
        for direction in directions:
            group = groups.get(direction, [])
            cell = tables.spread(tau(group)) if tau(group) else "not supported" if group else "–"
            if also and tau(group):
                cell += f" ({np.mean([r['metrics'][also] for r in group]):.3f})"
            cell += " †" * any("adopted" in r for r in group)
            cells[headings[direction]] = cell + " ‡" * any("note" in r for r in group)
        lines[name] = cells | {"mean": f"{means[name]:.3f}" if name in means else "–"}
        published = {d: group[0] for d, group in groups.items() if group[0]["paper"] != "–"}
        if published:
            theirs = protocol.of(next(iter(published.values())))
            found = of_training(theirs, list(published.values()))
            found += [x for r in published.values() for x in of_size(protocol.of(r), r)]
            marks = notes.mark(both(list(dict.fromkeys(found)))) + notes.mark(theirs.words)
            cells = {
                headings[d]: f"*{r['paper'].replace('*', ESCAPED)}*" for d, r in published.items()
            }
            if len(published) == len(directions):
                figures = [float(r["paper"].split(" ")[0].rstrip("*")) for r in published.values()]
                cells["mean"] = f"*{np.mean(figures):.3f}*"
            lines[f"*{name}, published*{marks}"] = cells
    interval = [
        np.ptp(r["metrics"]["test_tau_interval"]) / 2
        for r in runs
        if r["steps"] and "test_tau_interval" in r["metrics"]
    ]
    seconds = {(r["row"], r["train_zoo"], r["seed"]): r["seconds"] for r in runs}
    words = (
        f"Preset `{preset}`, on {tables.devices(runs)}, {sum(seconds.values()) / 60:.0f} minutes"
    )
    if interval:
        words += f"; half of a 95 % interval over test networks: {np.median(interval):.3f} (median)"
    words += _selection(runs)
    if any("adopted" in r for r in runs):
        words += "; †: the test networks have kinds of arrays that training had not"
    if any("note" in r for r in runs):
        words += "; ‡: the model is constant"
    return f"{words}:\n\n{tables.pivot(lines, 'method')}"


def _selection(runs):
    """The measure that selected checkpoints, in words, where it was not tau."""
    others = any(r.get("config", {}).get("select") != "tau" for r in runs if r["steps"])
    return "; checkpoints selected by the validation MSE" * others


def embeddings(results: pathlib.Path) -> str:
    """How well embeddings separate the zoos that their networks are from."""
    columns = {"method": tables.method} | {
        heading: tables.score(key)
        for heading, key in {
            "5 nearest neighbours name the zoo": "knn_zoo_accuracy",
            "standardised": "knn_zoo_accuracy_standardised",
            "by true accuracy": "label_knn_zoo_accuracy",
            "by chance": "chance",
            "silhouette": "silhouette",
            "of true accuracy": "label_silhouette",
            "mean τ": "test_tau",
        }.items()
    }
    runs, notes, sections = records.latest(records.read("embeddings", results)), Footnotes(), []
    for (preset,), group in tables.by_preset(runs).items():
        trained = [r for r in group if r["steps"]] or group
        theirs = PROTOCOLS["embeddings"]
        differ = of_data(theirs, group[0]), of_training(theirs, trained)
        marks = "".join(notes.mark(both(x)) for x in differ)
        table = tables.lines(group, columns, "knn_zoo_accuracy")
        where = f"Preset `{preset}`{marks}, on {tables.devices(group)}{_selection(group)}"
        sections.append(f"{where}:\n\n{table}")
    if notes.texts:
        sections.append(f"Against the paper's figure: {notes.lines()}")
    return "\n\n".join(sections) or tables.EMPTY


def classifier_zoos(_: pathlib.Path | None = None) -> str:
    """The zoos of classifiers in `experiments/zoos`."""
    lines = {}
    for path in sorted(ZOOS.glob("*.json")):
        zoo, manifest = store.load(path.with_suffix(""))
        facts, rounding = manifest["facts"], manifest["facts"]["rounding"]
        accuracy = np.percentile(zoo.labels["test_accuracy"], [0, 25, 50, 75, 100])
        size = sum(f["bytes"] for f in manifest["files"].values()) / 2**20
        lines[f"`{path.stem}`"] = {
            "networks": f"{len(zoo)}",
            "excluded": f"{facts['excluded']['count']}",
            "test accuracy: least, quartiles, most": ", ".join(f"{x:.2f}" for x in accuracy),
            "networks a minute and process": f"{facts['networks_per_minute']:.0f}",
            "change of accuracy by rounding: mean, most": (
                f"{rounding['mean']:.5f}, {rounding['largest']:.4f}"
            ),
            "MiB": f"{size:.1f}",
        }
    return tables.pivot(lines, "zoo") if lines else "No zoos yet."


def inr_zoos(results: pathlib.Path) -> str:
    """Zoos of INRs: how well they render their images; their layers beside published ones."""
    numbers = lambda values: " ".join(f"{v:.4f}".removeprefix("0") for v in values)
    origin = lambda run: run["row"].split("-")[0]  # data set and recipe
    runs = records.latest(records.read("inr_zoo", results))
    runs.sort(key=lambda r: (r["row"], r["metrics"]["networks"]))
    lines, spreads = [], ("weight_std", "bias_std")
    for name, group in itertools.groupby(runs, origin):
        for run in group:
            zoo, plan = run["metrics"], run["config"]
            psnr = ", ".join(f"{zoo['psnr'][p]:.1f}" for p in ("5", "50", "95"))
            pace = f"{zoo['networks_per_minute']:,.0f} on {', '.join(zoo['made_on'])}"
            steps = f"{plan['steps']:,} at {plan['learning_rate']:g}"
            lines.append([f"`{run['row']}`", f"{zoo['networks']:,}", steps, psnr])
            lines[-1] += [*(numbers(zoo["layers"][k]) for k in spreads), pace]
        data, _, recipe = name.partition(".")
        if recipe == "dws" and (published := inr_statistics.PUBLISHED.get(data)):
            layers = [f"*{numbers(published[k])}*" for k in spreads]
            lines.append(["*DWSNets'*", "", "", "", *layers, ""])
    head = ["zoo", "networks", "Adam's steps", "PSNR in dB: 5 %, median, 95 %"]
    head += ["std of weights, layer by layer", "of biases", "networks a minute"]
    return tables.markdown(head, lines) if lines else tables.EMPTY


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {
    **{
        name: accuracy_predictors(name, PROTOCOLS[name], PAPERS[name], also)
        for name, also in {**dict.fromkeys(PAPERS, ""), "accuracy_prediction": "test_r2"}.items()
    },
    "embeddings": embeddings,
    "zoos": classifier_zoos,
    "inr_zoos": inr_zoos,
}
