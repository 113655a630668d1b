"""Tables of records, in Markdown: of methods, the smallest error first, and of audits.

    records -> one section for each preset and zoo -> a line for each method and kind of device

`TABLES` has a function for each experiment, from the folder of its records. Those of accuracy
predictors are in `accuracy_tables`, of benchmarks in `benchmark_tables`.
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from experiments.lib import inr_published, records
from experiments.lib.protocols import (
    Footnotes,
    Protocol,
    of_data,
    of_size,
    of_training,
    theirs_alone,
)
from experiments.lib.published_numbers import PROTOCOLS
from wsjax.symmetries.audit import SYMMETRIES, VERDICTS, figure

_SIZES = ("laptop", "relu", "long", "small", "h100", "paper")
ORDER = tuple(name + custom for name in _SIZES for custom in ("", "-custom"))
EMPTY = "No runs yet."
FROM_MEMORY = " With a *: from memory, not checked against the paper."
NOTES = {  # notes of old records, in the words of today
    "told what neurons answer": "receives activations at 64 probes",
    "knows of no signs": "without sign symmetry",
    "renumbered copies": "permuted copies",
    "copies are renumbered too": "permuted copies",
    "300 steps of Adam on what it shows": "300 steps of Adam on the edited image",
    "StatNN's statistics for a code": "StatNN's statistics as the embedding",
    "no invariance loss, no renumbered copies": "no invariance loss, no permuted copies",
    "no invariance loss; renumbered copies in training": "no invariance loss; permuted copies",
    "nothing; chunk size 32": "chunk size 32",
    "StatNN's statistics as codes, boosted trees on them as judge": (
        "StatNN's statistics as the embedding, boosted trees as the head"
    ),
}

Group = Sequence[Mapping]  # records of one method on one kind of device, over seeds
Column = Callable[[Group], str]


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines]]
    return "\n".join(lines)


def pivot(lines: Mapping[str, Mapping[str, str]], corner: str) -> str:
    """A Markdown table of line -> column -> cell; a dash where a line lacks a column."""
    columns = list(dict.fromkeys(c for cells in lines.values() for c in cells))
    filled = [[name, *(cells.get(c, "–") for c in columns)] for name, cells in lines.items()]
    return markdown([corner, *columns], filled)


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Mean ± standard deviation over seeds, or the one value there is; a dash for none."""
    values = list(values)
    if not values:
        return "–"
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f} ({len(values)} seeds)"


def grouped(runs: Iterable[Mapping], *keys: str) -> dict[tuple, list[Mapping]]:
    """Records by their values of some keys, in the order in which these come first."""
    groups: dict[tuple, list[Mapping]] = {}
    for r in runs:
        groups.setdefault(tuple(r.get(k) for k in keys), []).append(r)
    return groups


def by_preset(runs: Iterable[Mapping], *keys: str) -> dict[tuple, list[Mapping]]:
    """Records by preset and other keys; presets in the order of `ORDER`, others behind."""
    place = lambda key: ORDER.index(key[0]) if key[0] in ORDER else len(ORDER)
    groups = grouped(runs, "preset", *keys)
    return {key: groups[key] for key in sorted(groups, key=place)}


def devices(runs: Iterable[Mapping]) -> str:
    """The devices of records, each once."""
    return ", ".join(sorted({r["device"] for r in runs}))


def method(group: Group) -> str:
    """The method's name and the note that sets it apart."""
    first = group[0]
    note = NOTES.get(words := first.get("words", ""), words)
    return f"`{first['row']}`, {note}" if note else f"`{first['row']}`"


def score(key: str, digits: int = 3, times: float = 1.0) -> Column:
    """The column of a metric, over seeds."""
    return lambda group: spread(
        (times * r["metrics"][key] for r in group if key in r["metrics"]), digits
    )


def epochs(group: Group) -> str:
    """Passes over the training networks; a dash for a method without steps."""
    first, config = group[0], group[0]["config"]
    if not first["steps"]:
        return "–"
    passes = first["steps"] * config["training"]["batch"] / config["sizes"]["train"]
    return f"{passes:.0f}" if passes >= 10 else f"{passes:.1f}"


def _size(group):
    """Parameters, those of the encoder alone where the record has them for an embedding."""
    return f"{group[0]['parameters']:,}" if group[0]["parameters"] else "–"


def _encoder_size(group):
    count = group[0]["metrics"].get("encoder_parameters")
    return f"{count:,}" if count else "–"


def _small(key):
    """The column of a metric that spans orders of magnitude."""

    def column(group):
        values = [r["metrics"][key] for r in group if key in r["metrics"]]
        return f"{np.mean(values):.1e}" if values else "–"

    return column


COST: dict[str, Column] = {
    "epochs": epochs,
    "seconds": lambda group: f"{np.mean([r['seconds'] for r in group]):.0f}",
}
PAPER: dict[str, Column] = {"published": lambda group: group[0]["paper"]}


