"""Prediction of a label by an auto-encoder that is trained without labels.

train (Zoo)  --Reconstruction-->  embeddings  --least squares-->  label

HyperRep (Schürholt et al., 2021): its loss is gamma * NT-Xent of two views of each network +
(1 - gamma) * squared error of the views as decoded, and a linear probe, in closed form, predicts
properties from embeddings. Checkpoints are selected by the error of decoded networks; labels of
the training networks are for the probe alone.
"""

from collections.abc import Callable

import numpy as np

from experiments.lib.methods import Method
from wsjax.tasks import Trained
from wsjax.tasks.contrastive import fit_probe
from wsjax.tasks.reconstruction import Objective, Reconstruction
from wsjax.tasks.regression import Regression
from wsjax.zoos import Zoo

Predict = Callable[[Trained, Zoo], np.ndarray]


def task(method: Method, label: str, measure: str = "mse") -> Reconstruction | Regression:
    """The task of a method: that of its objective, of reconstruction or of regression.

    Args:
        method: any with an encoder.
        label: predicted.
        measure: selects the checkpoint of a regression.
    """
    aim = method.objective
    return Reconstruction(aim) if isinstance(aim, Objective) else Regression(label, aim, measure)


def predictor(trained: Trained, train: Zoo, label: str) -> Predict:
    """Predicts the label of networks, [network]: a regression's head, or a probe fitted here.

    Args:
        trained: by the `task` of a method.
        train: with the split "train".
        label: predicted.

    Returns:
        A function of the model, which may be `trained.extend`ed, and a zoo.
    """
    if isinstance(trained.task, Regression):
        return lambda model, zoo: model.predict(zoo)
    networks, labels = train.part("train", label)
    probe = fit_probe(trained.encode(networks), labels[:, None])
    return lambda model, zoo: probe.predict(model.encode(zoo))[:, 0]
