"""Reading raw networks with a trained module.

    networks / units --module--> outputs        a raw network: its arrays as they are stored

Arrays are divided by the root mean square that arrays of their kind, role and level have
among the training networks: one number per array, so no symmetry is touched. The module
has an `encoder`, and takes (vectors [batch, entry], view, train) as encoders do; what is
fitted to its outputs is the caller's: `wsjax.tasks.regression`, `wsjax.tasks.contrastive`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import networks
from wsjax.encoders import ENCODERS
from wsjax.networks import Params, Spec
from wsjax.symmetries import permutations
from wsjax.training import checkpoints
from wsjax.views import padding
from wsjax.zoos.mixture import Mixture


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


def measure_scales(*parts: tuple[np.ndarray, Spec]) -> dict[str, float]:
    """Root mean squares of arrays in networks, by "kind/role/level"; each weight counts once.

    Args:
        parts: (vectors [network, entry], spec) of each architecture.
    """
    squares: dict[str, list[float]] = {}
    for vectors, spec in parts:
        params = networks.unravel(vectors, spec)
        for name, kind in networks.kinds(spec).items():
            total = squares.setdefault(kind, [0.0, 0.0])
            total[0] += float(np.square(params[name], dtype=np.float64).sum())
            total[1] += params[name].size
    return {k: float(np.sqrt(total / count)) or 1.0 for k, (total, count) in squares.items()}


def units(spec: Spec, scales: Mapping[str, float]) -> np.ndarray:
    """What each entry of a raveled network is divided by, [entry].

    A level that no training network had takes the scale of the nearest one (of two, the
    shallower) with arrays of its kind and role, so that deeper networks can be read.

    Raises:
        ValueError: the spec has arrays of a kind and role not seen in training.
    """
    found = networks.kinds(spec)
    taken = {kind: networks.nearest(kind, scales) for kind in set(found.values())}
    if strange := sorted(kind for kind, known in taken.items() if known is None):
        raise ValueError(f"trained on arrays {sorted(scales)}, got also {strange}")
    return np.concatenate(
        [np.full(int(np.prod(spec.shape(a))), scales[taken[found[a.name]]]) for a in spec.arrays]
    ).astype(np.float32)


def adopt(scales: Mapping[str, float], specs: Sequence[Spec]) -> dict[str, float]:
    """Scales that have something for arrays of any kind: to read what training had nothing of.

    A kind and role that is not among the scales takes what the role has at the nearest level,
    whatever the kind: an attention's or an embedding's kernel that of a dense layer or a
    convolution. What has a role that there is not either (a norm's "scale", where training had
    no norms) is read as it is stored. An encoder's own weights for such arrays, if it has any,
    are as they were drawn. For judging architectures never seen (SNE, table 4); all else
    should fail instead, as `units` does.

    Args:
        scales: as from `measure_scales`.
        specs: that are to be read.

    Returns:
        The scales, and those of the kinds that were missing.
    """
    found = dict(scales)
    for kind in sorted({k for s in specs for k in networks.kinds(s).values()}):
        if networks.nearest(kind, scales) is None:
            _, role, level = kind.split("/")
            same = {k.split("/")[0] for k in scales if k.split("/")[1] == role}
            near = [networks.nearest(f"{other}/{role}/{level}", scales) for other in sorted(same)]
            distance = lambda k, level=level: abs(int(k.split("/")[2]) - int(level))
            found[kind] = scales[min(near, key=distance)] if near else 1.0
    return found


def in_units(mixture: Mixture, scales: Mapping[str, float], width: int) -> np.ndarray:
    """The networks of a mixture in units, [network, width], zeros behind each."""
    out = np.zeros((len(mixture), width), np.float32)
    for s, spec in enumerate(mixture.specs):
        mine = mixture.which == s
        if mine.any():
            out[mine, : spec.count] = mixture.vectors[mine, : spec.count] / units(spec, scales)
    return out


@dataclasses.dataclass(frozen=True)
class Views:
    """What one compiled step must know of the architectures of a mixture.

    Attributes:
        view: the encoder's, which all architectures share; or theirs stacked [spec, ...].
        moves: of their renumberings, likewise.
        shared: which of the two.
        width: entries of the vectors.
    """

    view: Any
    moves: permutations.Moves
    shared: bool
    width: int

    def of(self, which: jax.Array) -> tuple[Any, permutations.Moves]:
        """View and moves for networks of these architectures [batch]."""
        if self.shared:
            return self.view, self.moves
        pick = lambda x: jnp.asarray(x)[which]
        return jax.tree.map(pick, self.view), jax.tree.map(pick, self.moves)


def views(encoder: nn.Module, specs: Sequence[Spec]) -> Views:
    """The `Views` of architectures.

    Architectures that look alike to the encoder, such as two that differ in an activation
    it knows nothing of, share a view. Others need an encoder that can stack views.

    Raises:
        ValueError: the encoder cannot read one of them, or not several at once.
    """
    each, moves = [encoder.view(s) for s in specs], [permutations.moves(s) for s in specs]
    if all(_same(pair, (each[0], moves[0])) for pair in zip(each, moves, strict=True)):
        return Views(each[0], moves[0], True, specs[0].count)
    if not hasattr(encoder, "stack"):
        raise ValueError(
            f"{type(encoder).__name__} reads one architecture at a time, got {len(specs)}"
        )
    width = padding.rounded(max(s.count for s in specs))
    return Views(encoder.stack(each), permutations.stack(moves, width), False, width)


def _same(one, other):
    """Whether two trees of arrays are equal, static parts included."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


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
    found = encoder.calibrate(vectors, view, scales)
    return {"encoder": found} if found else {}