def lines(runs: Iterable[Mapping], columns: Mapping[str, Column], error: str) -> str:
    """A table with a line for each method, the smallest mean error first.

    Where methods ran on several kinds of device, each has a line for each kind, and a column
    names it.
    """
    runs = [{**r, "kind": records.device_kind(r)} for r in runs]
    groups = sorted(
        grouped(runs, "row", "kind").values(),
        key=lambda group: np.mean([r["metrics"][error] for r in group]),
    )
    if len({r["kind"] for r in runs}) > 1:
        columns = {**columns, "device": devices}
    return markdown(list(columns), [[f(group) for f in columns.values()] for group in groups])


def comparison(
    experiment: str,
    results: pathlib.Path,
    scores: Mapping[str, Column],
    error: str,
    protocol: str = "",
    size: Column = _size,
    more: Mapping[str, Column] = COST,
    published: Column = PAPER["published"],
    units: Column = lambda group: "",
    standard: Callable[[Mapping], Protocol] | None = None,
) -> str:
    """The methods of an experiment, a section for each preset and zoo.

    Methods that learned from fewer networks than others of a section stand in a table of
    their own, a column for each number of training networks.

    Args:
        experiment: its name.
        results: the folder of records.
        scores: heading -> column of a metric; the first is that of fewer networks.
        error: the metric by which methods are sorted.
        protocol: how all published figures differ, in words.
        size: the column of numbers of parameters.
        more: columns behind the scores.
        published: the last column.
        units: of a section's scores, for its heading.
        standard: the paper's protocol for a record; published figures have footnotes on what
            differs, of which the table has our side.
    """
    notes, figures = Footnotes(), published
    if standard:
        published = _footnoted(figures, standard, notes)
    columns = {"method": method, "parameters": size, **scores, **more, "published": published}
    runs, sections = records.latest(records.read(experiment, results)), []
    networks = lambda r: r["config"]["sizes"]["train"]
    for (preset, zoo), group in by_preset(runs, "train_zoo").items():
        most = max(map(networks, group))
        named = [f"Preset `{preset}`", f"zoo `{zoo}`" if zoo else "", units(group)]
        where = ", ".join(filter(None, [*named, f"{most:,} training networks"]))
        table = lines([r for r in group if networks(r) == most], columns, error)
        sections.append(f"{where}, on {devices(group)}:\n\n{table}")
        fewer: dict[str, dict[int, list]] = {}
        for r in group:
            name = r["row"].removesuffix(f"_{networks(r)}")
            fewer.setdefault(name, {}).setdefault(networks(r), []).append(r)
        if any(len(by_size) > 1 for by_size in fewer.values()):
            heading, column = next(iter(scores.items()))
            cells = {
                f"`{name}`": {f"{n:,}": column(by_size[n]) for n in sorted(by_size)}
                for name, by_size in fewer.items()
                if len(by_size) > 1
            }
            table = pivot(cells, "method")
            sections.append(f"{heading}, by number of training networks:\n\n{table}")
    if not sections:
        return EMPTY
    memory = any("*" in figures([r]) for r in runs)
    words = [f"{protocol}." * bool(protocol), FROM_MEMORY.strip() * memory, notes.lines()]
    if any(words):
        sections.append(f"Published: {' '.join(filter(None, words))}")
    return "\n\n".join(sections)


def _footnoted(published, standard, notes):
    """The column of published figures, with the numbers of footnotes on how ours differ."""

    def column(group):
        if (figure := published(group)) == "–":
            return figure
        run, theirs = group[0], standard(group[0])
        differ = of_data(theirs, run), [*of_training(theirs, group), *of_size(theirs, run)]
        marks = [notes.mark(text) for text in (*map(theirs_alone, differ), theirs.words)]
        return figure + "".join(marks)

    return column


def frequency(results: pathlib.Path) -> str:
    """SNE's table 1."""
    scores = {"test MSE": score("test_mse"), "Kendall's τ": score("test_tau")}
    standard = PROTOCOLS["inr_frequency"].of
    return comparison("inr_frequency", results, scores, "test_mse", standard=standard)


def ablation(results: pathlib.Path) -> str:
    """SNE's tables 6 and 7."""
    more = {
        "invariance loss": _small("invariance"),
        "embedding error untrained": _small("untrained_code_error"),
        "trained": _small("code_error"),
    }
    scores = {"test MSE": score("test_mse")}
    standard = PROTOCOLS["inr_ablation"].of
    return comparison("inr_ablation", results, scores, "test_mse", more=more, standard=standard)


def self_supervised(results: pathlib.Path) -> str:
    """GMN's table 3."""
    names = {"test MSE": "", "of a": "_amplitude", "of b": "_frequency"}
    scores = {heading: score(f"test_mse{k}", 2) for heading, k in names.items()}
    standard = PROTOCOLS["inr_self_supervised"].of
    return comparison(
        "inr_self_supervised", results, scores, "test_mse", size=_encoder_size, standard=standard
    )


