import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from wsjax import architectures, networks, testing
from wsjax.architectures import mlp
from wsjax.networks import Array, Layer, Spec

SPEC = mlp([2, 5, 4, 1], "tanh")


@pytest.fixture
def params():
    return dict(testing.draw(jax.random.key(0), SPEC))


@pytest.mark.parametrize("batch", [(), (3,), (2, 1)], ids=["one", "zoo", "zoo of zoos"])
def test_unravel_undoes_ravel(spec, batch):
    params = testing.draw(jax.random.key(0), spec, batch)
    vector = networks.ravel(params, spec)
    assert vector.shape == (*batch, spec.count)
    assert len(np.unique(vector)) == vector.size  # nothing is stored twice
    back = networks.unravel(vector, spec)
    assert set(back) == set(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_numpy_stays_numpy():
    vector = np.arange(SPEC.count)
    params = networks.unravel(vector, SPEC)
    assert isinstance(params["Dense_0/kernel"], np.ndarray)
    assert isinstance(networks.ravel(params, SPEC), np.ndarray)


def test_offsets_point_into_the_vector(spec):
    params = testing.draw(jax.random.key(0), spec)
    vector, places = networks.ravel(params, spec), networks.offsets(spec)
    jax.tree.map(np.testing.assert_array_equal, {k: vector[v] for k, v in places.items()}, params)


def test_json_says_everything(spec):
    assert networks.from_json(json.loads(json.dumps(networks.to_json(spec)))) == spec


NUMPY = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x / 2 * (1 + special.erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "sin": np.sin,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "silu": lambda x: x * special.expit(x),
    "sigmoid": special.expit,
}


@pytest.mark.parametrize("omega", [1.0, 30.0])
@pytest.mark.parametrize("activation", sorted(architectures.ACTIVATIONS))
@pytest.mark.parametrize("widths", [[3, 6, 5, 2], [3, 2], [1, 1, 1]], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_forward_against_numpy(widths, activation, omega, bias):
    spec = mlp(widths, activation, omega, bias)
    params = testing.draw(jax.random.key(0), spec)
    x = jax.random.normal(jax.random.key(1), (7, widths[0])) / omega
    y = np.asarray(x, np.float64)
    for i, last in zip(itertools.count(), [False] * (len(widths) - 2) + [True], strict=False):
        y = y @ np.asarray(params[f"Dense_{i}/kernel"], np.float64)
        y = y + np.asarray(params[f"Dense_{i}/bias"], np.float64) if bias else y
        if not last and activation != "none":  # a linear layer has no omega
            y = NUMPY[activation](omega * y)
    # An error of the first layer's sum grows by omega in every layer.
    np.testing.assert_allclose(
        architectures.forward(params, x, spec), y, rtol=1e-5 * omega, atol=1e-5 * omega
    )


def test_a_zoo_runs_under_vmap():
    zoo = testing.draw(jax.random.key(0), SPEC, (3,))
    x = jnp.linspace(-1, 1, 8).reshape(4, 2)
    forward = lambda p: architectures.forward(p, x, SPEC)
    apart = [forward(jax.tree.map(lambda a, i=i: a[i], zoo)) for i in range(3)]
    np.testing.assert_allclose(jax.vmap(forward)(zoo), jnp.stack(apart), rtol=1e-5)


def test_spec_is_static_and_compared_by_value():
    traces = []

    def f(vector, spec):
        traces.append(spec)
        return networks.unravel(vector, spec)["Dense_0/bias"].sum()

    f, vector = jax.jit(f, static_argnames="spec"), jnp.ones(SPEC.count)
    again = mlp([2, 5, 4, 1], "tanh")
    assert again is not SPEC
    assert (again, hash(again)) == (SPEC, hash(SPEC))
    assert f(vector, spec=SPEC) == f(vector, spec=again) == 5
    assert len(traces) == 1
    assert mlp([2, 5, 4, 1], "relu") != SPEC


def test_roles_of_a_kernels_axes(spec):
    for a in spec.arrays:
        assert sorted(a.reads + a.writes + a.taps) == list(range(len(a.axes)))
    window = Array("k", "kernel", ("row", "col", "c0", "c1"), (2,), (3,))
    assert window.taps == (0, 1)


def test_check_accepts_what_it_should(spec):
    for batch in [(), (3,)]:
        networks.check(testing.draw(jax.random.key(0), spec, batch), spec)


def test_check_lists_all_mismatches_at_once(params):
    del params["Dense_2/bias"]
    params["Dense_9/bias"] = jnp.zeros(4)
    params["Dense_0/kernel"] = params["Dense_0/kernel"].T
    params["Dense_1/kernel"] = params["Dense_1/kernel"].at[2, 1:3].set(jnp.nan)
    params["Dense_1/bias"] = jnp.stack([params["Dense_1/bias"]] * 3)
    with pytest.raises(ValueError, match="does not match its spec") as error:
        networks.check(params, SPEC)
    assert str(error.value).splitlines()[1:] == [
        "  Dense_2/bias: expected, absent",
        "  Dense_9/bias: not in the spec",
        "  Dense_0/kernel: expected shape [..., 2, 5] ('x', 'h0'), got (5, 2)",
        "  batch axes differ: [] (Dense_0/bias), [3] (Dense_1/bias)",
        "  Dense_1/kernel: 2 of 20 values are NaN or infinite",
    ]


def test_check_counts_infinities_and_ignores_traced_values(params):
    params["Dense_2/kernel"] = params["Dense_2/kernel"] * jnp.inf
    with pytest.raises(ValueError, match=r"Dense_2/kernel: 4 of 4 values are NaN or infinite$"):
        networks.check(params, SPEC)
    several = {k: jnp.stack([jnp.zeros_like(x), x]) for k, x in params.items()}
    with pytest.raises(ValueError, match=r"Dense_2/kernel: 4 of 8 .* infinite, in network 1$"):
        networks.check(several, SPEC)
    more = {k: jnp.stack([jnp.zeros_like(x), x]) for k, x in several.items()}
    with pytest.raises(ValueError, match=r"4 of 16 .* infinite, in network \[1, 1\]$"):
        networks.check(more, SPEC)
    jax.jit(lambda p: networks.check(p, SPEC))(params)


def test_check_rejects_too_few_axes(params):
    params["Dense_1/kernel"] = params["Dense_1/kernel"][0]
    with pytest.raises(ValueError, match=r"Dense_1/kernel: expected shape \[\.\.\., 5, 4\]"):
        networks.check(params, SPEC)


def test_an_inconsistent_spec_lists_every_mistake():
    layers = (
        Layer("A", "dens", 0, (Array("k", "kernl", ("x", "y"), (0,), (1,)),)),
        Layer("B", "dense", 1, (Array("k", "kernel", ("x", "z"), (0,), (1,)),)),
        Layer("C", "dense", 2, (Array("m", "kernel", ("x", "y"), (0, 1), (1, 2)),)),
    )
    with pytest.raises(ValueError, match="spec is inconsistent") as error:
        Spec(layers, (("x", 2), ("y", 0), ("x", 3)), ("h",))
    for line in [
        "  A: kind 'dens' is not one of",
        "  k: role 'kernl' is not one of",
        "  k: listed twice",
        "  k: axis 'z' has no size",
        "  m: reads (0, 1) and writes (1, 2) are not distinct positions in ('x', 'y')",
        "  hidden axis 'h' has no size",
        "  axis 'x': two sizes",
        "  axis 'y': expected a size of 1 or more, got 0",
    ]:
        assert line in str(error.value)


def test_a_vector_of_another_length_is_rejected():
    with pytest.raises(ValueError, match=r"expected 44 parameters, got a vector \(3, 43\)"):
        networks.unravel(jnp.zeros((3, 43)), SPEC)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mlp([2, 4, 1], "tnah"), r"activation of \['gelu', .*\], got 'tnah'"),
        (lambda: mlp([2]), r"an input and an output width, got \[2\]"),
        (lambda: mlp([2, 0, 1]), "axis 'h0': expected a size of 1 or more, got 0"),
    ],
    ids=["unknown activation", "no layer", "no neuron"],
)
def test_mlp_rejects(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_forward_rejects_layers_whose_arrays_do_not_fit_them(params):
    first = dataclasses.replace(SPEC.layers[0], kind="conv")
    spec = dataclasses.replace(SPEC, layers=(first, *SPEC.layers[1:]))
    with pytest.raises(
        ValueError, match=r"Dense_0: expected a window .* got a kernel \('x', 'h0'\)"
    ):
        architectures.forward(params, jnp.ones(2), spec)
