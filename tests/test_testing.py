import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import MOVABLE

from wsjax import architectures, networks, testing
from wsjax.architectures import mlp
from wsjax.symmetries import permutations

SPEC = mlp([2, 6, 4, 2], "tanh")
KEY = jax.random.key(3)
X = jnp.linspace(-1, 1, 12).reshape(6, 2)


@pytest.fixture(scope="module")
def params():
    return testing.draw(jax.random.key(0), SPEC)


def forward(params, x):
    return architectures.forward(params, x, SPEC)


def probe(params):
    """Invariant: the function itself, on fixed inputs."""
    return forward(params, X)


def flat(params):
    return networks.ravel(params, SPEC)


def deep_set(params):
    """Invariant, and blind to wiring: sums over the entries of each array."""
    return jnp.stack([f(a).mean() for a in params.values() for f in (jnp.tanh, jnp.square)])


def sorted_rows(params):
    """Invariant, and blind to how the arrays of two layers are connected."""
    return jnp.concatenate([jnp.sort(a, axis=None) for a in params.values()])


def without(name):
    return lambda params: probe({**params, name: jnp.zeros_like(params[name])})


def gradient_step(params):
    """Equivariant, and reads the wiring: it moves every weight by all others."""
    gradient = jax.grad(lambda p: (probe(p) ** 2).mean())(params)
    return jax.tree.map(lambda a, g: a - 0.5 * g, params, gradient)


def each(f):
    return lambda params: {name: f(a) for name, a in params.items()}


# Functions of networks


def test_a_forward_pass_is_preserved(params):
    testing.assert_function_preserved(forward, params, SPEC, KEY, X)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda p, x: x, r"the function is blind to Dense_0/kernel along 'h0'"),
        (lambda p, x: without("Dense_1/bias")(p), "blind to Dense_1/bias along 'h1'"),
        (lambda p, x: probe(p) + p["Dense_0/bias"][0], r"depends on the order of \['h0'\]"),
        (lambda p, x: probe(p) * jnp.nan, "the function depends on the order"),
    ],
    ids=["reads nothing", "leaves out a bias", "reads neuron zero", "NaN"],
)
def test_broken_forward_passes_are_caught(params, broken, message):
    with pytest.raises(AssertionError, match=message):
        testing.assert_function_preserved(broken, params, SPEC, KEY, X)


def test_a_spec_that_claims_too_much_is_caught(params):
    loose = dataclasses.replace(SPEC, hidden=("h0", "h1", "y"))
    with pytest.raises(AssertionError, match=r"depends on the order of \['y'\]"):
        testing.assert_function_preserved(forward, params, loose, KEY, X)


# Encoders


def test_the_function_on_inputs_is_an_invariant_code(params):
    testing.assert_invariant(probe, params, SPEC, KEY)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda p: jnp.ones(3), "blind to Dense_0/kernel along 'h0': moved 0.0e"),
        (lambda p: jnp.zeros(3), "blind to Dense_0/kernel along 'h0': moved 0.0e"),
        (deep_set, "blind to Dense_0/kernel along 'h0'"),
        (sorted_rows, "blind to Dense_0/kernel along 'h0'"),
        (without("Dense_1/bias"), "blind to Dense_1/bias along 'h1'"),
        (flat, r"depends on the order of \['h0', 'h1'\]: moved"),
        (lambda p: p["Dense_1/bias"], r"depends on the order of \['h1'\]"),
        (lambda p: probe(p) * jnp.nan, "depends on the order"),
    ],
    ids=[
        "constant",
        "zero",
        "deep set",
        "sorted",
        "leaves out a bias",
        "flat",
        "one layer is flat",
        "NaN",
    ],
)
def test_encoders_that_are_not_invariant_or_blind_are_caught(params, encode, message):
    with pytest.raises(AssertionError, match=message):
        testing.assert_invariant(encode, params, SPEC, KEY)


@pytest.mark.parametrize("width", [2, 3, 6])
def test_derangements_leave_no_neuron_in_place_by_chance(width):
    spec = mlp([1, width, 1], "tanh")
    params = testing.draw(jax.random.key(0), spec)
    for neuron, seed in itertools.product(range(width), range(3)):
        reads = lambda p, neuron=neuron: p["Dense_0/bias"][neuron]
        with pytest.raises(AssertionError, match="on the order"):
            testing.assert_invariant(reads, params, spec, jax.random.key(seed))


def test_networks_without_a_control_are_rejected(params):
    small = mlp([3, 1, 2])
    with pytest.raises(ValueError, match="nothing to permute"):
        testing.assert_invariant(flat, testing.draw(KEY, small), small, KEY)
    with pytest.raises(ValueError, match="all neurons of the network are equal"):
        testing.assert_invariant(flat, each(jnp.ones_like)(params), SPEC, KEY)
    start = {**params, "Dense_1/bias": jnp.zeros(4)}
    with pytest.raises(ValueError, match="Dense_1/bias: entries are equal along 'h1'"):
        testing.assert_invariant(probe, start, SPEC, KEY)


# Editors


