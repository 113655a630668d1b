"""Scalings, in float64: a factor that should not be there must not pass for rounding."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.scaling_cases import (
    CASES,
    KEY,
    MIXED,
    NOTHING,
    draw,
    moved,
    setting,
    stacked,
    with_omega,
)

from wsjax import architectures, networks
from wsjax.architectures import mlp
from wsjax.symmetries import permutations, scalings, signals
from wsjax.symmetries.scalings import KINDS, Element

case = pytest.mark.parametrize(
    "name", [pytest.param(n, id=n.replace(" ", "_")) for n in CASES if n not in NOTHING]
)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def admitted(network, kind):
    have = signals.scaling_group(network)
    if kind == "phase":
        return bool(have.phases)
    return any(getattr(f, kind) for f in have.factors.values())


def drawn(network, kinds):
    """A scaling of these kinds that is not the identity, if there is one."""
    still = not any(admitted(network, k) for k in kinds)
    elements = (scalings.sample(jax.random.fold_in(KEY, i), network, kinds) for i in range(20))
    return next(g for g in elements if still or moved(g, scalings.identity(network)) > 0)


@functools.cache
def copies(name):
    """[5, ...]: a network, and what it becomes by each of KINDS and by all of them."""
    network, params, _ = setting(name)
    elements = stacked(*(drawn(network, (k,)) for k in KINDS), drawn(network, KINDS))
    scaled = jax.jit(jax.vmap(lambda e: scalings.act(e, params, network)))(elements)
    return {k: np.concatenate([np.asarray(x)[None], scaled[k]]) for k, x in params.items()}


@case
def test_the_function_is_preserved(name):
    network, params, run = setting(name)
    out = run(copies(name))
    for i, kind in enumerate(KINDS, start=1):
        part = jax.tree.map(lambda x, i=i: x[i], copies(name))
        assert (moved(part, params) > 1e-3) == admitted(network, kind), kind
    for i, kinds in enumerate((*KINDS, KINDS), start=1):
        assert moved(out[i], out[0]) < 1e-9, kinds


@case
def test_the_raveled_form_is_the_same_action(name):
    network, params, _ = setting(name)
    elements = stacked(*(scalings.sample(jax.random.key(i), network) for i in (0, 1)))
    params = stacked(params, {k: 2 * np.asarray(x) for k, x in params.items()})

    @jax.jit
    def both(elements):
        multiply, add = scalings.factors(elements, network)
        vector = networks.ravel(params, network) * multiply + add
        return networks.unravel(vector, network), scalings.act(elements, params, network)

    vectors, arrays = both(elements)
    assert moved(vectors, arrays) < 1e-12


@case
def test_scalings_are_a_group(name):
    network, params, _ = setting(name)

    @jax.jit
    def laws(f, g, h):
        act = lambda e, p: scalings.act(e, p, network)
        after = lambda second, first: scalings.compose(second, first, network)
        undone = after(scalings.inverse(g, network), g)
        return (
            (act(after(g, f), params), act(g, act(f, params))),
            (after(h, after(g, f)), after(after(h, g), f)),
            (act(scalings.inverse(g, network), act(g, params)), params),
            (undone, scalings.identity(network)),
            (act(scalings.identity(network), params), params),
        )

    elements = [scalings.sample(jax.random.key(i), network) for i in range(3)]
    for one, two in laws(*elements):
        assert moved(one, two) < 1e-11


FORMS = {  # canonical form -> which of `copies` it should undo
    scalings.canonical_sign: 1,
    scalings.canonical_scale: 2,
    scalings.canonical_phase: 3,
    scalings.canonical: 4,
}


@case
def test_canonical_forms_are_constant_on_orbits(name):
    network, _, run = setting(name)
    assert KINDS == ("sign", "scale", "phase")  # the order of the copies
    pairs = [{k: x[[0, i]] for k, x in copies(name).items()} for i in FORMS.values()]
    settle = jax.jit(
        lambda pairs: [
            jax.vmap(functools.partial(form, spec=network))(pair)
            for form, pair in zip(FORMS, pairs, strict=True)
        ]
    )
    once = settle(pairs)
    twice = settle(once)
    first = lambda pair: {k: np.asarray(x)[0] for k, x in pair.items()}
    out = run(stacked(setting(name)[1], *map(first, once)))
    for i, (form, settled, again) in enumerate(zip(FORMS, once, twice, strict=True), start=1):
        own = first(settled)
        assert moved(out[i], out[0]) < 1e-9, form
        assert moved(first(again), own) < 1e-11, form
        assert moved({k: np.asarray(x)[1] for k, x in settled.items()}, own) < 1e-9, form


@pytest.mark.parametrize("name", ["mlp siren", "relu", "vit of one head", "residual of sines"])
def test_canonical_forms_do_not_know_the_numbering_of_neurons(name):
    network, params, _ = setting(name)

    @jax.jit
    def orders(p):
        g = permutations.sample(KEY, network)
        permute = lambda p: permutations.act(g, p, network)
        form = lambda p: scalings.canonical(p, network)
        return form(permute(p)), permute(form(p)), permute(p)

    one, two, permuted = orders(params)
    assert moved(permuted, params) > 0.1
    assert moved(one, two) < 1e-11


@pytest.mark.parametrize("name", NOTHING)
def test_what_admits_nothing(name):
    assert signals.scaling_group(CASES[name][0]).factors == {}
    assert signals.scaling_group(CASES[name][0]).phases == {}
    params = draw(CASES[name][0])
    g = scalings.sample(KEY, CASES[name][0])
    assert moved(scalings.act(g, params, CASES[name][0]), params) == 0
    assert moved(scalings.canonical(params, CASES[name][0]), params) == 0
    multiply, add = scalings.factors(g, CASES[name][0])
    assert multiply.min() == multiply.max() == 1
    assert add.min() == add.max() == 0


def test_a_half_turn_needs_omega_and_the_sign():
    network, params, batched = setting("mlp siren")
    run = lambda p: batched({k: x[None] for k, x in p.items()})
    g = Element({}, {"Dense_0": jnp.ones(6, jnp.int32)})
    shifted = scalings.act(g, params, network)
    assert moved(run(shifted), run(params)) < 1e-9
    step = shifted["Dense_0/bias"] - params["Dense_0/bias"]
    np.testing.assert_allclose(step, math.pi / 3)  # omega is 3
    for name in ("Dense_0/bias", "Dense_1/kernel"):
        assert moved(run({**params, name: shifted[name]}), run(params)) > 0.1
    other = {**shifted, "Dense_0/bias": params["Dense_0/bias"] + math.pi}  # as if omega were 1
    assert moved(run({**other, "Dense_1/kernel": params["Dense_1/kernel"]}), run(params)) > 0.1


def test_canonical_phases_need_omega():
    """The published script takes omega for 1: at 30, another function or nothing at all."""
    network, x = mlp([2, 6, 5, 1], "sin", omega=30.0), jnp.linspace(-1, 1, 40).reshape(20, 2)
    blind, drawn = with_omega(network, 1.0), draw(network)
    biases = [n for n in drawn if n in ("Dense_0/bias", "Dense_1/bias")]
    spread = {k: jnp.linspace(-1, 1, drawn[k].size) for k in biases}
    form = jax.jit(scalings.canonical_phase, static_argnums=1)
    run = jax.jit(architectures.forward, static_argnums=2)
    for size in (5.0, 1.5):  # biases beyond pi / 2, and within
        params = {**drawn, **{k: size * v for k, v in spread.items()}}
        ours, theirs = form(params, network), form(params, blind)
        out = run(params, x, network)
        assert moved(ours, params) > 1e-2
        assert moved(run(ours, x, network), out) < 1e-9
        if size > math.pi / 2:
            assert moved(run(theirs, x, network), out) > 0.1
            assert moved(run(theirs, x, blind), run(params, x, blind)) < 1e-9
        else:
            assert moved(theirs, params) == 0


def test_signs_and_half_turns_do_not_commute():
    network = mlp([1, 2, 1], "sin")
    flip = Element({"Dense_0": jnp.array([-1.0, 1.0])}, {"Dense_0": jnp.array([0, 0])})
    shift = Element({"Dense_0": jnp.ones(2)}, {"Dense_0": jnp.array([1, 1])})
    first = scalings.compose(shift, flip, network).phases["Dense_0"]
    second = scalings.compose(flip, shift, network).phases["Dense_0"]
    np.testing.assert_array_equal(first, [1, 1])
    np.testing.assert_array_equal(second, [-1, 1])


def test_what_canonical_forms_look_like():
    relu, sine = mlp([3, 5, 4, 2]), mlp([2, 50, 40, 1], "sin", omega=30.0)
    form = jax.jit(scalings.canonical_scale, static_argnames="spec")
    params = form(draw(relu, (3,)), spec=relu)
    for i in (0, 1):
        square = (params[f"Dense_{i}/kernel"] ** 2).sum(-2) + params[f"Dense_{i}/bias"] ** 2
        np.testing.assert_allclose(square, 1)
    params = jax.jit(scalings.canonical, static_argnames="spec")(draw(sine), spec=sine)
    for i in (0, 1):
        bias = params[f"Dense_{i}/bias"]
        assert bias.min() >= 0
        assert math.pi / 80 < bias.max() <= math.pi / 60


def test_neurons_that_are_equal_stay_as_they_are():
    relu, tanh = mlp([2, 3, 1]), mlp([2, 3, 1], "tanh")
    params = draw(relu)
    params |= {name: params[name].at[..., 0].set(0) for name in ("Dense_0/kernel", "Dense_0/bias")}
    settled = scalings.canonical_scale(params, relu)
    assert moved(settled["Dense_1/kernel"][0], params["Dense_1/kernel"][0]) == 0
    total = lambda p: sum(x.sum() for x in scalings.canonical_scale(p, relu).values())
    assert all(np.isfinite(g).all() for g in jax.jit(jax.grad(total))(params).values())
    tie = {**params, "Dense_0/kernel": jnp.array([[1.0, 2, 1], [-1, -1, -2]])}
    tie["Dense_0/bias"] = jnp.zeros(3)  # sums 0, 1 and -1
    settled = scalings.canonical_sign(tie, tanh)
    np.testing.assert_array_equal(settled["Dense_0/kernel"], [[1, 2, -1], [-1, -1, 2]])


def test_a_zoo_is_scaled_at_once():
    network = MIXED
    zoo, keys = draw(network, (4,)), jax.random.split(KEY, 4)
    elements = jax.jit(jax.vmap(lambda k: scalings.sample(k, network)))(keys)
    act = jax.jit(scalings.act, static_argnames="spec")
    alone = jax.jit(jax.vmap(lambda e, p: scalings.act(e, p, network)))
    assert moved(act(elements, zoo, spec=network), alone(elements, zoo)) < 1e-14
    one = jax.tree.map(lambda x: x[0], elements)
    for form in (lambda p: scalings.act(one, p, network), lambda p: scalings.canonical(p, network)):
        assert moved(jax.jit(form)(zoo), jax.jit(jax.vmap(form))(zoo)) < 1e-14
    multiply, add = scalings.factors(elements, network)
    assert multiply.shape == add.shape == (4, network.count)


def test_draws_are_what_they_should_be():
    network = mlp([1, 4000, 4000, 1], "sin")
    signs, phases = scalings.sample(KEY, network, spread=2.0)
    assert abs(signs["Dense_0"].mean()) < 0.05
    assert set(np.unique(signs["Dense_0"])) == {-1, 1}
    assert phases["Dense_0"].dtype == jnp.int32
    assert 1.9 < phases["Dense_0"].std() < 2.1
    assert not np.array_equal(signs["Dense_0"], signs["Dense_1"])
    logs = jnp.log(scalings.sample(KEY, mlp([1, 4000, 1]), spread=0.5).factors["Dense_0"])
    assert 0.48 < logs.std() < 0.52
    still = scalings.sample(KEY, network, ())
    assert moved(still, scalings.identity(network)) == 0
    assert (
        moved(scalings.sample(KEY, MIXED, ("scale", "phase"), 0.0), scalings.identity(MIXED)) == 0
    )


def test_float32_stays_float32():
    with jax.enable_x64(False):
        params = draw(MIXED)

        @jax.jit
        def every(params):
            g = scalings.sample(KEY, MIXED)
            scaled, settled = scalings.act(g, params, MIXED), scalings.canonical(params, MIXED)
            return g.factors, scaled, settled, scalings.factors(g, MIXED)

        for part in every(params):
            assert {x.dtype for x in jax.tree.leaves(part)} == {jnp.dtype("float32")}


def test_an_element_that_does_not_fit_is_rejected():
    network = mlp([2, 3, 2, 1], "sin")
    params = draw(network)
    g = Element({"Dense_2": jnp.ones(1), "Dense_0": jnp.ones(2)}, {"Dense_1": jnp.zeros((2, 3))})
    message = (
        "element does not fit its spec:\n"
        "  'Dense_2': expected factors for ['Dense_0', 'Dense_1']\n"
        "  'Dense_0': expected factors [..., 3] ('h0',), got (2,)\n"
        "  'Dense_1': expected phases [..., 2] ('h1',), got (2, 3)"
    )
    for use in (
        lambda: scalings.act(g, params, network),
        lambda: scalings.factors(g, network),
        lambda: scalings.inverse(g, network),
        lambda: scalings.compose(g, g, network),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            use()
        assert str(error.value) == message


def test_other_mistakes_are_rejected():
    network = mlp([2, 3, 1], "sin")
    g = scalings.identity(network)
    with pytest.raises(ValueError, match=r"kinds of \('sign', 'scale', 'phase'\), got \('flip',\)"):
        scalings.sample(KEY, network, ("flip",))
    with pytest.raises(ValueError, match=r"same signals, got \['Dense_0 \(phases\)'\] and \['Den"):
        scalings.compose(g, Element({}, g.phases), network)
    layers = tuple(dataclasses.replace(layer, name="A") for layer in network.layers)
    with pytest.raises(ValueError, match=r"different names, got \['A'\] more than once"):
        signals.scaling_group(dataclasses.replace(network, layers=layers))


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_canonical_forms_of_small_and_large_float32(size):
    """Squares and cubes of such weights are beyond float32."""
    with jax.enable_x64(False):
        relu, tanh = mlp([3, 3, 1]), mlp([3, 3, 1], "tanh")
        params = {k: np.array(x, np.float32) for k, x in draw(relu).items()}
        for name in ("Dense_0/kernel", "Dense_0/bias"):
            params[name] *= np.float32(size)
        scaled = jax.jit(scalings.canonical_scale, static_argnums=1)(params, relu)
        square = np.square(scaled["Dense_0/kernel"]).sum(0) + np.square(scaled["Dense_0/bias"])
        np.testing.assert_allclose(square, 1, rtol=1e-5)
        params["Dense_0/bias"][:] = 0  # signs are those of sums of cubes
        params["Dense_0/kernel"] = np.float32(size * np.array([[3, -3, 1], [-1, 1, 1], [-2, 2, 0]]))
        settled = jax.jit(scalings.canonical_sign, static_argnums=1)(params, tanh)
        np.testing.assert_array_equal(np.sign(settled["Dense_0/kernel"][0]), 1)


def test_networks_without_a_finite_canonical_form_are_named():
    with jax.enable_x64(False):
        relu, sine = mlp([2, 3, 1]), mlp([2, 3, 1], "sin", omega=30.0)
        large = {k: np.float32(1e30 * np.stack([0 * x, x])) for k, x in draw(relu).items()}
        with pytest.raises(ValueError, match=r"scales are beyond.*\n.*Dense_1/kernel.*network 1"):
            scalings.canonical(large, relu)
        far = {k: np.array(x, np.float32) for k, x in draw(sine).items()}
        far["Dense_0/bias"][1] = 1e10
        with pytest.raises(ValueError, match=r"phases are beyond.*\n.*Dense_0/bias: 1 of 3"):
            scalings.canonical_phase(far, sine)
        far["Dense_0/bias"][1] = np.nan
        with pytest.raises(ValueError, match="Dense_0/bias: 1 of 3 values are NaN"):
            scalings.canonical_sign(far, sine)
