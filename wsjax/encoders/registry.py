"""Encoders by name: the table of this library's, and "module:Class" for any other.

encoder = build("sne", {"chunk": 8})
name, settings = describe(encoder)        JSON: what a checkpoint stores of it
build(name, settings) == encoder
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from wsjax import networks
from wsjax.encoders.base import Encoder
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
from wsjax.encoders.probing import Probing
from wsjax.encoders.scalegmn.scalegmn import ScaleGMN
from wsjax.encoders.sne import SNE
from wsjax.encoders.stat_nn import StatNN
from wsjax.encoders.transformer import Transformer
from wsjax.encoders.unf import UNF

ENCODERS: dict[str, type[Encoder]] = {
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


def build(name: str, settings: Mapping[str, Any] | None = None) -> Encoder:
    """The encoder of a name with these settings; its defaults where they are left out.

    Args:
        name: a key of `ENCODERS`, or "module:Class", which is imported.
        settings: fields of the encoder. Lists become tuples.

    Raises:
        ValueError: the encoder or one of its settings is unknown; the module cannot be
            imported, or has no subclass of `Encoder` of this name; or a setting makes no sense.

    >>> build("mlp", {"widths": [8, 8]}).widths
    (8, 8)
    """
    kind, settings = encoder_class(name), dict(settings or {})
    if unknown := sorted(set(settings) - (names := _fields(kind))):
        raise ValueError(f"encoder {name!r} has the settings {sorted(names)}, got {unknown}")
    return kind(**{k: networks.frozen(v) for k, v in settings.items()})


def describe(encoder: Encoder) -> tuple[str, dict[str, Any]]:
    """Name and settings of an encoder, which `build` takes.

    Raises:
        ValueError: the class is not at the top level of a module, or a setting is not JSON
            (a number, a text, a boolean, None, or a sequence of these).

    >>> describe(build("mlp"))
    ('mlp', {'widths': (12,), 'code': 32, 'readout': 'code', 'expansion': 1})
    """
    kind = type(encoder)
    settings = {
        f.name: getattr(encoder, f.name)
        for f in dataclasses.fields(encoder)
        if f.name in _fields(kind)
    }
    for name, kind_of_name in ENCODERS.items():
        if kind is kind_of_name:
            return name, settings
    if "." in kind.__qualname__:
        raise ValueError(
            "expected a class at the top level of a module, which a checkpoint can name; got "
            f"{kind.__module__}:{kind.__qualname__}"
        )
    json = lambda x: (
        all(map(json, x)) if isinstance(x, list | tuple)
        else x is None or isinstance(x, str | bool | int | float)
    )  # fmt: skip
    if wrong := [f"{k} = {x!r}" for k, x in settings.items() if not json(x)]:
        raise ValueError(
            f"{kind.__qualname__}: expected settings that are numbers, texts, booleans, None or "
            f"sequences of these, which a checkpoint can store; got {', '.join(wrong)}"
        )
    return f"{kind.__module__}:{kind.__qualname__}", settings


def encoder_class(name: str) -> type[Encoder]:
    """The class of an encoder's name; raises as `build`."""
    if name in ENCODERS:
        return ENCODERS[name]
    if not isinstance(name, str) or ":" not in name:
        raise ValueError(
            f"expected an encoder of {sorted(ENCODERS)}, or 'module:Class'; got {name!r}"
        )
    module, _, kind = name.partition(":")
    try:
        encoder = getattr(importlib.import_module(module), kind, None)
    except (ImportError, ValueError) as error:
        raise ValueError(f"encoder {name!r}: no module {module!r} to import: {error}") from error
    if not (isinstance(encoder, type) and issubclass(encoder, Encoder)):
        raise ValueError(
            f"encoder {name!r}: expected a subclass of wsjax.encoders.Encoder, got {encoder!r}"
        )
    return encoder


def _fields(kind: type[Encoder]) -> set[str]:
    return {f.name for f in dataclasses.fields(kind)} - {"parent", "name"}