def bind(params, statistics: Mapping) -> dict:
    """The variables of a module: its params, and its encoder's constants if it has any."""
    return {"params": params, **({"statistics": statistics} if statistics else {})}


def described(specs: Sequence[Spec], statistics: Mapping) -> dict:
    """What a checkpoint's config must say of the networks and constants, for `restored`."""
    return {
        "specs": [networks.to_json(spec) for spec in specs],
        "statistics": jax.tree.map(lambda x: np.asarray(x).tolist(), statistics),
    }


class Restored(NamedTuple):
    """What a training run left: see `restored`."""

    module: nn.Module
    variables: Mapping
    specs: tuple[Spec, ...]
    config: Mapping


def restored(folder: str | pathlib.Path, build: Callable[[Mapping], nn.Module]) -> Restored:
    """The module of a training run with its best variables, by nothing but the folder's path.

    Args:
        folder: of the run's checkpoints, whose config has what `described` says.
        build: config -> module.

    Raises:
        FileNotFoundError, ValueError: no such folder, or no whole checkpoint in it.
    """
    config = checkpoints.read_config(folder)
    if missing := sorted({"specs", "statistics"} - set(config)):
        raise ValueError(f"{folder}: expected a run of this version, its config has no {missing}")
    module, specs = build(config), tuple(map(networks.from_json, config["specs"]))
    view = module.encoder.view(specs[0])
    abstract = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, specs[0].count)), view)["params"]
    )
    params = checkpoints.load(folder, abstract)
    statistics = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32),
        config["statistics"],
        is_leaf=lambda x: isinstance(x, list),
    )
    return Restored(module, bind(params, statistics), specs, config)


