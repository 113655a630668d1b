"""Zoos of classifiers at random."""

import numpy as np

from wsjax import architectures
from wsjax.zoos import Zoo, join, split

SMALL = architectures.cnn([1, 3, 3], [2], activation="relu")
TANH = architectures.cnn([1, 3, 3], [2], activation="tanh")
DEEP = architectures.cnn([1, 3, 3, 3], [2])


def classifiers(specs, n=40, seed=0):
    """The label grows with the size of the weights and, less so, with a setting."""
    rng, parts = np.random.default_rng(seed), []
    for spec in specs:
        size, rate = rng.uniform(0.2, 2, n), rng.uniform(0, 1, n)
        vectors = (rng.normal(size=(n, spec.count)) * size[:, None]).astype(np.float32)
        accuracy = (0.4 * size + 0.15 * rate).astype(np.float32)
        labels = {"test_accuracy": accuracy, "train_loss": -accuracy, "rate": rate}
        labels = {k: np.asarray(v, np.float32) for k, v in labels.items()}
        parts.append(Zoo.of_spec(vectors, spec, labels))
    whole = join(parts)
    half = len(whole) // 2
    return split(whole, {"train": half, "validation": half // 2, "test": half // 2}, seed)
