"""One battery over every family, and what each rejects."""

import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.families import FAMILIES

from wsjax import architectures, networks, testing
from wsjax.architectures import cnn, deepsets, equivariant, grid, hash_grid, mlp, resnet, vit
from wsjax.symmetries import permutations
from wsjax.views.wiring import wiring

KEY = jax.random.key(3)
# Softmax is invariant to a number added to all keys, so misaligned key biases change nothing.
KEY_BIASED = [
    n for n, (spec, _) in FAMILIES.items() if any("key/bias" in a.name for a in spec.arrays)
]


@pytest.fixture(params=[pytest.param(n, id=n.replace(" ", "_")) for n in FAMILIES])
def family(request):
    spec, shape = FAMILIES[request.param]
    x = jax.random.normal(jax.random.fold_in(KEY, 1), (8, *shape))
    return request.param, spec, testing.draw(KEY, spec), x


@functools.cache
def runner(spec):
    return jax.jit(lambda p, x: architectures.forward(p, x, spec))


def test_permuting_preserves_the_function(family):
    name, spec, params, x = family
    run = runner(spec)
    if name in KEY_BIASED:
        encode = lambda p: run(p, x)
        assert testing.invariance_error(encode, params, spec, KEY) < 1e-5
    else:
        testing.assert_function_preserved(run, params, spec, KEY, x)