@dataclasses.dataclass(frozen=True)
class Reader:
    """A trained module, and what it takes to show it raw networks.

    Attributes:
        module: with an `encoder`.
        variables: as from `bind`.
        scales: as from `measure_scales`.
        spec: an architecture it was trained on.
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
        self.expect_readable([spec])
        if isinstance(given, Mapping):
            networks.check(given, spec)
            vectors = np.asarray(networks.ravel(given, spec), np.float32)
        else:
            vectors = np.asarray(given, np.float32)
            networks.check(networks.unravel(vectors, spec), spec)
        if vectors.ndim > 2:
            raise ValueError(f"expected one network or one batch axis, got {vectors.shape}")
        rows = np.atleast_2d(vectors) / units(spec, self.scales)
        which = np.zeros(len(rows), np.int32)
        out = in_pieces(_apply(self.module, (spec,), method), self.variables, rows, which)
        return out if vectors.ndim == 2 else out[0]

    def mixed(self, mixture: Mixture, method: str | None = None) -> np.ndarray:
        """Applies the module to networks of several architectures, in one program.

        Args:
            mixture: of any architectures that the encoder can read together.
            method: as above.

        Returns:
            The output of each [network, ...].

        Raises:
            ValueError: the encoder cannot read one of them, or not together.
        """
        present, which = np.unique(mixture.which, return_inverse=True)
        specs = tuple(mixture.specs[s] for s in present)
        self.expect_readable(specs)
        apply = _apply(self.module, specs, method)
        rows = in_units(mixture, self.scales, views(self.module.encoder, specs).width)
        return in_pieces(apply, self.variables, rows, which.astype(np.int32))

    def encode(
        self, given: Params | np.ndarray | Mixture, spec: Spec | None, specs: Sequence[Spec]
    ) -> np.ndarray:
        """The codes, [code] or [batch, code], of whatever networks a user gives.

        Args:
            given: as in `__call__`; or a mixture, which brings its specs.
            spec: what they mean; the training architecture, if there was one, if None.
            specs: the training architectures.

        Raises:
            ValueError: as `__call__`; or the spec is left out where there were several.
        """
        if isinstance(given, Mixture):
            return self.mixed(given, "encode")
        if spec is None and len(specs) > 1:
            raise ValueError(
                f"trained on {len(specs)} architectures: expected the spec of the networks"
            )
        return self(given, spec, "encode")

    def judge(
        self, given: Params | np.ndarray | Mixture, spec: Spec | None, specs: Sequence[Spec]
    ) -> np.ndarray:
        """What the module's head says of the codes; arguments and errors as of `encode`.

        By way of codes, so that one program of the encoder serves them and what is said.
        """
        codes = self.encode(given, spec, specs)
        params = {"params": self.variables["params"].get("head", {})}
        said = in_pieces(_head(self.module.head), params, np.atleast_2d(codes), size=1024)
        return said if codes.ndim == 2 else said[0]

    def expect_readable(self, specs: Sequence[Spec]) -> None:
        """Checks that networks of these architectures can be read, together if several.

        Raises:
            ValueError: the encoder cannot read one of them, or not together; or arrays of a
                kind and role that training did not have.
        """
        encoder = self.module.encoder
        views(encoder, specs)
        for spec in specs:
            units(spec, self.scales)
            if not encoder.fixed or spec == self.spec:
                continue
            shapes = [[(a.name, s.shape(a)) for a in s.arrays] for s in (spec, self.spec)]
            if shapes[0] != shapes[1] or not _same(encoder.view(spec), encoder.view(self.spec)):
                raise ValueError(
                    f"{type(encoder).__name__} reads only the architecture it was "
                    f"trained on, of sizes {dict(self.spec.sizes)}; got {dict(spec.sizes)}"
                )


@functools.lru_cache(maxsize=32)
def _apply(module, specs, method):
    """The jitted forward pass; what it knows of architectures is a constant of the program."""
    known = views(module.encoder, specs)

    def run(variables, x, which):
        return module.apply(variables, x, known.of(which)[0], method=method)

    return jax.jit(run)


@functools.lru_cache(maxsize=32)
def _head(module):
    return jax.jit(module.apply)


def in_pieces(
    f: Callable[..., jax.Array], variables: Mapping, *rows: np.ndarray, size: int = 0
) -> np.ndarray:
    """f(variables, *rows), `size` rows [n, ...] at a time: one compiled shape, bounded memory.

    By default 16, which stay in a CPU's cache, or 256 on an accelerator.

    Raises:
        ValueError: there are no rows.
    """
    count = len(rows[0])
    if not count:
        raise ValueError(f"expected at least one network, got {rows[0].shape}")
    size = min(size or (16 if jax.default_backend() == "cpu" else 256), count)
    spare = -count % size
    padded = [np.concatenate([x, np.repeat(x[-1:], spare, axis=0)]) for x in rows]
    out = [
        np.asarray(f(variables, *(x[i : i + size] for x in padded)))
        for i in range(0, count + spare, size)
    ]
    return np.concatenate(out)[:count]
