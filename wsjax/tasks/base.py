"""The base of every task: one module, one step, one trained result.

    networks --InputScale--> [batch, entry] --encoder--> embedding --head--> loss

`Task` is what a task must state; `fitting.fit` trains any of them, and `Trained` applies the
result to raw networks: named arrays, raveled vectors or a `Zoo`.
"""

import abc
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks, networks, summaries, training
from wsjax.encoders import Encoder
from wsjax.networks import Params, Spec
from wsjax.symmetries import permutations
from wsjax.tasks.scaling import InputScale
from wsjax.views import padding, wiring
from wsjax.zoos import Zoo

Result = TypeVar("Result", bound="Trained")
Loss = tuple[jax.Array, dict[str, jax.Array]]  # the mean over a batch, and its parts by name


class Predictor(nn.Module):
    """An encoder and a head as one module."""

    encoder: Encoder
    head: nn.Module

    def __call__(self, vectors: jax.Array, view: Any, train: bool = False) -> jax.Array:
        """[batch, entry] -> the head's outputs [batch, ...]."""
        return self.head(self.encoder(vectors, view, train))

    def encode(self, vectors: jax.Array, view: Any) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        return self.encoder(vectors, view, False)


@dataclasses.dataclass(frozen=True)
class Views:
    """Index maps of the architectures of a zoo, constants of one compiled program.

    Attributes:
        specs: the architectures.
        view: the encoder's, which all architectures share; or theirs stacked [spec, ...].
        moves: of the permutations of their hidden neurons, likewise.
        shared: which of the two.
        width: entries of the vectors.
    """

    specs: tuple[Spec, ...]
    view: Any
    moves: permutations.Moves
    shared: bool
    width: int

    __repr__ = summaries.summary

    def of(self, which: jax.Array) -> tuple[Any, permutations.Moves]:
        """View and moves for networks of these architectures [batch]."""
        if self.shared:
            return self.view, self.moves
        pick = lambda x: jnp.asarray(x)[which]
        return jax.tree.map(pick, self.view), jax.tree.map(pick, self.moves)

    def permute(self, key: jax.Array, vectors: jax.Array, which: jax.Array) -> jax.Array:
        """Networks [batch, entry] with hidden neurons in a random order, each in its own."""
        shuffle = jax.vmap(permutations.shuffle, (0, 0, None if self.shared else 0))
        return shuffle(jax.random.split(key, len(vectors)), vectors, self.of(which)[1])


def views(encoder: Encoder, specs: Sequence[Spec]) -> Views:
    """The `Views` of architectures.

    Architectures with equal views, such as two that differ in an activation which the encoder
    does not read, share one. Others need an encoder that stacks views.

    Raises:
        ValueError: the encoder does not support one of them, or not several in one batch.
    """
    specs = tuple(specs)
    each, moves = [encoder.view(s) for s in specs], [permutations.moves(s) for s in specs]
    if all(_same(pair, (each[0], moves[0])) for pair in zip(each, moves, strict=True)):
        return Views(specs, each[0], moves[0], True, specs[0].count)
    width = padding.rounded(max(s.count for s in specs))
    return Views(specs, encoder.stack(each), permutations.stack(moves, width), False, width)