def test_key_biases_are_the_only_blind_spot():
    """Of attention: only misaligned key biases change nothing."""
    assert KEY_BIASED
    for name in KEY_BIASED:
        spec, shape = FAMILIES[name]
        run, params = runner(spec), testing.draw(KEY, spec)
        x = jax.random.normal(KEY, (4, *shape))
        y, sizes = run(params, x), dict(spec.sizes)
        for a in spec.arrays:
            for i, axis in enumerate(a.axes):
                if axis in spec.hidden and sizes[axis] > 1:
                    misaligned = {**params, a.name: jnp.roll(params[a.name], sizes[axis] // 2, i)}
                    moved = float(jnp.abs(run(misaligned, x) - y).max())
                    assert (moved < 1e-5) == a.name.endswith("key/bias"), (a.name, axis, moved)


def test_a_spec_says_everything(family):
    _, spec, params, x = family
    again = networks.from_json(json.loads(json.dumps(networks.to_json(spec))))
    assert (again, hash(again)) == (spec, hash(spec))
    networks.check(params, again)
    traces = []

    def run(p, x, spec):
        traces.append(spec)
        return architectures.forward(p, x, spec)

    run = jax.jit(run, static_argnames="spec")
    np.testing.assert_array_equal(run(params, x, spec=again), run(params, x, spec=spec))
    assert len(traces) == 1


def test_leading_axes_are_a_batch(family):
    _, spec, params, x = family
    run = runner(spec)
    y = run(params, x)
    assert y.shape == (8, dict(spec.sizes)["y"])
    folded = run(params, x.reshape(2, 4, *x.shape[1:]))
    np.testing.assert_allclose(folded.reshape(y.shape), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn flattened groups", "deepsets", "grid", "vit of one head"])
def test_a_zoo_runs_under_vmap(name):
    spec, shape = FAMILIES[name]
    zoo, run = testing.draw(KEY, spec, (3,)), runner(spec)
    x = jax.random.normal(KEY, (8, *shape))
    apart = [run(jax.tree.map(lambda a, i=i: a[i], zoo), x) for i in range(3)]
    together = jax.vmap(run, (0, None))(zoo, x)
    np.testing.assert_allclose(together, jnp.stack(apart), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["cnn of one channel", "cnn flattened", "resnet", "vit", "hash grid"]
)
def test_every_array_has_a_slope(name):
    """Also where an axis has one neuron, so that no control exists."""
    spec, shape = FAMILIES[name]
    params, x = testing.draw(KEY, spec), jax.random.normal(KEY, (8, *shape))
    slopes = jax.grad(lambda p: jnp.square(runner(spec)(p, x)).sum())(params)
    for array, slope in slopes.items():
        assert bool(jnp.isfinite(slope).all())
        assert array.endswith("key/bias") or float(jnp.abs(slope).max()) > 1e-6, array


def test_places_have_the_neurons_of_the_arrays(family):
    """The wiring names, for every kernel, the neurons whose signals `forward` gives it."""
    _, spec, *_ = family
    found, sizes = wiring(spec), dict(spec.sizes)
    for join in found.joins:
        if join.reads is not None:
            place = found.places[join.reads]
            assert tuple(join.array.axes[i] for i in join.read_axes) == place.axes
            others = [join.array.axes[i] for i in join.positions]
            assert not {*others} & {*spec.hidden}
    (end,) = found.outputs
    assert math.prod(sizes[a] for a in found.places[end].axes) == sizes["y"]


# Published counts; of ResNet-50 without the stored statistics of its norms.
@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (cnn([1, 16, 16, 16], [10], stride=2, padding="VALID"), 4970),
        (
            cnn(
                [1, 8, 6, 4], [20, 10], kernel=(5, 5, 2), max_pool=(2, 2, 1), padding="VALID",
                pool="flatten", size=(28, 28),
            ),
            2464,
        ),
        (
            resnet(
                3, [256, 512, 1024, 2048], 1000, blocks=[3, 4, 6, 3], bottleneck=4,
                stem=(7, 2, 2), stem_width=64,
            ),
            25_557_032,
        ),
        (
            resnet(3, [64, 128, 256, 512], 1000, stem=(7, 2, 2)),
            11_689_512,
        ),
        (vit(3, 192, 1000, size=(224, 224), patch=16, blocks=12, heads=3), 5_717_416),
        (mlp([28 * 28, 32, 32, 10]), 26_506),
    ],
    ids=["conv3-gap", "conv3-linear2", "ResNet-50", "ResNet-18", "ViT-Ti/16", "mlp"],
)  # fmt: skip
def test_sizes_of_named_networks(spec, count):
    stored = sum(math.prod(spec.shape(a)) for a in spec.arrays if a.role in ("mean", "variance"))
    assert spec.count - stored == count
    wiring(spec)


@pytest.mark.parametrize(
    ("basis", "matrices"),
    [
        ("deepsets", lambda n: [np.eye(n), np.ones((n, n))]),
        ("deepsets_mean", lambda n: [np.eye(n), np.ones((n, n)) / n]),
        ("cyclic", lambda n: [np.roll(np.eye(n), i, axis=0) for i in range(n)]),
    ],
)
def test_equivariant_layers_are_sums_over_a_basis(basis, matrices):
    """Lim et al., eq. 5, with the matrices written out; and they commute with the group."""
    n = 5
    spec = equivariant([3, 4], [2], basis, positions=n, activation="none")
    params, x = testing.draw(KEY, spec), np.asarray(jax.random.normal(KEY, (n, 3)))
    p = {k: np.asarray(v, np.float64) for k, v in params.items()}
    terms = zip(matrices(n), p["Equivariant_0/kernel"], strict=True)
    hidden = sum(b @ x @ w for b, w in terms) + p["Equivariant_0/bias"]
    want = hidden.mean(0) @ p["Dense_0/kernel"] + p["Dense_0/bias"]
    np.testing.assert_allclose(architectures.forward(params, x, spec), want, rtol=1e-4, atol=1e-5)
    rotate = np.roll(np.eye(n), 1, axis=0)
    for b in matrices(n):
        np.testing.assert_allclose(b @ rotate, rotate @ b)


def test_sets_have_no_order_and_any_size():
    spec = deepsets([3, 5, 4], [2], activation="tanh")
    params, x = testing.draw(KEY, spec), jax.random.normal(KEY, (6, 3))
    y = architectures.forward(params, x, spec)
    np.testing.assert_allclose(architectures.forward(params, x[::-1], spec), y, rtol=1e-4)
    assert architectures.forward(params, x[:2], spec).shape == y.shape


def test_blocks_of_one_stream_share_their_neurons():
    spec = resnet(3, [4, 6], 2, blocks=2)
    streams = [a.axes[-1] for a in spec.arrays if a.axes[-1].startswith("s") and a.role == "kernel"]
    assert streams == ["s", "s", "s", "s1", "s1", "s1"]
    g = permutations.sample(KEY, spec)
    assert set(g) == {"s", "s1", "c0", "c1", "c2", "c3"}


def with_setting(spec, number, **settings):
    layers = list(spec.layers)
    have = dict(layers[number].settings) | settings
    layers[number] = dataclasses.replace(layers[number], settings=tuple(have.items()))
    return dataclasses.replace(spec, layers=tuple(layers))


def test_settings_that_are_not_understood_are_all_listed():
    spec = with_setting(mlp([2, 3, 1]), 0, stride=(2, 2))
    spec = with_setting(spec, 1, pool="median")
    unknown = dataclasses.replace(spec.layers[0], activation="other")
    spec = dataclasses.replace(spec, layers=(unknown, *spec.layers[1:]))
    with pytest.raises(ValueError, match="layers that cannot be run") as error:
        architectures.forward(testing.draw(KEY, spec), jnp.ones((3, 2)), spec)
    assert str(error.value).splitlines()[1:] == [
        f"  Dense_0: expected an activation of {sorted(architectures.ACTIVATIONS)}, got 'other'",
        "  Dense_0: expected settings of ['basis', 'max_pool', 'pool'] for kind 'dense', got "
        "'stride'",
        "  Dense_1: expected 'pool' of ('mean', 'sum', 'max', 'first', 'tokens'), got 'median'",
    ]


CNN = cnn([2, 4], [3], padding="VALID")
FLAT = cnn([2, 4], [3], pool="flatten", size=(7, 6))
RING = equivariant([3, 4], [2], "cyclic", positions=5)
VIT = vit(2, 4, 3, size=(4, 4), patch=2)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (mlp([2, 3, 1]), (7, 3), r"Dense_0: expected an input \[..., 2\], got \(7, 3\)"),
        (CNN, (7, 6, 3), r"Conv_0: .* \[..., position, position, 2\], got \(7, 6, 3\)"),
        (CNN, (6, 2), r"Conv_0: .* \[..., position, position, 2\], got \(6, 2\)"),
        (CNN, (2, 6, 2), r"Conv_0: .* window \(3, 3\) fits into, padding VALID, got \(2, 6\)"),
        (FLAT, (6, 7, 2), r"Dense_0: expected positions \(7, 6\), got \(6, 7\)"),
        (RING, (6, 3), r"Equivariant_0: .* on which 'cyclic' has 5 maps, got positions \(6,\)"),
        (VIT, (6, 4, 2), r"positions: expected positions \(5,\) .*, got \(7,\)"),
        (grid([3, 4], 2, [1]), (5, 3), r"Dense_0: expected an input \[..., 2\], got \(5, 3\)"),
        (with_setting(mlp([2, 1]), 0, pool="mean"), (2,), "Dense_0: expected positions to pool"),
    ],
    ids=["channels", "image channels", "no channels", "too small", "flattened", "ring", "tokens",
         "coordinates", "nothing to pool"],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_named(spec, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda p, x: architectures.forward(p, x, spec), testing.draw(KEY, spec), jnp.ones(shape)
        )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: cnn([1], [2]), "channels of an input and of a convolution"),
        (lambda: cnn([1, 2], []), "an output width"),
        (lambda: cnn([1, 2], [2], dims=3), "1 or 2 dimensions"),
        (lambda: cnn([1, 2], [2], pool="flatten"), "size of an image in 2 dimensions, got None"),
        (lambda: cnn([1, 2, 2], [2], kernel=(3,)), r"each of 2 layers.*got \(3,\)"),
        (lambda: cnn([1, 2], [2], norm="bach"), "norm of .* got 'bach'"),
        (lambda: cnn([1, 2], [2], norm="batch", groups=2), "groups with norm 'group' alone"),
        (lambda: cnn([1, 5], [2], norm="group", groups=2), "'c0': expected a width in 2 equal"),
        (lambda: cnn([1, 2], [2], activation="rleu"), "activation of .* got 'rleu'"),
        (
            lambda: cnn([1, 2], [2], kernel=5, padding="VALID", pool="flatten", size=(4, 9)),
            "Conv_0: expected an image that its window fits into",
        ),
        (lambda: equivariant([3, 4], [2], "cyclic"), "the number of positions"),
        (lambda: equivariant([3, 4], [2], "circle"), "basis of .* got 'circle'"),
        (lambda: resnet(3, [], 2), "a stage's width"),
        (lambda: resnet(3, [6, 9], 2, bottleneck=2), "widths that 2 divides"),
        (lambda: vit(3, 6, 2, size=(5, 4), patch=2), r"patches divide.*got \(5, 4\), \(2, 2\)"),
        (lambda: vit(3, 5, 2, size=(4, 4), patch=2), "a width in 2 equal heads, got 5"),
        (lambda: grid([], 2, [1]), "1 to 3 coordinates"),
        (lambda: grid([3], 2, []), "the width of an output"),
        (lambda: hash_grid(2, 2, [1], coarsest=9, finest=3), "coarsest <= finest"),
    ],
)
def test_builders_reject(build, message):
    with pytest.raises(ValueError, match=message):
        build()
