"""The settings that a layer can have; `wsjax.architectures` has the table of meanings."""

from wsjax import checks
from wsjax.architectures.activations import ACTIVATIONS
from wsjax.architectures.equivariant_bases import BASES
from wsjax.networks import Spec

POOLS = ("mean", "sum", "max", "first", "tokens")
NORMS = ("batch", "group", "layer")
EMBEDDINGS = ("token", "positions", "grid", "triplane", "hash")

Values = dict[str, tuple[str, ...] | None]  # name -> values, where they can be listed
SETTINGS: dict[str, Values] = {  # by kind
    "dense": {"basis": tuple(BASES)},
    "conv": {"stride": None, "padding": None},
    "norm": {"norm": NORMS, "groups": None, "epsilon": None},
    "attention": {},
    "embedding": {"embedding": EMBEDDINGS, "resolution": None},
    "residual": {},
}
EVERYWHERE: Values = {"pool": POOLS, "max_pool": None}


def check(spec: Spec) -> None:
    """Raises `ValueError` naming every layer with an unknown activation or setting."""
    wrong = [
        f"{x.name}: expected an activation of {sorted(ACTIVATIONS)}, got {x.activation!r}"
        for x in spec.layers
        if x.activation not in ACTIVATIONS
    ]
    for layer in spec.layers:
        values = SETTINGS[layer.kind] | EVERYWHERE
        for name, value in layer.settings:
            if name not in values:
                wrong.append(
                    f"{layer.name}: expected settings of {sorted(values)} for kind "
                    f"{layer.kind!r}, got {name!r}"
                )
            elif (listed := values[name]) and value not in listed:
                wrong.append(f"{layer.name}: expected {name!r} of {listed}, got {value!r}")
    checks.raise_all("layers that cannot be run", wrong)