def _same(one, other):
    """True if two trees of arrays are equal, static parts included."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def expect_supported(
    encoder: Encoder, scale: InputScale, trained: Spec, specs: Sequence[Spec]
) -> None:
    """Checks that networks of these architectures are supported, in one batch if several.

    Args:
        encoder: of a trained module.
        scale: of its training networks.
        trained: an architecture that it was trained on.
        specs: the architectures.

    Raises:
        ValueError: the encoder does not support one of them, or not in one batch; or training
            had no arrays of a kind and role.
    """
    views(encoder, specs)
    for spec in specs:
        scale.divisors(spec)
        if encoder.reads_any or spec == trained:
            continue
        shapes = [[(a.name, s.shape(a)) for a in s.arrays] for s in (spec, trained)]
        if shapes[0] != shapes[1] or not _same(encoder.view(spec), encoder.view(trained)):
            raise ValueError(
                f"{type(encoder).__name__} supports only the architecture it was "
                f"trained on, of sizes {dict(trained.sizes)}; got {dict(spec.sizes)}"
            )


class Step(NamedTuple):
    """The module in training.

    Attributes:
        apply: normalised networks [batch, entry], the architecture of each [batch], and a key
            of dropout -> outputs.
        views: of the architectures.
        scale: of the networks.
    """

    apply: Callable[[jax.Array, jax.Array, jax.Array], Any]
    views: Views
    scale: InputScale


class Part(NamedTuple):
    """One split of the zoo that a task is trained on.

    Attributes:
        networks: of the split.
        members: [network], their positions in the whole zoo.
    """

    networks: Zoo
    members: np.ndarray


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC, Generic[Result]):
    """A task: its module, targets, loss and measures. Subclasses are frozen dataclasses.

    A task of your own subclasses it as `regression.Regression` does, and its results subclass
    `Trained`; `fit` takes an instance, and `restore` the class.

    Attributes:
        kind: its name in checkpoints.
        trained: the class of its results.
    """

    kind: ClassVar[str]
    trained: ClassVar["type[Trained]"]

    def __post_init__(self):
        checks.fields(f"{type(self).__name__} makes no sense", self)

    @property
    def selection(self) -> tuple[str, bool]:
        """The measure that selects a checkpoint, and whether its highest value is best."""
        return "mse", False

    @property
    def needs(self) -> tuple[str, ...]:
        """The labels of the zoo that it needs; none by default."""
        return ()

    @abc.abstractmethod
    def module(self, encoder: Encoder, head: Sequence[int]) -> nn.Module:
        """The module that is trained, with an attribute `encoder`.

        Args:
            encoder: of any architecture.
            head: widths of the head's layers.

        Raises:
            ValueError: the encoder does not support the task.
        """

    def check(self, zoo: Zoo, settings: training.Settings) -> None:
        """Raises a ValueError if the task cannot be trained on the zoo with these settings."""

    def constants(self, train: Zoo) -> dict[str, float]:
        """Numbers of the training labels that predictions need; {} by default."""
        return {}

    def targets(self, train: Part, constants: Mapping[str, float]) -> dict[str, np.ndarray]:
        """The arrays of a batch beside "vectors" and "which": name -> [network, ...]."""
        return {}

    @abc.abstractmethod
    def loss(self, step: Step, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        """The mean loss of a batch, and its parts by name.

        Args:
            step: the module in training, its views and its scale.
            batch: "vectors" [batch, entry] normalised, "which" [batch], and the targets.
            key: of augmentations and dropout.
        """

    @abc.abstractmethod
    def evaluate(self, trained: Result, train: Part, validation: Part) -> dict[str, float]:
        """Measures on the validation split, that of `selection` among them."""

    def finish(self, trained: Result, train: Part) -> Result:
        """Completes a result when training ends."""
        return trained

    def keep(self, trained: Result, folder: pathlib.Path) -> tuple[str, ...]:
        """Writes in the folder what `reopen` needs; the names of the files."""
        return ()

    def reopen(self, trained: Result, folder: pathlib.Path) -> Result:
        """Completes a result that `restore` read from the folder of a run or of an export."""
        return trained

    def to_json(self) -> dict[str, Any]:
        """The fields of the task, for its checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Task":
        """The task that `to_json` described; what only training needs may be missing."""
        fields = {k: networks.frozen(x) for k, x in data.items() if not isinstance(x, dict)}
        for f in dataclasses.fields(cls):
            if isinstance(nested := data.get(f.name), dict):
                kind: Any = type(f.default)
                fields[f.name] = kind(**{k: networks.frozen(x) for k, x in nested.items()})
        return cls(**fields)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained module with everything that it takes to apply it to raw networks.

    Attributes:
        task: what it was trained for.
        module: with an attribute `encoder`.
        variables: {"params": ...}, and "statistics" if the encoder has any.
        scale: of its training networks.
        specs: the architectures it was trained on.
        constants: of the training labels, as from `Task.constants`.
        config: the settings of training, and the `config` that `fit` received.
        head: widths of the head's hidden layers, as `fit` received them.
        result: of training; None after `restore`.
    """

    task: Any
    module: Any
    variables: Mapping[str, Any]
    scale: InputScale
    specs: tuple[Spec, ...]
    constants: Mapping[str, float]
    config: Mapping[str, Any]
    head: tuple[int, ...]
    result: training.FitResult | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__repr__" not in cls.__dict__:  # a dataclass would print all weights
            cls.__repr__ = Trained.__repr__

    def __repr__(self) -> str:
        parameters = sum(map(np.size, jax.tree.leaves(self.variables["params"])))
        parts = [" of ".join((self.task.kind, *map(repr, self.task.needs)))]
        parts += [type(self.module.encoder).__name__, summaries.architectures(self.specs)]
        parts += [summaries.count(parameters, "parameter")]
        return f"{type(self).__name__}({', '.join(parts)})"

    def encode(self, networks: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """Embeds networks.

        Args:
            networks: named arrays of one network or, with a batch axis, of several; or raveled
                vectors [entry] or [batch, entry]; or a zoo, which brings its specs.
            spec: their architecture; the training architecture, if there was one, if None.

        Returns:
            [code], or [batch, code].

        Raises:
            ValueError: arrays do not match the spec or are not finite, the architecture is not
                supported, the spec is left out where training had several, or networks are too
                large for a finite result in float32. Arrays and networks are named.
        """
        zoo, single = self._zoo(networks, spec)
        embeddings = self._apply(zoo, "encode")
        return embeddings[0] if single else embeddings

    def outputs(self, networks: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """The head's outputs, [...] or [batch, ...]; arguments and errors as of `encode`.

        They are computed from embeddings, so that one program of the encoder serves both.
        """
        zoo, single = self._zoo(networks, spec)
        params = {"params": self.variables["params"].get("head", {})}
        out = in_pieces(_head(self.module.head), params, self.encode(zoo), size=1024)
        self.expect_finite(zoo, out)
        return out[0] if single else out

    def _transform(
        self, given: Params | np.ndarray, spec: Spec | None, method: str | None = None
    ) -> Any:
        """Applies a method that gives networks; they come back raw, in the form given.

        Raises:
            ValueError: as `encode`, or networks have other inputs or outputs than in training.
        """
        zoo, single = self._zoo(given, spec)
        if (ends := wiring.ends(zoo.spec)) != (trained := wiring.ends(self.specs[0])):
            counted = "{} inputs and {} outputs".format
            raise ValueError(
                f"trained to change networks of {counted(*trained)}, got one of {counted(*ends)}, "
                "which is another task: train on such networks"
            )
        out = self._apply(zoo, method)
        with np.errstate(over="ignore"):
            vectors = self.scale.invert(out, zoo.spec)
        self.expect_finite(zoo, vectors)
        vectors = vectors[0] if single else vectors
        return networks.unravel(vectors, zoo.spec) if isinstance(given, Mapping) else vectors

    def extend(self, specs: Sequence[Spec]) -> "Trained":
        """The same with scales for arrays that training had none of, see `InputScale.extend`."""
        return dataclasses.replace(self, scale=self.scale.extend(specs))

    def _zoo(self, given: Params | np.ndarray | Zoo, spec: Spec | None) -> tuple[Zoo, bool]:
        """Networks as a zoo, and whether there is one without a batch axis."""
        if isinstance(given, Zoo):
            if spec is not None:
                raise ValueError("expected no spec beside a zoo, which has its own")
            return given, False
        if spec is None and len(self.specs) > 1:
            raise ValueError(
                f"trained on {len(self.specs)} architectures: expected the spec of the networks"
            )
        spec = self.specs[0] if spec is None else spec
        if isinstance(given, Mapping):
            networks.check(given, spec)
        vectors = np.asarray(networks.ravel(given, spec) if isinstance(given, Mapping) else given)
        if vectors.ndim not in (1, 2) or vectors.dtype == object:
            came = list(vectors.shape) if hasattr(given, "shape") else type(given).__name__
            raise ValueError(
                "expected networks as named arrays, a vector [entry], vectors [batch, entry] or a "
                f"Zoo; got {came}"
            )
        return Zoo.of_spec(np.atleast_2d(vectors), spec, {}), vectors.ndim == 1

    def _apply(self, zoo: Zoo, method: str | None = None) -> np.ndarray:
        """Applies a method of the module to all networks, in one program."""
        present, which = np.unique(zoo.which, return_inverse=True)
        specs = tuple(zoo.specs[s] for s in present)
        expect_supported(self.module.encoder, self.scale, self.specs[0], specs)
        vectors = self.scale.apply_zoo(zoo, views(self.module.encoder, specs).width)
        self.expect_finite(zoo, vectors)
        apply = _program(self.module, specs, method)
        out = in_pieces(apply, self.variables, vectors, which.astype(np.int32))
        self.expect_finite(zoo, out)
        return out

    def expect_finite(self, zoo: Zoo, values: np.ndarray) -> None:
        """Checks what was computed of networks.

        Args:
            zoo: the networks.
            values: [network, ...].

        Raises:
            ValueError: a value is NaN or infinite; its networks are named, and the largest of
                their weights.
        """
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(zoo), -1)).all(1))
        if not len(bad):
            return
        zoo.check()
        headline = (
            f"{type(self.module.encoder).__name__} gives NaN or infinity for "
            f"{checks.some('network', bad.tolist())} of {len(zoo)}"
        )
        if not all(np.isfinite(x).all() for x in jax.tree.leaves(self.variables)):
            raise ValueError(f"{headline}: its own weights are; restore an earlier checkpoint")
        weights = np.abs(zoo.vectors[bad])
        row, entry = np.unravel_index(weights.argmax(), weights.shape)
        spec, size = zoo.specs[zoo.which[bad[row]]], float(weights[row, entry])
        name = next(k for k, at in networks.offsets(spec).items() if (at == entry).any())
        times = size / float(self.scale.divisors(spec)[entry])
        raise ValueError(
            f"{headline}, float32 overflows: the largest weight, {size:.3g} in {name} of network "
            f"{bad[row]}, is {times:.3g} times the root mean square of such arrays in training; "
            "leave these networks out (`Zoo.select`), or train on networks of their size"
        )


@functools.lru_cache(maxsize=32)
def _program(module, specs, method):
    """The jitted forward pass; the views of architectures are constants of the program."""
    maps = views(module.encoder, specs)

    def apply(variables, vectors, which):
        return module.apply(variables, vectors, maps.of(which)[0], method=method)

    return jax.jit(apply)


@functools.lru_cache(maxsize=32)
def _head(module):
    return jax.jit(module.apply)


def in_pieces(
    f: Callable[..., jax.Array], variables: Mapping, *arrays: np.ndarray, size: int = 0
) -> np.ndarray:
    """f(variables, *arrays [n, ...]), `size` of n at a time: one compiled shape, bounded memory.

    By default 16, which stay in a CPU's cache, or 256 on an accelerator.
    """
    count = len(arrays[0])
    size = min(size or (16 if jax.default_backend() == "cpu" else 256), count)
    spare = -count % size
    padded = [np.concatenate([x, np.repeat(x[-1:], spare, axis=0)]) for x in arrays]
    out = [
        np.asarray(f(variables, *(x[i : i + size] for x in padded)))
        for i in range(0, count + spare, size)
    ]
    return np.concatenate(out)[:count]
