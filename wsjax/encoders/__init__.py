"""Encoders: Flax modules that turn networks into codes, on one contract.

    view = encoder.view(spec)                     once, NumPy: what it must know of the spec
    variables = encoder.init(key, vectors, view)  vectors [batch, entry], as `ravel` gives
    code = encoder.apply(variables, vectors, view)  [batch, width]

`encoder.fixed` says that a model reads only the architecture it was trained on. An
encoder with `stack(views)` takes networks of several architectures in one batch, with
their views so stacked. An encoder with `calibrate(vectors, view)` returns constants of
the training networks; they live in the variables under "statistics" and are not trained.

Adding an encoder: write its file here, list it in `ENCODERS`, add its row to the battery
in `tests/test_encoders.py`.
"""

from wsjax.encoders.flat import MLP, DeepSets
from wsjax.encoders.gmn import GMN
from wsjax.encoders.grit import GRIT
from wsjax.encoders.heads import Editor, Regressor, ScaleEditor
from wsjax.encoders.inr2vec import INR2Vec
from wsjax.encoders.neural_graph import NeuralGraph
from wsjax.encoders.scalegmn import ScaleGMN
from wsjax.encoders.sne import SNE
from wsjax.encoders.stat_nn import StatNN
from wsjax.encoders.transformer import Transformer

ENCODERS = {
    "sne": SNE,
    "gmn": GMN,
    "grit": GRIT,
    "neural_graph": NeuralGraph,
    "scalegmn": ScaleGMN,
    "stat_nn": StatNN,
    "mlp": MLP,
    "deepsets": DeepSets,
    "transformer": Transformer,
    "inr2vec": INR2Vec,
}

__all__ = [
    "ENCODERS",
    "GMN",
    "GRIT",
    "MLP",
    "SNE",
    "DeepSets",
    "Editor",
    "INR2Vec",
    "NeuralGraph",
    "Regressor",
    "ScaleEditor",
    "ScaleGMN",
    "StatNN",
    "Transformer",
]
