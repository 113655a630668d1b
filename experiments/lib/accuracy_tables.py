"""Tables of judges of classifiers, from their records; see `experiments.lib.records`."""

import numpy as np

from experiments.lib import records
from experiments.lib.zoo_recipes import ZOOS
from wsjax.zoos import store

PRESETS = ("laptop", "small", "paper", "paper-published")


def judges(experiment: str, also: str = "") -> str:
    """Judges of classifiers: Kendall's tau of each row in each direction, best mean first.

    Rows that cannot read all test zoos have no mean.

    Args:
        experiment: one of those on `judging`.
        also: another of the tests' metrics, behind tau in brackets.
    """
    tables = []
    for preset in PRESETS:
        runs = records.latest(records.read(experiment, preset=preset))
        ways = list(dict.fromkeys((r["train_zoo"], r["test_zoo"]) for r in runs))
        rows = {}
        for r in runs:
            rows.setdefault(r["row"], {}).setdefault((r["train_zoo"], r["test_zoo"]), []).append(r)
        tau = lambda group: [r["metrics"]["test_tau"] for r in group if "test_tau" in r["metrics"]]
        every = lambda found, ways=ways, tau=tau: all(tau(found.get(way, [])) for way in ways)
        means = {
            name: np.mean([np.mean(tau(found[way])) for way in ways]) if every(found) else -2.0
            for name, found in rows.items()
        }
        lines, adopted = [], False
        for name in sorted(rows, key=lambda name: -means[name]):
            sizes = [r["parameters"] for g in rows[name].values() for r in g if r["parameters"]]
            cells, published = [], []
            for way in ways:
                group = rows[name].get(way, [])
                cell = records.spread(tau(group)) if tau(group) else "cannot read" if group else "–"
                if also and tau(group):
                    cell += f" ({np.mean([r['metrics'][also] for r in group]):.3f})"
                if any("adopted" in r for r in group):
                    cell += " †"
                    adopted = True
                cells.append(cell)
                published.append(group[0]["paper"] if group else "–")
            mean = f"{means[name]:.3f}" if means[name] > -2 else "–"
            size = f"{max(sizes):,}" if sizes else "–"
            lines.append([f"`{name}`", size, *cells, mean])
            if set(published) != {"–"}:
                lines.append(["*in the paper*", "", *(f"*{p}*" for p in published), ""])
        if lines:
            widths = [
                np.ptp(r["metrics"]["test_tau_interval"]) / 2
                for r in runs
                if r["steps"] and "test_tau_interval" in r["metrics"]
            ]
            devices = ", ".join(sorted({r["device"] for r in runs}))
            seconds = sum(
                {(r["row"], r["train_zoo"], r["seed"]): r["seconds"] for r in runs}.values()
            )
            head = ["row", "parameters", *(f"{a} → {b}" for a, b in ways), "mean"]
            about = f"Preset `{preset}`, on {devices}, {seconds / 60:.0f} minutes"
            if widths:
                about += (
                    f"; half a 95 % interval over test networks is {np.median(widths):.3f} wide"
                )
                about += " in the median"
            if adopted:
                about += "; † has arrays of kinds that the judge was not trained on"
            tables.append(f"{about}:\n\n{records.table(head, lines)}")
    return "\n\n".join(tables) or "No runs yet."


def embeddings() -> str:
    """How far codes tell zoos apart, whose networks they are of."""
    tables = []
    for preset in PRESETS:
        lines, rows = [], {}
        for run in records.latest(records.read("embeddings", preset=preset)):
            rows.setdefault(run["row"], []).append(run["metrics"])
        for name, group in rows.items():
            keys = ("knn_zoo_accuracy", "knn_zoo_accuracy_standardised", "label_knn_zoo_accuracy")
            keys += ("chance", "silhouette", "label_silhouette", "test_tau")
            cells = [[m[k] for m in group if k in m] for k in keys]
            lines.append([f"`{name}`", *(records.spread(c) if c else "–" for c in cells)])
        head = ["row", "5 nearest name the zoo", "standardised", "by true accuracy", "by chance"]
        head += ["silhouette", "by true accuracy", "mean τ"]
        if lines:
            tables.append(f"Preset `{preset}`:\n\n{records.table(head, lines)}")
    return "\n\n".join(tables) or "No runs yet."


def zoos() -> str:
    """The zoos of classifiers that lie in the repository."""
    lines = []
    for path in sorted(ZOOS.glob("*.json")):
        zoo, manifest = store.load(path.with_suffix(""))
        facts = manifest["facts"]
        accuracy = np.percentile(zoo.labels["test_accuracy"], [0, 25, 50, 75, 100])
        size = sum(f["bytes"] for f in manifest["files"].values()) / 2**20
        change = facts["rounding"]
        lines.append(
            [
                f"`{path.stem}`",
                f"{len(zoo)}",
                f"{facts['excluded']['count']}",
                ", ".join(f"{x:.2f}" for x in accuracy),
                f"{facts['networks_per_minute']:.0f}",
                f"{change['mean']:.5f}, {change['largest']:.4f}",
                f"{size:.1f}",
            ]
        )
    head = ["zoo", "networks", "left out", "test accuracy: least, quartiles, most"]
    head += ["networks a minute and process", "rounding changes accuracy by: mean, most", "MiB"]
    return records.table(head, lines) if lines else "No zoos yet."
