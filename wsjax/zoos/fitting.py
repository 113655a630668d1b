"""One network fitted to a tolerance, for use under `jit`, `vmap` and `lax.map`.

    fit(error, params, optimizer, tolerance, limit)     error: params -> mean squared error

Full batch: an error has no key and no data of its own. `sine` and `inr_fitting` fit by it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from wsjax.networks import Params

Error = Callable[[Params], jax.Array]


class State(NamedTuple):
    """A network in training: its `mse` is that of the weights before the last step."""

    params: Params
    memory: optax.OptState
    steps: jax.Array
    mse: jax.Array


def begin(params: Params, optimizer: optax.GradientTransformation) -> State:
    """A network about to be trained."""
    memory = optimizer.init(params)
    return State(params, memory, jnp.zeros((), jnp.int32), jnp.array(jnp.inf))


def step(
    state: State, error: Error, optimizer: optax.GradientTransformation, tolerance: float
) -> State:
    """One step of the optimiser, or none if the network is within the tolerance."""
    mse, gradient = jax.value_and_grad(error)(state.params)
    change, memory = optimizer.update(gradient, state.memory, state.params)
    done = mse <= tolerance
    params = jax.tree.map(lambda p, c: jnp.where(done, p, p + c), state.params, change)
    return State(params, memory, state.steps + ~done, mse)


def fit(
    error: Error,
    params: Params,
    optimizer: optax.GradientTransformation,
    tolerance: float,
    limit: jax.Array | int,
) -> State:
    """Trains until the error is at most `tolerance`, or for `limit` steps; `mse` is the last's."""
    state = jax.lax.while_loop(  # NaN, no more above than below, ends it too
        lambda s: (s.mse > tolerance) & (s.steps < limit),
        lambda s: step(s, error, optimizer, tolerance),
        begin(params, optimizer),
    )
    # The loop's own figure stands where it stopped the loop: measured anew, the last digit
    # may differ and put a network that is done above the tolerance.
    return state._replace(mse=jnp.where(state.mse <= tolerance, state.mse, error(state.params)))
