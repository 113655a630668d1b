"""Encoders: Flax modules that turn networks into codes, on one contract.

    view = encoder.view(spec)                     once, NumPy: what it must know of the spec
    variables = encoder.init(key, vectors, view)  vectors [batch, entry], as `ravel` gives
    code = encoder.apply(variables, vectors, view)  [batch, width]

`encoder.fixed` says that a model reads only the architecture it was trained on. An
encoder with `calibrate(vectors, view)` returns constants of the training networks; they
live in the variables under "statistics" and are not trained.

Adding an encoder: write its file here, list it in `ENCODERS`, add its row to the battery
in `tests/test_encoders.py`.
"""

from wsjax.encoders.flat import MLP, DeepSets
from wsjax.encoders.heads import Regressor
from wsjax.encoders.sne import SNE
from wsjax.encoders.stat_nn import StatNN

ENCODERS = {"sne": SNE, "stat_nn": StatNN, "mlp": MLP, "deepsets": DeepSets}

__all__ = ["ENCODERS", "MLP", "SNE", "DeepSets", "Regressor", "StatNN"]
