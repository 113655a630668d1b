import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import FORWARDS, MOVABLE

from wsjax import networks, testing
from wsjax.architectures import mlp
from wsjax.symmetries import permutations

KEY = jax.random.key(7)
shuffle = jax.jit(permutations.shuffle)
SMALL = mlp([2, 3, 2, 1])
SPECS = [mlp([2, 6, 4, 1]), mlp([1, 3, 1]), MOVABLE["attention of two reads and writes"]]


def same(a, b):
    assert set(a) == set(b)
    jax.tree.map(np.testing.assert_array_equal, dict(a), dict(b))


@pytest.mark.parametrize("name", MOVABLE)
def test_permuting_preserves_the_function(name):
    spec, forward = MOVABLE[name], FORWARDS[name]
    params = testing.draw(jax.random.key(0), spec)
    x = jax.random.normal(jax.random.key(1), (8, 60))
    run = jax.jit(jax.vmap(forward, (None, 0)))
    testing.assert_function_preserved(run, params, spec, KEY, x, rtol=1e-4)


def test_shuffle_is_the_action_of_one_element(spec):
    vector = jnp.arange(spec.count)
    for i in range(3):
        moved = shuffle(jax.random.fold_in(KEY, i), vector, permutations.moves(spec))
        element = read_off(networks.unravel(np.asarray(moved), spec), spec)
        for axis, permutation in element.items():
            ordered = jnp.broadcast_to(jnp.arange(dict(spec.sizes)[axis]), permutation.shape)
            np.testing.assert_array_equal(jnp.sort(permutation, axis=-1), ordered)
        same(
            networks.unravel(moved, spec),
            permutations.act(element, networks.unravel(vector, spec), spec),
        )


def read_off(moved, spec):
    """The permutations that carried a network of positions to where it is now."""
    element, places = {}, networks.offsets(spec)
    for a in spec.arrays:
        start, shape = places[a.name].min(), spec.shape(a)
        came_from = np.unravel_index(moved[a.name] - start, shape)
        for k, axis in enumerate(a.axes):
            if axis in spec.hidden:
                around = [a.axes.index(o) for i, o in spec.nested if i == axis]
                rows = np.moveaxis(came_from[k], [*around, k], range(len(around) + 1))
                kept = rows.shape[: len(around) + 1]
                element.setdefault(axis, rows.reshape(*kept, -1)[..., 0])
    return {axis: jnp.asarray(p) for axis, p in element.items()}


def test_inverse_undoes_act(spec):
    params, g = testing.draw(KEY, spec, (3,)), permutations.sample(KEY, spec)
    same(
        permutations.act(permutations.inverse(g, spec), permutations.act(g, params, spec), spec),
        params,
    )


def test_compose_is_one_action_after_another(spec):
    params = testing.draw(KEY, spec)
    f, g = (permutations.sample(k, spec) for k in jax.random.split(KEY))
    one_by_one = permutations.act(g, permutations.act(f, params, spec), spec)
    same(permutations.act(permutations.compose(g, f, spec), params, spec), one_by_one)
    same(permutations.compose(permutations.inverse(g, spec), g, spec), permutations.identity(spec))


def test_order_of_composition_matters():
    spec = mlp([1, 9, 1])
    f, g = (permutations.sample(jax.random.key(i), spec) for i in (0, 1))
    there, back = (permutations.compose(*pair, spec)["h0"] for pair in ((g, f), (f, g)))
    assert not np.array_equal(there, back)


def test_identity_changes_nothing(spec):
    params = testing.draw(KEY, spec)
    same(permutations.act(permutations.identity(spec), params, spec), params)


def test_neuron_zero_comes_from_where_the_element_says():
    params = networks.unravel(jnp.arange(SMALL.count), SMALL)
    moved = permutations.act({"h0": jnp.array([2, 0, 1])}, params, SMALL)
    np.testing.assert_array_equal(moved["Dense_0/bias"][0], params["Dense_0/bias"][2])
    np.testing.assert_array_equal(moved["Dense_0/kernel"][:, 0], params["Dense_0/kernel"][:, 2])
    np.testing.assert_array_equal(moved["Dense_1/kernel"][0], params["Dense_1/kernel"][2])


