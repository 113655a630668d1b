"""The library's promises in programs that XLA optimises as in use.

    python -m pytest --optimised          these tests, in a session of their own

All other tests run without most of XLA's optimisations, which saves most of their time.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import encoders
from cases.families import FAMILIES

from wsjax import architectures, networks, testing
from wsjax.encoders import ScaleGMN

pytestmark = pytest.mark.optimised
KEY = jax.random.key(5)
SPEC = encoders.SIREN
PARAMS = testing.draw(KEY, SPEC)
QUICK = {"xla_backend_optimization_level": 0}  # for initial values, which are no promise
ENCODERS = encoders.EXAMPLES | {"scalegmn": ScaleGMN(width=4, layers=1, code=4)}


@functools.cache
def reader(name):
    """Embeddings [3, width] of given vectors [3, entry], by one program."""
    encoder = ENCODERS[name]
    vectors = np.zeros((3, SPEC.count), np.float32)
    view = encoder.view(SPEC)
    variables = jax.jit(encoder.init, compiler_options=QUICK)(jax.random.key(0), vectors, view)
    apply = jax.jit(encoder.apply)
    return lambda vectors: apply(variables, vectors, view)


def encode(name, params):
    vector = networks.ravel(params, SPEC)
    return reader(name)(jnp.stack([vector] * 3))[0]


@pytest.mark.parametrize("name", ["sne", "gmn", "nfn"])
def test_golden_values(name):
    draws = [testing.draw(jax.random.key(seed), SPEC) for seed in range(3)]
    embeddings = reader(name)(np.stack([networks.ravel(p, SPEC) for p in draws]))
    direction = np.random.default_rng(0).standard_normal(embeddings.shape)
    total = np.sum(np.asarray(embeddings) * direction)
    np.testing.assert_allclose(total, encoders.GOLDEN[name], atol=1e-4)


@pytest.mark.parametrize("name", ["gmn", "scalegmn", "nfn"])
def test_encoders_are_invariant(name):
    testing.assert_invariant(functools.partial(encode, name), PARAMS, SPEC, KEY, rtol=3e-6)


def test_sets_of_chunks_depend_on_the_order_of_neurons():
    error = testing.invariance_error(functools.partial(encode, "sne"), PARAMS, SPEC, KEY)
    assert 1e-5 < error < 0.1


@pytest.mark.parametrize("name", ["gmn", "nfn"])
def test_gradients_of_encoders_are_equivariant(name):
    gradient = jax.jit(jax.grad(lambda p: jnp.sin(encode(name, p)).sum()))
    testing.assert_equivariant(gradient, PARAMS, SPEC, KEY, rtol=1e-5)
    testing.assert_reads_wiring(gradient, PARAMS, SPEC, rtol=1e-5)


@pytest.mark.parametrize("name", ["cnn batch norm", "hash grid"])
def test_permutations_preserve_the_function(name):
    spec, shape = FAMILIES[name]
    run = jax.jit(lambda p, x: architectures.forward(p, x, spec))
    inputs = jax.random.normal(jax.random.key(1), (8, *shape))
    testing.assert_function_preserved(run, testing.draw(KEY, spec), spec, KEY, inputs)


@pytest.mark.trains
def test_an_encoder_learns():
    """A label that depends on the connections of neurons: the mean output of a network."""
    params, x = testing.draw(KEY, SPEC, (32,)), jnp.linspace(-1, 1, 9)[:, None]
    run = jax.jit(jax.vmap(lambda p: architectures.forward(p, x, SPEC).mean()))
    labels, vectors = run(params), networks.ravel(params, SPEC)
    encoder, optimizer = encoders.EXAMPLES["gmn"], optax.adam(1e-2)
    view = encoder.view(SPEC)
    loss = lambda v: jnp.square(encoder.apply(v, vectors, view)[:, 0] - labels).mean()

    @jax.jit
    def step(variables, state):
        value, gradient = jax.value_and_grad(loss)(variables)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(variables, updates), state, value

    variables = jax.jit(encoder.init, compiler_options=QUICK)(KEY, vectors, view)
    losses = []
    state = optimizer.init(variables)
    for _ in range(150):
        variables, state, value = step(variables, state)
        losses.append(float(value))
    assert losses[-1] < 0.3 * labels.var()
    assert losses[0] > 0.8 * labels.var()
