"""Zoos of MLPs at random whose label follows from the weights, for predictors."""

import contextlib

import numpy as np
import pytest

from wsjax import architectures
from wsjax.predictors import candidates, fitting
from wsjax.zoos import Zoo

SPEC = architectures.mlp([3, 5, 2], "relu")
OTHER = architectures.mlp([3, 6, 2], "relu")
TANH = architectures.mlp([3, 5, 2], "tanh")


@contextlib.contextmanager
def quick():
    """Few trees and few resamples in `fit`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "ROUNDS", 10)
        patch.setattr(fitting, "RESAMPLES", 10)
        yield


def accuracies(n, seed=0, noise=0.03, size=1.0, each=1, spec=SPEC):
    """n networks, `each` checkpoints a run; "accuracy" grows with their size, "rate" less so.

    All weights are times `size`, of which the label knows nothing.
    """
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.uniform(-0.7, 0.7, n))
    vectors = (rng.normal(size=(n, spec.count)) * scale[:, None] * size).astype(np.float32)
    accuracy = np.clip(0.5 + 0.5 * np.log(scale) + noise * rng.normal(size=n), 0.01, 0.99)
    labels = {"accuracy": accuracy, "rate": scale + rng.normal(size=n)}
    labels = {k: np.asarray(v, np.float32) for k, v in labels.items()}
    return Zoo.of_spec(vectors, spec, labels, runs=np.arange(n) // each)
