"""The datasheet of a sine zoo, and figures to compare zoos by.

statistics(zoo) -> {"networks", "arrays": {name: {mean, std}}, "fit_mse", "fit_steps"}
datasheet(zoo, manifest, reference) -> text, those of a reference beside the zoo's own
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax.networks import unravel
from wsjax.zoos import Zoo
from wsjax.zoos.sines.sine_recipe import Recipe

PERCENTILES = (0, 25, 50, 75, 90, 99, 100)
UNITS = {
    "frequency": "radians per unit of x, x in [-pi, pi)",
    "amplitude": "units of y",
    "fit_mse": "squared units of y, mean over the grid",
    "fit_steps": "steps of Adam",
}


def statistics(zoo: Zoo) -> dict[str, Any]:
    """Figures to compare two zoos by, as JSON types.

    Returns:
        `networks`; `arrays`, name -> mean and std over networks and entries; `fit_mse`
        and `fit_steps`, percentile -> value.
    """

    def percentiles(values):
        points = np.percentile(np.asarray(values, np.float64), PERCENTILES)
        return {str(p): float(v) for p, v in zip(PERCENTILES, points, strict=True)}

    arrays = {k: np.asarray(v, np.float64) for k, v in unravel(zoo.vectors, zoo.spec).items()}
    return {
        "networks": len(zoo),
        "arrays": {k: {"mean": float(v.mean()), "std": float(v.std())} for k, v in arrays.items()},
        "fit_mse": percentiles(zoo.labels["fit_mse"]),
        "fit_steps": percentiles(zoo.labels["fit_steps"]),
    }


def departures(recipe: Mapping[str, Any]) -> list[str]:
    """Where a zoo of this recipe differs from the published frequency zoo, in sentences."""
    published = dataclasses.asdict(Recipe.published())
    sentences = [
        f"{name} is {recipe[name]} instead of {value}"
        for name, value in published.items()
        if name not in ("networks", "seed") and np.any(np.not_equal(recipe[name], value))
    ]
    if not recipe["keep_unfit"]:
        sentences.append("networks above the tolerance are left out; published code keeps them")
    return [
        *sentences,
        "the sine is a polynomial, within 2e-7 of the exact one",
        "a network stops at the weights found within the tolerance; the published loop, which "
        "measures before it moves, takes one step more",
        "the published code draws b from U(0, 10) and an amplitude from U(0, 10); b from "
        "U(0.5, 10) alone is a paper's text (Andreis et al., 2024), without code",
    ]


def datasheet(
    zoo: Zoo, manifest: Mapping[str, Any], reference: Mapping[str, Any] | None = None
) -> str:
    """The datasheet of a sine zoo, as text.

    Args:
        zoo: from `sine.make`.
        manifest: from `sine.make`.
        reference: `statistics` of networks fitted by the published recipe with the exact
            sine, to stand beside this zoo's.
    """
    own, recipe, excluded = statistics(zoo), manifest["recipe"], manifest["excluded"]
    lines = ["Sine zoo", "", "Recipe"]
    lines += [f"  {name:<16}{value}" for name, value in recipe.items()]
    lines += [
        "",
        "Networks",
        f"  {len(zoo)} of {recipe['networks']} fitted; {zoo.spec.count} weights each",
        f"  {excluded['count']} excluded by the rule: {excluded['rule']}",
    ]
    if excluded["count"]:
        waves = excluded["frequencies"]
        lines.append(f"  their frequencies lie in {min(waves):.4g} .. {max(waves):.4g}")
    lines += ["", "Labels"]
    for name, values in zoo.labels.items():
        span = f"{values.min():.4g} .. {values.max():.4g}"
        lines.append(f"  {name:<12}{span:<24}{UNITS[name]}")
    lines += ["", f"Licence  {manifest['licence']}", "", *compare(own, reference)]
    lines += ["", "Differences from the published recipe"]
    lines += [f"  - {sentence}" for sentence in departures(recipe)]
    return "\n".join(lines)


def compare(own: Mapping[str, Any], reference: Mapping[str, Any] | None = None) -> list[str]:
    """Two `statistics` side by side, as lines of text."""
    head = f"{'this zoo':>13}" + (f"{'published':>13}" if reference else "")
    both = [own, reference] if reference else [own]
    lines = [f"{'Statistics':<28}{head}"]
    lines.append(f"{'  networks':<28}" + "".join(f"{s['networks']:>13d}" for s in both))
    for name in own["arrays"]:
        for what in ("mean", "std"):
            values = "".join(f"{s['arrays'][name][what]:>13.5f}" for s in both)
            lines.append(f"{f'  {name} {what}':<28}{values}")
    for label in ("fit_mse", "fit_steps"):
        for p in own[label]:
            values = "".join(f"{s[label][p]:>13.4g}" for s in both)
            lines.append(f"{f'  {label} {p} %':<28}{values}")
    return lines
