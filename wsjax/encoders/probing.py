"""Probing: an MLP on the outputs of the network for learned inputs.

    p_1, ..., p_k                      learned inputs, the probes
    f_theta(p_1), ..., f_theta(p_k)    its outputs
    embedding = MLP of all outputs, side by side

Non-interactive probing of Herrmann et al. (2024) for recurrent networks, and the vanilla probing
of Kahana et al. (2024). It is a ceiling, and no peer of the other encoders: they read weights
alone, this one RUNS THE NETWORK (`runs_network = True`, which no other has), by
`architectures.forward`. It reads outputs alone and no hidden neurons, so it is
exactly invariant to every symmetry that the function has, permutations and scalings among them,
and blind to everything that the function on its probes does not show.

What is run must be the network as it was trained. Networks reach an encoder normalised: arrays
divided by the root mean square of their kind (`wsjax.tasks.scaling`). `calibrate` keeps
those under "statistics", and they are multiplied back before the network is run; without,
it is taken as it comes.

An output that is NaN or infinite makes the whole embedding NaN, on purpose: training then
stops. Nothing hides a network that diverges.

Deviations: none of those papers' other parts, interaction and a generator of the probes.
"""

import functools
import math
from collections.abc import Mapping, Sequence

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import architectures, networks
from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.networks import Spec
from wsjax.summaries import summary
from wsjax.views.wiring import wiring


@flax.struct.dataclass
class Runnable:
    """An architecture that can be run (static).

    Attributes:
        spec: the architecture.
        inputs: shape of one input.
        outputs: how many numbers the network gives for one input.
    """

    spec: Spec = flax.struct.field(pytree_node=False)
    inputs: tuple[int, ...] = flax.struct.field(pytree_node=False)
    outputs: int = flax.struct.field(pytree_node=False)

    __repr__ = summary


@functools.lru_cache(maxsize=256)
def runnable(spec: Spec, shape: tuple[int, ...]) -> Runnable:
    """Finds the number of outputs of an architecture, without running anything.

    Args:
        spec: the architecture.
        shape: of one input; () if it has no positions and its size follows from the spec.

    Raises:
        ValueError: the network cannot be run on such an input; the layer is named.
    """
    inputs = tuple(shape) or _channels(spec)
    params = {a.name: jax.ShapeDtypeStruct(spec.shape(a), jnp.float32) for a in spec.arrays}
    x = jax.ShapeDtypeStruct(inputs, jnp.float32)
    try:
        out = jax.eval_shape(lambda p, x: architectures.forward(p, x, spec), params, x)
    except ValueError as error:
        how = "" if shape else "; networks on images, signals or sets need the setting `shape`"
        raise ValueError(
            f"Probing cannot run the network on inputs {inputs}: {error}{how}"
        ) from error
    return Runnable(spec, inputs, math.prod(out.shape))


def _channels(spec):
    """(number of inputs,)."""
    axes = next((p.axes for p in wiring(spec).places if p.level == -1), ())
    return (math.prod(dict(spec.sizes)[a] for a in axes),)


class Probing(Encoder):
    """An MLP on outputs of networks for learned inputs.

    One model reads all architectures with inputs and outputs as in training, one at a time.

    Attributes:
        probes: how many inputs.
        shape: of one input, (row, column, channel) for images; () where the network has no
            positions: chains and fields of coordinates.
        low: probes start uniformly between this
        high: and this.
        widths: of the MLP's hidden layers.
        code: width of the embedding.
    """

    probes: int = 64
    shape: Sequence[int] = ()
    low: float = -1.0
    high: float = 1.0
    widths: Sequence[int] = (128, 128)
    code: int = 32

    reads_any = True
    runs_network = True

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "shape": (all(n >= 1 for n in self.shape), "sizes of at least 1"),
            "low": (self.low <= self.high, f"at most high = {self.high}"),
        }
        settings.check(self, rules, sizes=("probes", "widths", "code"))

    def view(self, spec: Spec) -> Runnable:
        """The network, with the shapes of its inputs and outputs."""
        return runnable(spec, tuple(self.shape))

    def calibrate(self, vectors: np.ndarray, view: Runnable, scales: Mapping[str, float]) -> dict:
        """The scales that undo the normalisation of vectors.

        Args:
            vectors: [network, entry], normalised; unused.
            view: of the spec.
            scales: of `InputScale`, by "kind/role/level".

        Raises:
            ValueError: the scales are not given, or not for all arrays.
        """
        wanted = set(networks.kinds(view.spec).values())
        if lost := sorted(wanted - set(scales)):
            raise ValueError(
                "Probing runs networks, so their normalisation must be known: expected what "
                f"arrays were divided by, got none of {lost}"
            )
        return {"units": {k: jnp.asarray(x, jnp.float32) for k, x in scales.items()}}

    @nn.compact
    def __call__(self, vectors: jax.Array, view: Runnable, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]; NaN for a network with an output that is not finite.

        Raises:
            ValueError: inputs or outputs are not as in training, or the scale of an array is
                missing.
        """
        networks.check_vectors(vectors, view.spec.count)
        raw = self._raw(jnp.asarray(vectors), view.spec)
        self._check(view)
        between = lambda key, shape: jax.random.uniform(
            key, shape, jnp.float32, self.low, self.high
        )
        probes = self.param("probes", between, (self.probes, *view.inputs)).astype(vectors.dtype)
        run = jax.vmap(functools.partial(architectures.forward, spec=view.spec), in_axes=(0, None))
        x = run(raw, probes).reshape(len(vectors), self.probes * view.outputs)
        x = jnp.where(jnp.isfinite(x), x, jnp.nan)  # or ReLU might swallow an infinity
        for i, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, name=f"map_{i}")(x))
        return nn.Dense(self.code, name="code_map")(x)

    def _raw(self, vectors, spec):
        """Networks before normalisation: named arrays."""
        ones = lambda: {kind: jnp.ones(()) for kind in networks.kinds(spec).values()}
        scales = self.variable("statistics", "units", ones).value
        if strange := sorted(set(networks.kinds(spec).values()) - set(scales)):
            raise ValueError(f"expected arrays of {sorted(scales)}, got also {strange}")
        params = networks.unravel(vectors, spec)
        return {
            n: params[n] * scales[k].astype(vectors.dtype) for n, k in networks.kinds(spec).items()
        }

    def _check(self, view):
        """Compares with the variables, if there are any."""
        if not self.has_variable("params", "probes"):
            return
        names = ["map_0", "code_map"][not self.widths :]
        inputs = self.get_variable("params", "probes").shape[1:]
        outputs = self.get_variable("params", names[0])["kernel"].shape[0] // self.probes
        if (inputs, outputs) != (view.inputs, view.outputs):
            raise ValueError(
                f"expected networks from inputs {inputs} to {outputs} numbers, as in training, "
                f"got {view.inputs} and {view.outputs}"
            )
