"""Predictors of a label of networks, such as their accuracy, with intervals and a domain.

predictor = predictors.fit(zoo, "accuracy")
predictions = predictor.predict(other)         values, intervals, "in" / "edge" / "out", reasons
ranking = predictor.rank(other)                with ties
predictor.save("model"); predictors.load("model")
"""

from wsjax.predictors.fitting import UnfitDataError, fit
from wsjax.predictors.predictor import (
    Predictions,
    Predictor,
    Ranking,
    expect_place,
    load,
    predict_files,
)

__all__ = [
    "Predictions",
    "Predictor",
    "Ranking",
    "UnfitDataError",
    "expect_place",
    "fit",
    "load",
    "predict_files",
]
