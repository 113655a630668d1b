"""Figures to compare zoos of image INRs by: each layer's weights, and how well images are fitted.

weight std   .0628 .0183 .1179      DWSNets' MNIST, layer by layer
bias std     .0213 .0110 .0999      mean of the last bias -.0124
"""

from typing import Any

import numpy as np

from wsjax.networks import Spec, unravel

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
# Of DWSNets' zoos, as Neural Graphs' code normalises by them (Kofinas et al., 2024).
PUBLISHED: dict[str, dict[str, Any]] = {
    "mnist": {
        "weight_std": [0.0628, 0.0183, 0.1179],
        "bias_std": [0.0213, 0.0110, 0.0999],
        "last_bias_mean": -0.0124,
    },
    "fashion_mnist": {
        "weight_std": [0.0782, 0.0324, 0.1346],
        "bias_std": [0.0286, 0.0167, 0.0960],
        "last_bias_mean": -0.0203,
    },
}


def layers(vectors: np.ndarray, spec: Spec) -> dict[str, Any]:
    """Per-layer figures of networks [network, entry], as JSON types.

    Returns:
        `weight_std` and `bias_std`, a number for each layer, over networks and entries;
        `last_bias_mean`.
    """
    params = unravel(np.asarray(vectors, np.float64), spec)
    of = lambda role: [params[a.name] for layer in spec.layers for a in layer.arrays
                       if a.role == role]  # fmt: skip
    return {
        "weight_std": [float(f"{x.std():.5g}") for x in of("kernel")],
        "bias_std": [float(f"{x.std():.5g}") for x in of("bias")],
        "last_bias_mean": float(f"{of('bias')[-1].mean():.5g}"),
    }


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Percentile -> value, as JSON types."""
    points = np.percentile(np.asarray(values, np.float64), PERCENTILES)
    return {str(p): float(f"{v:.5g}") for p, v in zip(PERCENTILES, points, strict=True)}


def compare(vectors: np.ndarray, spec: Spec, data: str) -> tuple[dict[str, Any], list[str]]:
    """The figures of `layers`, and lines of text with the published ones of a data set beside.

    Data sets without published figures, or networks of another depth, stand alone.
    """
    own, other = layers(vectors, spec), PUBLISHED.get(data)
    if other and len(other["weight_std"]) != len(own["weight_std"]):
        other = None
    lines = [
        f"{f'{len(vectors)} networks':<24}{'ours':>10}" + (f"{'DWSNets':>10}" if other else "")
    ]
    for name in ("weight_std", "bias_std"):
        for i, value in enumerate(own[name]):
            beside = f"{other[name][i]:>10.4f}" if other else ""
            lines.append(f"{f'{name} of layer {i}':<24}{value:>10.4f}{beside}")
    beside = f"{other['last_bias_mean']:>10.4f}" if other else ""
    lines.append(f"{'mean of the last bias':<24}{own['last_bias_mean']:>10.4f}{beside}")
    return own, lines
