"""Weight matching, exact on copies, never worse than its start."""

import itertools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import MOVABLE, SPECS

from wsjax import architectures, networks, testing
from wsjax.networks import Array, Layer, Spec
from wsjax.symmetries import matching, permutations

KEY = jax.random.key(3)
SIREN = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
TWICE = {
    n for n, s in SPECS.items() if any(a.axes.count(h) > 1 for a in s.arrays for h in s.hidden)
}
READABLE = [n for n in MOVABLE if n not in TWICE]
VIT = architectures.vit(1, 12, 2, size=(4,), patch=2, blocks=2, heads=3, mlp_width=12)


def same(a, b):
    assert set(a) == set(b)
    jax.tree.map(np.testing.assert_array_equal, dict(a), dict(b))


def similarity(element, params, reference, spec):
    moved = permutations.act(element, params, spec)
    return sum(float(np.vdot(*map(np.float64, (moved[n], reference[n])))) for n in reference)


def pair(spec, seed=0):
    keys = jax.random.split(jax.random.fold_in(KEY, seed))
    return [testing.draw(k, spec) for k in keys]


def test_most_corner_cases_are_matched():
    assert len(READABLE) >= 10
    assert {"taps in two dimensions", "dimensions within heads"} <= set(READABLE)
    assert sorted(TWICE) == ["one axis twice in an array"]


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_permuted_copy_is_undone_exactly(name, seed):
    spec = MOVABLE[name]
    params, g = pair(spec, seed)[0], permutations.sample(jax.random.fold_in(KEY, 9 + seed), spec)
    copy = permutations.act(g, params, spec)
    found = matching.match(copy, params, spec)
    same(found, permutations.inverse(g, spec))
    same(permutations.act(found, copy, spec), params)


def test_another_network_is_brought_nearer_and_not_onto():
    params, reference = pair(SIREN)
    g = matching.match(params, reference, SIREN)
    before = similarity(permutations.identity(SIREN), params, reference, SIREN)
    assert similarity(g, params, reference, SIREN) > before + 10
    assert np.abs(
        permutations.act(g, params, SIREN)["Dense_1/kernel"] - params["Dense_1/kernel"]
    ).max()
    for h in SIREN.hidden:
        assert sorted(g[h].tolist()) == list(range(32))


def test_one_hidden_axis_is_solved_exactly():
    """Against all 120 permutations."""
    spec = architectures.mlp([2, 5, 2], "tanh")
    for seed in range(3):
        params, reference = pair(spec, seed)
        score = lambda p, x=params, y=reference: similarity({"h0": np.array(p)}, x, y, spec)
        best = max(itertools.permutations(range(5)), key=score)
        assert matching.match(params, reference, spec)["h0"].tolist() == list(best)


def test_the_result_is_a_local_optimum():
    """No exchange of two neurons of an axis brings the networks nearer."""
    spec = architectures.mlp([2, 5, 4, 2], "tanh")
    params, reference = pair(spec)
    g = matching.match(params, reference, spec)
    best = similarity(g, params, reference, spec)
    for h, p in g.items():
        for i, j in itertools.combinations(range(len(p)), 2):
            other = {**g, h: p.at[i].set(p[j]).at[j].set(p[i])}
            assert similarity(other, params, reference, spec) <= best + 1e-6


@pytest.mark.parametrize("key", [None, KEY], ids=["in order", "random order"])
@pytest.mark.parametrize("name", ["deep", "taps in two dimensions", "siren", "vit"])
def test_no_sweep_loses_similarity(name, key):
    spec = {"siren": SIREN, "vit": VIT}.get(name) or SPECS[name]
    params, reference = pair(spec)
    found = [matching.match(params, reference, spec, n, key) for n in range(6)]
    steps = [similarity(g, params, reference, spec) for g in found]
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(steps)), steps
    assert steps[-1] > similarity(permutations.identity(spec), params, reference, spec)
    if name != "taps in two dimensions":  # where the start is as good as it gets
        assert steps[-1] > steps[0] + 1e-3


def test_the_key_decides_which_local_optimum_is_found():
    spec = architectures.mlp([2, 16, 16, 16, 2])
    params, reference = pair(spec)
    found = [matching.match(params, reference, spec, key=jax.random.key(i)) for i in (0, *range(5))]
    same(found[0], found[1])
    assert any(not np.array_equal(found[0][h], x[h]) for x in found[2:] for h in spec.hidden)


