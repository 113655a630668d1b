"""Reading raw networks with a trained module.

    networks / units --module--> outputs        a raw network: its arrays as they are stored

Arrays are divided by the root mean square that arrays of their kind, role and level have
among the training networks: one number per array, so no symmetry is touched. The module
has an `encoder`, and takes (vectors [batch, entry], view, train) as encoders do; what is
fitted to its outputs is the caller's: `wsjax.prediction`, `wsjax.contrastive`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checkpoints, networks
from wsjax.encoders import ENCODERS
from wsjax.networks import Params, Spec


def build_encoder(config: Mapping) -> nn.Module:
    """The encoder that a config's "encoder" and "encoder_settings" describe.

    Raises:
        ValueError: the encoder or one of its settings is unknown.
    """
    name, settings = config["encoder"], dict(config["encoder_settings"])
    if name not in ENCODERS:
        raise ValueError(f"expected an encoder of {sorted(ENCODERS)}, got {name!r}")
    fields = {f.name for f in dataclasses.fields(ENCODERS[name])} - {"parent", "name"}
    if strange := sorted(set(settings) - fields):
        raise ValueError(f"encoder {name!r} has the settings {sorted(fields)}, got {strange}")
    frozen = lambda x: tuple(map(frozen, x)) if isinstance(x, list | tuple) else x
    return ENCODERS[name](**{k: frozen(v) for k, v in settings.items()})


def measure_scales(vectors: np.ndarray, spec: Spec) -> dict[str, float]:
    """Root mean squares of arrays in networks [network, entry], by "kind/role/level"."""
    params, squares = networks.unravel(vectors, spec), {}
    for name, kind in networks.kinds(spec).items():
        squares.setdefault(kind, []).append(np.square(params[name], dtype=np.float64).ravel())
    return {k: float(np.sqrt(np.concatenate(v).mean())) or 1.0 for k, v in squares.items()}


def units(spec: Spec, scales: Mapping[str, float]) -> np.ndarray:
    """What each entry of a raveled network is divided by, [entry].

    Raises:
        ValueError: the spec has arrays of a kind, role and level not seen in training.
    """
    found = networks.kinds(spec)
    if strange := sorted(set(found.values()) - set(scales)):
        raise ValueError(f"trained on arrays {sorted(scales)}, got also {strange}")
    return np.concatenate(
        [np.full(int(np.prod(spec.shape(a))), scales[found[a.name]]) for a in spec.arrays]
    ).astype(np.float32)


def calibrate(encoder: nn.Module, vectors: np.ndarray, view, scales: Mapping[str, float]) -> dict:
    """The encoder's constants of the training networks: {"encoder": ...}, or {} without any.

    Args:
        encoder: with a `calibrate`, if it has such constants.
        vectors: [network, entry], in units.
        view: of the spec.
        scales: as from `measure_scales`.
    """
    if not hasattr(encoder, "calibrate"):
        return {}
    return {"encoder": encoder.calibrate(vectors, view, scales)}


def bind(params, statistics: Mapping) -> dict:
    """The variables of a module: its params, and its encoder's constants if it has any."""
    return {"params": params, **({"statistics": statistics} if statistics else {})}


def statistics_to_json(statistics: Mapping) -> dict:
    """Constants as lists, for a config; `load` undoes it."""
    return jax.tree.map(lambda x: np.asarray(x).tolist(), statistics)


def load(folder: str | pathlib.Path, module: nn.Module, spec: Spec, statistics: Mapping) -> dict:
    """The best variables of a training run.

    Args:
        folder: of the run's checkpoints.
        module: what was trained.
        spec: the architecture it was trained on.
        statistics: the encoder's constants, as `statistics_to_json` wrote them.

    Raises:
        FileNotFoundError, ValueError: no such folder, or no whole checkpoint in it.
    """
    view = module.encoder.view(spec)
    abstract = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, spec.count)), view)["params"]
    )
    params = checkpoints.load(folder, abstract)
    arrays = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32), statistics, is_leaf=lambda x: isinstance(x, list)
    )
    return bind(params, arrays)


@dataclasses.dataclass(frozen=True)
class Reader:
    """A trained module, and what it takes to show it raw networks.

    Attributes:
        module: with an `encoder`.
        variables: as from `bind`.
        scales: as from `measure_scales`.
        spec: the architecture it was trained on.
    """

    module: nn.Module
    variables: Mapping
    scales: Mapping[str, float]
    spec: Spec

    def __call__(
        self, given: Params | np.ndarray, spec: Spec | None = None, method: str | None = None
    ) -> np.ndarray:
        """Applies the module, or one method of it.

        Args:
            given: named arrays of one network or, with a batch axis, of several; or raveled
                vectors [batch, entry].
            spec: what they mean; the training architecture if None.
            method: of the module; `__call__` if None.

        Returns:
            The output of one network, or of each [batch, ...].

        Raises:
            ValueError: arrays do not match the spec or are not finite, or the encoder
                cannot read this architecture.
        """
        spec = spec or self.spec
        if spec != self.spec and self.module.encoder.fixed:
            raise ValueError(
                f"{type(self.module.encoder).__name__} reads only the architecture it was "
                f"trained on, of sizes {dict(self.spec.sizes)}; got {dict(spec.sizes)}"
            )
        if isinstance(given, Mapping):
            networks.check(given, spec)
            vectors = np.asarray(networks.ravel(given, spec), np.float32)
        else:
            vectors = np.asarray(given, np.float32)
            networks.check(networks.unravel(vectors, spec), spec)
        if vectors.ndim > 2:
            raise ValueError(f"expected one network or one batch axis, got {vectors.shape}")
        rows = np.atleast_2d(vectors) / units(spec, self.scales)
        out = in_pieces(functools.partial(_apply(self.module, spec, method), self.variables), rows)
        return out if vectors.ndim == 2 else out[0]


@functools.lru_cache(maxsize=32)
def _apply(module, spec, method):
    """The jitted forward pass; the view is a constant of the program."""
    view = module.encoder.view(spec)
    return jax.jit(lambda variables, x: module.apply(variables, x, view, method=method))


def in_pieces(f: Callable[[np.ndarray], jax.Array], rows: np.ndarray, size: int = 16) -> np.ndarray:
    """F over rows [n, ...], `size` at a time: one compiled shape, bounded memory.

    Raises:
        ValueError: there are no rows.
    """
    if not len(rows):
        raise ValueError(f"expected at least one network, got {rows.shape}")
    size = min(size, len(rows))
    spare = -len(rows) % size
    padded = np.concatenate([rows, np.repeat(rows[-1:], spare, axis=0)])
    out = [np.asarray(f(padded[i : i + size])) for i in range(0, len(padded), size)]
    return np.concatenate(out)[: len(rows)]