@pytest.mark.parametrize("route", ["sample", "shuffle"])
def test_every_permutation_is_as_likely(route):
    def draw(key):
        if route == "sample":
            g = permutations.sample(key, SMALL)
            return jnp.concatenate([g["h0"], 3 + g["h1"]])
        moved = shuffle(key, jnp.arange(SMALL.count), permutations.moves(SMALL))
        biases = networks.unravel(moved, SMALL)
        start = networks.offsets(SMALL)
        return jnp.concatenate(
            [
                biases["Dense_0/bias"] - start["Dense_0/bias"][0],
                3 + biases["Dense_1/bias"] - start["Dense_1/bias"][0],
            ]
        )

    draws = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(KEY, 2400)))
    seen, counts = np.unique(draws, axis=0, return_counts=True)
    every = [(*p, *q) for p in itertools.permutations(range(3)) for q in ((3, 4), (4, 3))]
    assert sorted(map(tuple, seen.tolist())) == sorted(every)
    assert counts.min() > 140  # 200 expected, standard deviation 13.5
    assert counts.max() < 260


def test_padding_changes_no_number_and_stays_in_place():
    for spec in SPECS:
        layout, vector = permutations.moves(spec), jnp.arange(spec.count)
        larger = permutations.pad(layout, spec.count + 5, depth=4, axes=6, width=9)
        padded = jnp.concatenate([vector, -1 - jnp.arange(5)])
        moved = shuffle(KEY, padded, larger)
        assert not np.array_equal(moved[:-5], vector)
        np.testing.assert_array_equal(moved[:-5], shuffle(KEY, vector, layout))
        np.testing.assert_array_equal(moved[-5:], padded[-5:])


def test_several_architectures_share_one_compiled_step():
    traces = []

    def step(key, vectors, layout):
        traces.append(1)
        keys = jax.random.split(key, len(vectors))
        return jax.vmap(shuffle)(keys, vectors, layout)

    def batch(specs):
        sizes = dict(entries=max(s.count for s in specs), depth=3, axes=4, width=6)
        layouts = [permutations.pad(permutations.moves(s), **sizes) for s in specs]
        layouts = jax.tree.map(lambda *x: np.stack(x), *layouts)
        return jnp.stack([jnp.arange(sizes["entries"])] * len(specs)), layouts

    step = jax.jit(step)
    for specs in (SPECS, SPECS[::-1]):
        moved = step(KEY, *batch(specs))
        for key, row, spec in zip(jax.random.split(KEY, len(specs)), moved, specs, strict=True):
            alone = shuffle(key, jnp.arange(spec.count), permutations.moves(spec))
            np.testing.assert_array_equal(row[: spec.count], alone)
    assert len(traces) == 1


def test_act_is_traced_with_a_static_spec():
    spec = MOVABLE["one axis twice in an array"]
    params, g = testing.draw(KEY, spec), permutations.sample(KEY, spec)
    act = jax.jit(permutations.act, static_argnames="spec")
    same(act(g, params, spec=spec), permutations.act(g, params, spec))


@pytest.mark.parametrize("axis", ["x", "y", "nowhere"])
def test_act_rejects_an_axis_that_is_not_hidden(axis):
    params = testing.draw(KEY, SMALL)
    with pytest.raises(ValueError, match=rf"hidden axes \('h0', 'h1'\), got \['{axis}'\]"):
        permutations.act({axis: jnp.array([0])}, params, SMALL)


def test_act_rejects_a_permutation_of_another_size():
    params = testing.draw(KEY, SMALL)
    message = r"'h0': expected permutations \(3,\) of its neurons, got \(2,\)"
    with pytest.raises(ValueError, match=message):
        permutations.act({"h0": jnp.array([1, 0])}, params, SMALL)


def test_compose_rejects_elements_of_two_groups():
    g = permutations.sample(KEY, SMALL)
    with pytest.raises(ValueError, match=r"the same axes, got \['h0'\] and \['h0', 'h1'\]"):
        permutations.compose(g, {"h0": g["h0"]}, SMALL)


def test_moves_that_do_not_fit_are_rejected():
    layout = permutations.moves(SMALL)
    with pytest.raises(ValueError, match=r"\(20, 2, 2, 3\) do not fit \(20, 2, 2, 2\)"):
        permutations.pad(layout, 20, 2, 2, 2)
