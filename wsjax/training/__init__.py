"""Training: a jitted step, a loop that resumes, checkpoints, and progress.

settings = training.Settings(steps=1000, schedule="cosine")
result = training.fit(init, loss, data, evaluate, settings, folder, config)
"""

from wsjax.training.checkpoints import SaveError
from wsjax.training.loop import (
    FitResult,
    State,
    batches,
    compilation_cache,
    data_mesh,
    fit,
    init_state,
    make_step,
)
from wsjax.training.optimizer import Settings, make_optimizer, make_schedule
from wsjax.training.progress import Interrupted

__all__ = [
    "FitResult",
    "Interrupted",
    "SaveError",
    "Settings",
    "State",
    "batches",
    "compilation_cache",
    "data_mesh",
    "fit",
    "init_state",
    "make_optimizer",
    "make_schedule",
    "make_step",
]
