"""Measures of the intervals of accuracy predictors on test networks."""

from typing import Any

import numpy as np

from experiments.lib.zoo_loading import LABEL
from wsjax import metrics, predictors
from wsjax.zoos import Zoo


def coverage(predictor: predictors.Predictor, test: Zoo) -> dict[str, Any]:
    """Measures of the intervals of test networks, refused ones included.

    Those of errors and of order have 95 % bootstrap intervals over runs, "tau_interval".
    """
    predicted, truth = predictor.predict(test, anyway=True), test.labels[LABEL]
    inside = (predicted.low <= truth) & (truth <= predicted.high)
    kept = np.array([d != "out" for d in predicted.domain])
    spans = metrics.bootstrap(predicted.values, truth, test.runs)
    return {
        "coverage": float(inside.mean()),
        **({"coverage_in_domain": float(inside[kept].mean())} if kept.any() else {}),
        "width": float((predicted.high - predicted.low).mean()),
        "mae": metrics.mae(predicted.values, truth),
        "tau": metrics.kendall_tau(predicted.values, truth),
        **{f"{k}_interval": list(spans[k]) for k in ("mae", "tau")},
        "networks": len(test),
    }
