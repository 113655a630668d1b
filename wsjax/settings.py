"""Settings of a network that its weights do not hold: the config of `recognition.recognize`.

A config of one's own has the names of `SETTINGS`. Hugging Face's `config.json` has many more,
which are ignored.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

HUGGING_FACE = frozenset({"model_type", "architectures", "transformers_version"})  # keys of theirs
# activations as configurations spell them -> as `networks.ACTIVATIONS` does
SPELLINGS = {
    **{name: name for name in ("relu", "tanh", "sin", "leaky_relu", "silu", "sigmoid", "gelu")},
    **dict.fromkeys(("gelu_tanh", "gelu_new", "gelu_pytorch_tanh"), "gelu_tanh"),
    **{"swish": "silu", "none": "none", "linear": "none"},
}


class Kind(NamedTuple):
    """A type of values: whether a value is of it, and its name."""

    holds: Callable[[Any], bool]
    words: str


class Setting(NamedTuple):
    """A setting: its words, the type of its values, and all of these if they are few."""

    words: str
    kind: Kind
    choices: tuple[str, ...] = ()


def _is_real(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


ANY = Kind(lambda x: True, "anything")
TEXT = Kind(lambda x: isinstance(x, str), "a text")
TEXTS = Kind(
    lambda x: isinstance(x, list | tuple) and all(isinstance(y, str) for y in x), "a list of texts"
)
COUNT = Kind(lambda x: isinstance(x, int) and _is_real(x) and x > 0, "a whole number of 1 or more")
NUMBER = Kind(lambda x: _is_real(x) and math.isfinite(x), "a finite number")
FLAG = Kind(lambda x: isinstance(x, bool), "true or false")

_ACTIVATION = Setting("after each layer but the last", TEXT, tuple(SPELLINGS))
_HEADS = Setting("of each attention", COUNT)
_EPSILON = Setting("of norms", NUMBER)
_ROTATED = Setting("given: queries and keys are rotated by their position", ANY)
SETTINGS: Mapping[str, Setting] = {
    **dict.fromkeys(("activation", "hidden_act", "activation_function"), _ACTIVATION),
    "omega": Setting("factor inside a sine", NUMBER),
    **dict.fromkeys(("heads", "num_attention_heads", "n_head", "num_heads"), _HEADS),
    **dict.fromkeys(("kv_heads", "num_key_value_heads"), Setting("of keys and values", COUNT)),
    "head_dim": Setting("width of a head", COUNT),
    **dict.fromkeys(("rotary", "rope_theta", "rope_scaling", "rope_parameters"), _ROTATED),
    "alibi": Setting("whether attention has a bias by distance", FLAG),
    "tied": Setting("whether the output is tied to the embedding", FLAG),
    "architectures": Setting("Hugging Face's classes", TEXTS),
    "model_type": Setting("Hugging Face's family", TEXT),
    "family": Setting(
        "of `wsjax.architectures`",
        TEXT,
        ("vit", "cnn", "resnet", "deepsets", "equivariant", "grid", "triplane", "hash_grid"),
    ),
    "order": Setting("names of the layers' modules, in order of computation", TEXTS),
    "chain": Setting("whether every layer reads the one before and nothing else", FLAG),
    "norm": Setting("of norms whose names do not tell", TEXT, ("layer", "group")),
    "groups": Setting("of GroupNorms", COUNT),
    "norm_first": Setting("whether norms come before activations", FLAG),
    **dict.fromkeys(("epsilon", "layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps"), _EPSILON),
    **dict.fromkeys(
        ("stride", "padding", "max_pool", "pool", "size", "stem", "basis", "coarsest", "finest"),
        Setting("as an argument of the family's function in `wsjax.architectures`", ANY),
    ),
    "flatten": Setting("channels of flattened images", TEXT, ("first", "last")),
    "flattened": Setting("(rows, columns) of flattened images", ANY),
    "grouped": Setting("whether convolutions whose shapes do not fit are grouped", FLAG),
    "transposed": Setting("whether convolutions whose shapes do not fit are transposed", FLAG),
}


def misfits(config: Mapping[str, Any]) -> dict[str, str]:
    """A sentence for each setting that is of another type; names that are not known have none.

    >>> misfits({"heads": "x", "omega": 30.0, "vocab_size": 7})
    {'heads': "heads: expected a whole number of 1 or more, got 'x'"}
    """
    known = ((name, x, SETTINGS[name].kind) for name, x in config.items() if name in SETTINGS)
    return {
        name: f"{name}: expected {kind.words}, got {x!r}"
        for name, x, kind in known
        if not kind.holds(x)
    }


def unknown(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each name that is no setting, and for each text that is none of the choices.

    >>> unknown({"activaton": "relu"})[0][:54]
    "activaton: no such setting, did you mean 'activation'?"
    >>> unknown({"flatten": "lst"})
    ["flatten=lst: expected one of first, last, did you mean 'last'?"]
    """
    out = []
    for name, value in config.items():
        if name not in SETTINGS:
            nearest = _nearest(name, SETTINGS)
            out.append(f"{name}: no such setting{nearest or '.'} Expected {', '.join(SETTINGS)}")
            continue
        choices = SETTINGS[name].choices
        if choices and isinstance(value, str) and value not in choices:
            nearest = _nearest(value, choices)
            out.append(f"{name}={value}: expected one of {', '.join(choices)}{nearest}")
    return out


def _nearest(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, words, 1)
    return f", did you mean {near[0]!r}?" if near else ""


def activation(config: Mapping[str, Any] | None) -> str | None:
    """The activation that a config states, as Specs spell it; None without one.

    >>> activation({"activation": "swish"}), activation({})
    ('silu', None)
    """
    stated = (config or {}).get("activation")
    return None if stated is None else SPELLINGS.get(str(stated).lower(), str(stated))
