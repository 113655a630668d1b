"""Encoders: Flax modules that turn networks into codes, on one contract.

    view = encoder.view(spec)                     once, NumPy: what it must know of the spec
    variables = encoder.init(key, vectors, view)  vectors [batch, entry], as `ravel` gives
    code = encoder.apply(variables, vectors, view)  [batch, width]

`encoder.fixed` says that a model reads only the architecture it was trained on. An
encoder with `stack(views)` takes networks of several architectures in one batch, with
their views so stacked. An encoder with `calibrate(vectors, view, scales)` returns constants of
the training networks, which come in units `scales` (`wsjax.tasks.reading`); they live in the
variables under "statistics" and are not trained. An encoder with `runs` executes networks; all
others read weights alone.

Adding an encoder: write its file here, list it in `ENCODERS`, add its row to the battery
in `tests/test_encoders.py`.
"""

from wsjax.encoders.deepsets import DeepSets
from wsjax.encoders.dmc import DMC
from wsjax.encoders.dwsnet.dwsnet import DWSNet
from wsjax.encoders.gmn import GMN
from wsjax.encoders.grit import GRIT
from wsjax.encoders.hyperrep import HyperRep
from wsjax.encoders.inr2vec import INR2Vec
from wsjax.encoders.mlp import MLP
from wsjax.encoders.neural_graph import NeuralGraph
from wsjax.encoders.nfn.nfn import NFN
from wsjax.encoders.nft import NFT
from wsjax.encoders.parts.heads import Editor, Regressor, ScaleEditor
from wsjax.encoders.probing import Probing
from wsjax.encoders.scalegmn.scalegmn import ScaleGMN
from wsjax.encoders.sne import SNE
from wsjax.encoders.stat_nn import StatNN
from wsjax.encoders.transformer import Transformer
from wsjax.encoders.unf import UNF

ENCODERS = {
    "sne": SNE,
    "gmn": GMN,
    "grit": GRIT,
    "neural_graph": NeuralGraph,
    "scalegmn": ScaleGMN,
    "dwsnet": DWSNet,
    "nfn": NFN,
    "nft": NFT,
    "unf": UNF,
    "stat_nn": StatNN,
    "mlp": MLP,
    "deepsets": DeepSets,
    "transformer": Transformer,
    "inr2vec": INR2Vec,
    "dmc": DMC,
    "hyperrep": HyperRep,
    "probing": Probing,
}

__all__ = [
    "DMC",
    "ENCODERS",
    "GMN",
    "GRIT",
    "MLP",
    "NFN",
    "NFT",
    "SNE",
    "UNF",
    "DWSNet",
    "DeepSets",
    "Editor",
    "HyperRep",
    "INR2Vec",
    "NeuralGraph",
    "Probing",
    "Regressor",
    "ScaleEditor",
    "ScaleGMN",
    "StatNN",
    "Transformer",
]
