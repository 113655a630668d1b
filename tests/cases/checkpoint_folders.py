"""A folder of PyTorch checkpoints of MLPs at random, with labels."""

import csv

import numpy as np

from experiments.lib import torch_writer


def write(folder, count=30, labelled=24, seed=0):
    """Files of the sizes that the label follows from; returns the path of labels.csv."""
    rng = np.random.default_rng(seed)
    rows = [("file", "accuracy", "rate")]
    for i in range(count):
        scale = np.exp(rng.uniform(-0.7, 0.7))
        shapes = {"0.weight": (5, 3), "0.bias": (5,), "2.weight": (2, 5), "2.bias": (2,)}
        arrays = {k: (scale * rng.normal(size=s)).astype(np.float32) for k, s in shapes.items()}
        (folder / f"run_{i:02d}.pt").write_bytes(torch_writer.saved(arrays))
        accuracy = np.clip(0.5 + 0.5 * np.log(scale) + 0.03 * rng.normal(), 0.01, 0.99)
        rows.append((f"run_{i:02d}.pt", f"{accuracy:.4f}", f"{rng.uniform():.3f}"))
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows[: labelled + 1])
    return folder / "labels.csv"
