"""The contract of every encoder: a Flax module that maps networks to embeddings.

view = encoder.view(spec)                        once, NumPy: what it needs of the spec
variables = encoder.init(key, vectors, view)     vectors [batch, entry], as `ravel` gives
embeddings = encoder.apply(variables, vectors, view)               [batch, code]
"""

import abc
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np

from wsjax import checks
from wsjax.encoders.parts import settings
from wsjax.networks import Spec, expect_spec, frozen


class Encoder(nn.Module, abc.ABC):
    """A metanetwork that embeds the networks of a batch.

    Vectors [batch, entry] are networks as `networks.ravel` lays them out, normalised
    (`wsjax.tasks.scaling`). A *view* is a tree of NumPy arrays, derived from a `Spec` by `view`:
    index maps, masks, a graph. It is built once for each architecture and is a constant of the
    compiled program, so values are traced and structure is not. Two specs with equal views are
    one architecture to the encoder.

    A batch of one architecture shares one view, whose arrays have no batch axis. A batch of
    several has `stack(views)`: the arrays of each view, padded to common sizes, with a batch axis
    in front; the vectors are padded with zeros at their ends. Padding must not change an
    embedding. An encoder with `mixes` supports both.

    Constants of the training networks, such as the mean of a feature, are returned by
    `calibrate`. They are stored in the collection "statistics" and are not trained:
    `self.variable("statistics", name, ...)`.

    Adding an encoder, in three steps:

    1. Subclass `Encoder`, here or in a module of yours: fields with defaults, `view`,
       `__call__`, and the attributes below where they differ from the defaults.
    2. Measure what it respects with `wsjax.testing.audit`, and hold it to that in a test with
       `wsjax.testing.assert_encoder`.
    3. Pass an instance to `wsjax.tasks.fit`. In this repository, add it to `ENCODERS`
       (`registry.py`) and a small instance to `tests/cases/encoders.py`.

    Attributes:
        reads_any: one trained model supports architectures other than that of training.
        mixes: it supports several architectures in one batch, by `stack`.
        edits: it has an output for each parameter: fields `readout` and `expansion`, and with
            readout="edit" a result [batch, entry], the change of each entry; or `states`, as
            `GMN` has. See `editors.editor`.
        runs_network: it evaluates the networks. All others read weights alone.

    >>> import jax.numpy as jnp
    >>> from wsjax import architectures
    >>> from wsjax.views.arrays import arrays_view
    >>> class Norms(Encoder):
    ...     "A linear map of the norm of each array."
    ...     code: int = 4
    ...     def view(self, spec):
    ...         return arrays_view(spec)
    ...     @nn.compact
    ...     def __call__(self, vectors, view, train=False):
    ...         member = jax.nn.one_hot(view.array, len(view.spec.arrays))  # [entry, array]
    ...         return nn.Dense(self.code)(jnp.sqrt(jnp.square(vectors) @ member))
    >>> spec = architectures.mlp([1, 8, 1])
    >>> encoder, vectors = Norms(), jnp.ones((3, spec.count))
    >>> view = encoder.view(spec)
    >>> variables = encoder.init(jax.random.key(0), vectors, view)
    >>> encoder.apply(variables, vectors, view).shape
    (3, 4)
    """

    reads_any: ClassVar[bool] = False
    mixes: ClassVar[bool] = False
    edits: ClassVar[bool] = False
    runs_network: ClassVar[bool] = False

    def __post_init__(self):
        for f in dataclasses.fields(self):  # lists become tuples, which are hashable
            object.__setattr__(self, f.name, frozen(getattr(self, f.name)))
        checks.fields(settings.WRONG, self)
        super().__post_init__()

    def __init_subclass__(cls, **settings):
        super().__init_subclass__(**settings)
        if view := cls.__dict__.get("view"):

            @functools.wraps(view)
            def checked(self, spec):
                expect_spec(spec)
                return view(self, spec)

            cls.view = checked

    @abc.abstractmethod
    def view(self, spec: Spec) -> Any:
        """A tree of NumPy arrays that describes an architecture.

        Raises:
            ValueError: the architecture is not supported; the layer or array is named.
        """

    def stack(self, views: Sequence[Any]) -> Any:
        """The views of a batch of several architectures, padded, with a batch axis in front.

        Raises:
            ValueError: the encoder supports one architecture in a batch.
        """
        raise ValueError(
            f"{type(self).__name__} reads one architecture at a time, got {len(views)}"
        )

    def calibrate(
        self, vectors: np.ndarray, view: Any, scales: Mapping[str, float]
    ) -> dict[str, Any]:
        """Constants of the training networks, by their names in "statistics"; {} by default.

        Args:
            vectors: [network, entry], normalised.
            view: of their architecture.
            scales: root mean squares that arrays were divided by, "kind/role/level" -> number.

        Raises:
            ValueError: what the constants need is missing.
        """
        return {}

    @abc.abstractmethod
    def __call__(self, vectors: jax.Array, view: Any, train: bool = False) -> jax.Array:
        """Embeds networks.

        Args:
            vectors: [batch, entry].
            view: of their architecture, or `stack` of theirs.
            train: in training: drop out, with a key "dropout".

        Returns:
            [batch, code].
        """


def expect_encoder(encoder: object) -> None:
    """Raises a ValueError if this is not an instance of `Encoder`, with how to get one."""
    if not isinstance(encoder, Encoder):
        if isinstance(encoder, type) and issubclass(encoder, Encoder):
            came = f"the class {encoder.__name__}, not {encoder.__name__}(...)"
        else:
            came = repr(encoder) if isinstance(encoder, str) else type(encoder).__name__
        raise ValueError(f"expected an instance of wsjax.encoders.Encoder, got {came}")
