"""Tasks: train an encoder with a head on a zoo, restore it, apply it to raw networks.

trained = fit(zoo, "accuracy", SNE(chunk=8), folder="runs/first")
trained.predict(params)
trained = restore("runs/first")
export(trained, "models/first")          small, sealed, for others: `restore` reads it too
"""

from wsjax.tasks.base import Task, Trained, expect_supported
from wsjax.tasks.exports import export, restore
from wsjax.tasks.fitting import default_settings, default_splits, fit
from wsjax.tasks.scaling import InputScale

__all__ = [
    "InputScale",
    "Task",
    "Trained",
    "default_settings",
    "default_splits",
    "expect_supported",
    "export",
    "fit",
    "restore",
]
