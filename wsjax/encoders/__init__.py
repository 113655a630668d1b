"""Encoders: Flax modules that map networks to embeddings, on one contract (`base.Encoder`).

`README.md` beside this file compares them. `ENCODERS` lists them by name; `build` and
`describe` convert between an encoder and its name and settings.
"""

from wsjax.encoders.base import Encoder
from wsjax.encoders.deepsets import DeepSets
from wsjax.encoders.dmc import DMC
from wsjax.encoders.dwsnet.dwsnet import DWSNet
from wsjax.encoders.editors import Editor, editor
from wsjax.encoders.gmn import GMN
from wsjax.encoders.grit import GRIT
from wsjax.encoders.hyperrep import HyperRep
from wsjax.encoders.inr2vec import INR2Vec
from wsjax.encoders.mlp import MLP
from wsjax.encoders.neural_graph import NeuralGraph
from wsjax.encoders.nfn.nfn import NFN
from wsjax.encoders.nft import NFT
from wsjax.encoders.parts.heads import Regressor
from wsjax.encoders.probing import Probing
from wsjax.encoders.registry import ENCODERS, build, describe
from wsjax.encoders.scalegmn.scalegmn import ScaleGMN
from wsjax.encoders.sne import SNE
from wsjax.encoders.stat_nn import StatNN
from wsjax.encoders.transformer import Transformer
from wsjax.encoders.unf import UNF

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
    "Encoder",
    "HyperRep",
    "INR2Vec",
    "NeuralGraph",
    "Probing",
    "Regressor",
    "ScaleGMN",
    "StatNN",
    "Transformer",
    "build",
    "describe",
    "editor",
]