def test_a_zoo_of_copies_becomes_one_network():
    params = testing.draw(KEY, SIREN)
    vector = networks.ravel(params, SIREN)
    keys = jax.random.split(KEY, 50)
    moves = permutations.moves(SIREN)
    shuffled = np.asarray(jax.vmap(lambda k: permutations.shuffle(k, vector, moves))(keys))
    assert (np.abs(shuffled - vector).max(1) > 0.1).all()
    aligned = matching.align(shuffled, np.asarray(vector), SIREN)
    assert aligned.dtype == shuffled.dtype
    np.testing.assert_array_equal(aligned, np.tile(vector, (50, 1)))


def test_aligning_keeps_every_function_and_is_match_in_a_loop():
    zoo = testing.draw(KEY, SIREN, (6,))
    vectors = np.asarray(networks.ravel(zoo, SIREN))
    aligned = matching.align(vectors, vectors[0], SIREN)
    np.testing.assert_array_equal(aligned[0], vectors[0])
    assert (np.abs(aligned[1:] - vectors[1:]).max(1) > 0.1).all()
    distance = lambda x: np.square(x - vectors[0]).sum(1)
    assert (distance(aligned)[1:] < distance(vectors)[1:]).all()
    x = jnp.linspace(-0.1, 0.1, 7)[:, None]
    run = jax.jit(jax.vmap(lambda v: architectures.forward(networks.unravel(v, SIREN), x, SIREN)))
    np.testing.assert_allclose(run(aligned), run(vectors), rtol=1e-3, atol=1e-3)
    params = [networks.unravel(v, SIREN) for v in (vectors[3], vectors[0])]
    moved = permutations.act(matching.match(*params, SIREN), params[0], SIREN)
    np.testing.assert_array_equal(networks.ravel(moved, SIREN), aligned[3])


def test_thousands_of_networks_take_seconds():
    vectors = np.asarray(networks.ravel(testing.draw(KEY, SIREN, (100,)), SIREN))
    began = time.perf_counter()
    matching.align(vectors, vectors[0], SIREN)
    seconds = time.perf_counter() - began
    print(f"{1e3 * seconds / 100:.1f} ms per network")
    assert seconds < 5  # 100 of them, on a busy machine


def test_a_permuted_copy_has_a_barrier_and_a_matched_one_has_none():
    spec = architectures.mlp([1, 16, 16, 1], "tanh")
    params = testing.draw(KEY, spec)
    copy = permutations.act(permutations.sample(KEY, spec), params, spec)
    x = jnp.linspace(-2, 2, 32)[:, None]
    want = architectures.forward(params, x, spec)
    loss = jax.jit(lambda p: jnp.square(architectures.forward(p, x, spec) - want).mean())
    before = matching.barrier(loss, params, copy)
    g = matching.match(copy, params, spec)
    after = matching.barrier(loss, params, permutations.act(g, copy, spec))
    assert before > 0.05 * float(jnp.var(want))
    assert after < 1e-6 * before


def test_barriers_of_known_losses():
    a, b = {"w": np.array([0.0, 0.0])}, {"w": np.array([2.0, 0.0])}
    bump = lambda p: float(1 - (p["w"][0] - 1) ** 2)  # 0 at both ends, 1 between
    assert matching.barrier(bump, a, b) == pytest.approx(1)
    slope = lambda p: bump(p) + 3 * float(p["w"][0])  # the chord rises with it
    assert matching.barrier(slope, a, b) == pytest.approx(1)
    assert matching.barrier(lambda p: -bump(p), a, b) == 0
    assert matching.barrier(bump, a, b, points=4) == pytest.approx(8 / 9)
    assert math.isnan(matching.barrier(lambda p: math.nan if bump(p) > 0.9 else 0.0, a, b))


def test_what_cannot_be_matched_is_named():
    spec = SPECS["one axis twice in an array"]
    params = testing.draw(KEY, spec)
    with pytest.raises(ValueError, match=r"Recurrent/kernel: .*'h0' 2 times"):
        matching.match(params, params, spec)
    vectors = np.asarray(networks.ravel(params, spec))
    with pytest.raises(ValueError, match="Recurrent/kernel"):
        matching.align(vectors[None], vectors, spec)


def nested_spec(*arrays, hidden, nested, **sizes):
    arrays = [Array(n, "kernel", axes, (0,), tuple(range(1, len(axes)))) for n, axes in arrays]
    layers = [Layer(a.name, "dense", i, (a,)) for i, a in enumerate(arrays)]
    return Spec(tuple(layers), tuple(sizes.items()), hidden, nested)


def test_heads_and_their_dimensions_are_matched_through_noise():
    keys = jax.random.split(KEY, 3)
    params, g = testing.draw(keys[0], VIT), permutations.sample(keys[1], VIT)
    noise = testing.draw(keys[2], VIT)
    copy = permutations.act(g, {k: x + 0.02 * noise[k] for k, x in params.items()}, VIT)
    same(matching.match(copy, params, VIT), permutations.inverse(g, VIT))