def classification(results: pathlib.Path) -> str:
    """ScaleGMN's table 1."""
    scores = {"test accuracy, %": score("test_accuracy", 1, 100.0)}
    protocol = (
        "only `paper` has the published encoders and training; `h100` and `own` have the encoders, "
        "with a cosine and an average of the variables, and other presets smaller encoders"
    )
    standard = inr_published.protocol
    return comparison(
        "inr_classification", results, scores, "test_error", protocol, standard=standard
    )


def editing(results: pathlib.Path) -> str:
    """GMN's table 2."""
    scores = {"test MSE": score("test_mse", 4)}
    units = lambda group: f"images on [{group[0]['config']['zoo']['low']:.0f}, 1]"
    published = lambda group: inr_published.editing(  # old records have those of other ranges
        group[0]["train_zoo"], group[0]["config"]["task"], group[0]["row"]
    )
    protocol = (
        "on INRs of the same data, recipe and range alone: of `mnist.dws`, on [0, 1], ScaleGMN's "
        "dilation; of `mnist.nfn` and `cifar10.nfn`, on [-1, 1], where errors are four times as "
        "large, GMN's table 2. Only `paper` has the published encoders and training. Zoos "
        "`.contrast` are of an edit of ours, twice the distance from the mean gray value; "
        "`.clahe` is the published contrast"
    )
    return comparison(
        *("inr_editing", results, scores, "test_mse", protocol),
        published=published,
        units=units,
        standard=inr_published.protocol,
    )


def interpolation(results: pathlib.Path) -> str:
    """The barrier between two classifiers before and after their neurons are matched."""
    cells, notes, published = [], Footnotes(), PROTOCOLS["interpolation"].epochs
    for run in records.latest(records.read("interpolation", results)):
        figures, config = run["metrics"], run["config"]
        keys = [
            f"{part}_barrier_{k}" for part in ("train", "test") for k in ("as_trained", "matched")
        ]
        both = f"{figures['test_accuracy']:.3f}, {figures['test_accuracy_2']:.3f}"
        shape = f"{config['depth']} x {config['width']}"
        epochs = str(config["epochs"])
        if config["epochs"] != published:
            epochs += notes.mark(f"the paper: {published} epochs")
        cells.append([config["data"], shape, epochs, both])
        cells[-1] += [*(f"{figures[k]:.3f}" for k in keys), run["device"]]
    head = ["images", "hidden layers", "epochs", "test accuracy of the two", "barrier, training"]
    head += ["matched", "barrier, test", "matched", "device"]
    return f"{markdown(head, cells)}\n\n{notes.lines()}".rstrip() if cells else EMPTY


def audit_cell(run: Mapping, symmetry: str) -> str:
    """The verdicts of an audit on one symmetry, over networks and precisions; the worst first.

    Behind a verdict stands the largest change of an embedding in float32 and, of exact
    and approximate ones, in float64. A precision is named where the verdicts of the two differ.
    """
    groups, unsupported = {}, []
    for network, by_dtype in run["metrics"].items():
        audited = [by_dtype[dtype][symmetry] for dtype in ("float32", "float64")]
        if all(r["verdict"] == "not applicable" for r in audited):
            if audited[0]["reason"].startswith("the wider network"):
                unsupported.append(network)
        else:
            groups.setdefault(tuple(r["verdict"] for r in audited), {})[network] = audited
    if not groups:
        return "not supported" if unsupported else "–"
    texts = []
    badness = lambda verdicts: max(map(VERDICTS.index, verdicts))
    for verdicts in sorted(groups, key=badness, reverse=True):
        pairs = zip(*groups[verdicts].values(), strict=True)
        largest = [figure(max(r["change"] or 0.0 for r in audited)) for audited in pairs]
        if len(set(verdicts)) > 1:
            both = zip(verdicts, largest, ("float32", "float64"), strict=True)
            text = ", ".join(f"{v} ({x}) in {dtype}" for v, x, dtype in both)
        elif verdicts[0] in ("broken", "blind"):
            text = f"{verdicts[0]} ({largest[0]})" if verdicts[0] == "broken" else "blind"
        else:
            text = f"{verdicts[0]} ({largest[0]}; {largest[1]})"
        texts.append((text, groups[verdicts]))
    rest = [f"not supported: {', '.join(unsupported)}"] if unsupported else []
    if len(texts) == 1:
        return "; ".join([texts[0][0], *rest])
    named = [f"{text}: {', '.join(networks)}" for text, networks in texts[:-1]]
    return "; ".join([*named, f"else {texts[-1][0]}", *rest])


def audits(results: pathlib.Path) -> str:
    """The symmetries of each encoder."""
    cells = []
    for run in records.latest(records.read("audits", results)):
        networks = "all but " + ", ".join(run["refused"]) if run["refused"] else "all"
        cells.append([f"`{run['row']}`", networks, *(audit_cell(run, s) for s in SYMMETRIES)])
    return markdown(["encoder", "networks", *SYMMETRIES], cells) if cells else EMPTY


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {
    "inr_frequency": frequency,
    "inr_ablation": ablation,
    "inr_self_supervised": self_supervised,
    "inr_classification": classification,
    "inr_editing": editing,
    "interpolation": interpolation,
    "audits": audits,
}