@pytest.mark.parametrize(
    "edit",
    [
        lambda p: p,
        each(jnp.tanh),
        gradient_step,
        lambda p: {n: a + p["Dense_0/bias"].mean() for n, a in p.items()},
    ],
    ids=["identity", "entry by entry", "a gradient step", "with a mean of another array"],
)
def test_equivariant_edits_pass(params, edit):
    testing.assert_equivariant(edit, params, SPEC, KEY)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (each(jnp.ones_like), "the edited network is constant along 'h0'"),
        (each(jnp.zeros_like), "the edited network is constant along 'h0'"),
        (each(lambda a: jnp.full_like(a, a.mean())), "constant along 'h0'"),
        (
            lambda p: {**p, "Dense_1/kernel": jnp.ones((6, 4)), "Dense_1/bias": jnp.ones(4)},
            "blind to Dense_1/kernel along 'h0'",
        ),
        (
            lambda p: testing.draw(jax.random.key(9), SPEC),
            r"permutations of \['h0', 'h1'\]: Dense_0/kernel, .*Dense_2/kernel differ",
        ),
        (
            lambda p: {**p, "Dense_1/bias": p["Dense_1/bias"] * jnp.arange(1.0, 5)},
            r"permutations of \['h1'\]: Dense_1/bias differ",
        ),
        (
            lambda p: {**p, "Dense_0/bias": jnp.sort(p["Dense_0/bias"])},
            r"permutations of \['h0'\]: Dense_0/bias differ",
        ),
        (
            lambda p: {**p, "Dense_0/bias": jnp.zeros(5)},
            r"like the given one: .*\n  Dense_0/bias: expected shape .*, got \(5,\)",
        ),
        (each(lambda a: a * jnp.nan), "does not commute"),
    ],
    ids=[
        "constant",
        "zero",
        "pooled",
        "leaves out a layer",
        "another network",
        "by position",
        "sorted",
        "another shape",
        "NaN",
    ],
)
def test_edits_that_are_not_equivariant_or_blind_are_caught(params, edit, message):
    with pytest.raises(AssertionError, match=message):
        testing.assert_equivariant(edit, params, SPEC, KEY)


def test_an_edit_that_is_nan_in_one_array_passes_nowhere(params):
    edit = lambda p: {**gradient_step(p), "Dense_1/bias": p["Dense_1/bias"] * jnp.nan}
    with pytest.raises(AssertionError, match="moved nan"):
        testing.assert_reads_wiring(edit, params, SPEC)
    encode = lambda p: jnp.where((p["Dense_1/bias"] == params["Dense_1/bias"]).all(), 1.0, jnp.nan)
    with pytest.raises(ValueError, match="expected finite embeddings of permuted networks"):
        testing.invariance_error(encode, params, SPEC, KEY)


def test_a_gradient_step_reads_the_wiring(params):
    testing.assert_reads_wiring(gradient_step, params, SPEC)


@pytest.mark.parametrize(
    "edit",
    [
        lambda p: p,
        each(lambda a: a - a.mean()),
        lambda p: {n: a + p["Dense_0/bias"].mean() for n, a in p.items()},
    ],
    ids=["identity", "array by array", "by sums alone"],
)
def test_edits_that_ignore_the_wiring_are_caught(params, edit):
    testing.assert_equivariant(edit, params, SPEC, KEY)
    with pytest.raises(AssertionError, match="ignores the wiring of Dense_0/kernel along 'h0'"):
        testing.assert_reads_wiring(edit, params, SPEC)


# Numbers


def test_invariance_error(params):
    assert testing.invariance_error(probe, params, SPEC, KEY) < 1e-5
    # Two random orders of many independent numbers differ by sqrt(2) of their norm.
    wide = mlp([1, 500, 1])
    network = {**testing.draw(KEY, wide), "Dense_1/bias": jnp.zeros(1)}
    error = testing.invariance_error(lambda p: networks.ravel(p, wide), network, wide, KEY)
    np.testing.assert_allclose(error, math.sqrt(2), rtol=0.05)


def test_invariance_error_is_a_mean_over_permutations(params):
    errors = []
    for i in range(4):
        g = permutations.sample(jax.random.fold_in(KEY, i), SPEC)
        moved = flat(permutations.act(g, params, SPEC)) - flat(params)
        errors.append(jnp.linalg.norm(moved) / jnp.linalg.norm(flat(params)))
    error = testing.invariance_error(flat, params, SPEC, KEY, samples=4)
    assert min(errors) < error < max(errors)
    np.testing.assert_allclose(error, jnp.stack(errors).mean(), rtol=1e-6)


def test_invariance_error_of_a_zero_embedding_is_rejected(params):
    with pytest.raises(ValueError, match=r"not zero, got one of norm 0\.0"):
        testing.invariance_error(lambda p: jnp.zeros(3), params, SPEC, KEY)


def test_drawn_networks_have_unit_gain():
    spec = MOVABLE["taps in two dimensions"]
    drawn = testing.draw(jax.random.key(0), spec, (1000,))
    for name, fan_in in {"Conv_0/kernel": 3 * 2 * 2, "Conv_1/kernel": 12, "Conv_1/bias": 1}.items():
        np.testing.assert_allclose(jnp.std(drawn[name]), 1 / math.sqrt(fan_in), rtol=0.05)
        np.testing.assert_allclose(jnp.mean(drawn[name]), 0, atol=0.04)
    one, two = drawn["Conv_0/bias"].ravel()[:4000], drawn["Conv_1/bias"].ravel()[:4000]
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05
    normed = testing.draw(jax.random.key(0), MOVABLE["norm without a kernel"])
    assert (normed["Norm_0/variance"] > 0).all()