def test_heads_are_not_matched_without_their_dimensions():
    """However heads are assigned with the dimensions within each left in order."""
    params, g = testing.draw(KEY, VIT), permutations.sample(jax.random.fold_in(KEY, 1), VIT)
    copy = permutations.act(g, params, VIT)
    found, start = matching.match(copy, params, VIT), permutations.identity(VIT)
    outer = dict(VIT.nested)
    for heads in itertools.permutations(range(3)):
        part = found | {h: start[h] for h in outer} | {"head0": jnp.array(heads)}
        less = similarity(part, copy, params, VIT)
        assert less < 0.9 * similarity(found, copy, params, VIT)


def test_heads_with_dimensions_are_solved_exactly():
    """Against all 72 elements."""
    spec = nested_spec(
        ("Query", ("s", "head", "qk")), hidden=("head", "qk"), nested=(("qk", "head"),),
        s=3, head=2, qk=3,
    )  # fmt: skip
    inner = list(itertools.permutations(range(3)))
    every = list(itertools.product([(0, 1), (1, 0)], inner, inner))
    for seed in range(3):
        params, reference = pair(spec, seed)
        x, y = np.asarray(params["Query"]), np.asarray(reference["Query"])
        best = max(
            every, key=lambda e: sum((x[:, e[0][i]][:, e[1 + i]] * y[:, i]).sum() for i in (0, 1))
        )
        found = matching.match(params, reference, spec)
        assert (found["head"].tolist(), found["qk"].tolist()) == (
            list(best[0]),
            list(map(list, best[1:])),
        )


def test_axes_that_meet_within_another_are_matched():
    """Experts of two hidden layers each: within a pair of experts, sweeps go on as outside."""
    spec = nested_spec(
        *(("In", ("x", "e", "a")), ("Middle", ("e", "a", "b")), ("Out", ("e", "b", "y"))),
        hidden=("e", "a", "b"), nested=(("a", "e"), ("b", "e")), x=2, e=3, a=4, b=5, y=2,
    )  # fmt: skip
    params, reference = pair(spec)
    g = permutations.sample(KEY, spec)
    copy = permutations.act(g, params, spec)
    same(matching.match(copy, params, spec), permutations.inverse(g, spec))
    steps = [
        similarity(matching.match(params, reference, spec, n), params, reference, spec)
        for n in range(4)
    ]
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(steps)), steps
    assert steps[-1] > similarity(permutations.identity(spec), params, reference, spec)


def test_a_zoo_of_permuted_transformers_becomes_one_network():
    vector = networks.ravel(testing.draw(KEY, VIT), VIT)
    moves = permutations.moves(VIT)
    shuffle = jax.jit(jax.vmap(lambda k: permutations.shuffle(k, vector, moves)))
    shuffled = np.asarray(shuffle(jax.random.split(KEY, 4)))
    assert (np.abs(shuffled - vector).max(1) > 0.1).all()
    aligned = matching.align(shuffled, np.asarray(vector), VIT)
    np.testing.assert_array_equal(aligned, np.tile(vector, (4, 1)))


def test_networks_that_do_not_fit_are_named():
    spec = architectures.mlp([2, 4, 1])
    params = testing.draw(KEY, spec)
    with pytest.raises(ValueError, match=r"Dense_0/bias: expected, absent"):
        matching.match({k: v for k, v in params.items() if k != "Dense_0/bias"}, params, spec)
    with pytest.raises(ValueError, match=r"without batch axes, got Dense_0/kernel \(5, 2, 4\)"):
        matching.match(params, testing.draw(KEY, spec, (5,)), spec)
    vectors = np.zeros((3, spec.count), np.float32)
    with pytest.raises(ValueError, match=r"\[network, 17\] and a reference \[17\], got \(3, 17\)"):
        matching.align(vectors, vectors, spec)
    vectors[1, 0] = np.nan
    with pytest.raises(ValueError, match="Dense_0/kernel: 1 of 24 values are NaN"):
        matching.align(vectors, vectors[0], spec)
    with pytest.raises(ValueError, match=r"b: \(3,\) and absent"):
        matching.barrier(lambda p: 0.0, {"a": np.ones(2), "b": np.ones(3)}, {"a": np.ones(2)})
    with pytest.raises(ValueError, match="at least three points, both ends included, got 2"):
        matching.barrier(lambda p: 0.0, {"a": np.ones(2)}, {"a": np.ones(2)}, points=2)
