import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax.training import optimizer
from wsjax.training.optimizer import Settings

pytestmark = pytest.mark.trains


def test_schedules():
    base = Settings(steps=100, learning_rate=1.0, warmup=10)
    rate = lambda **change: optimizer.make_schedule(dataclasses.replace(base, **change))
    cosine = rate()
    assert [float(cosine(s)) for s in (0, 10, 55, 100)] == pytest.approx([0.1, 1, 0.5, 0])
    assert float(rate(schedule="constant")(99)) == 1
    steps = rate(schedule="multistep", milestones=(0.5, 0.8), decay=0.1)
    assert [float(steps(s)) for s in (10, 49, 50, 79, 80)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_adam_and_adamw_decay_differently():
    variables = {"w": jnp.array([1.0, -2.0])}
    gradient = {"w": jnp.array([0.5, 0.5])}
    for name, decayed in (("adamw", [1 - 0.1 - 0.1 * 0.3, -2 - 0.1 + 0.1 * 0.6]), ("adam", None)):
        settings = Settings(
            optimizer=name, weight_decay=0.3, clip=0, learning_rate=0.1, schedule="constant"
        )
        adam = optimizer.make_optimizer(settings)
        update, _ = adam.update(gradient, adam.init(variables), variables)
        got = optax.apply_updates(variables, update)["w"]
        # Adam's first update is the sign of its gradient: 0.5 + 0.3 * (1, -2) = (0.8, -0.1)
        want = decayed or [1 - 0.1, -2 + 0.1]
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_muon_moves_a_matrix_along_an_orthogonal_one_and_a_vector_as_nadam_does():
    variables = {"w": jnp.zeros((4, 3)), "b": jnp.zeros(3)}
    gradient = {"w": jnp.array(np.random.default_rng(0).normal(size=(4, 3))), "b": jnp.ones(3)}
    muon = optimizer.make_optimizer(
        Settings(optimizer="muon", clip=0, learning_rate=0.1, schedule="constant")
    )
    update, _ = muon.update(gradient, muon.init(variables), variables)
    nadam = optax.nadamw(0.1, weight_decay=0.0)
    plain, _ = nadam.update(gradient, nadam.init(variables), variables)
    np.testing.assert_allclose(update["b"], plain["b"], rtol=1e-5)
    values = np.linalg.svd(update["w"], compute_uv=False)
    scale = 0.1 * optimizer.RMS * 2  # RMS times the root of the longer side
    assert ((values > 0.6 * scale) & (values < 1.3 * scale)).all()
    assert values.max() / values.min() < np.linalg.cond(gradient["w"])


def test_amsgrad_is_pytorchs():
    """Its formula, with decay apart; a large first gradient fades only with its correction."""
    rule = Settings(optimizer="amsgrad", clip=0, learning_rate=0.1, schedule="constant")
    rule = optimizer.make_optimizer(dataclasses.replace(rule, weight_decay=0.5))
    gradients = np.array([100.0, *np.random.default_rng(0).normal(size=400)])
    state, variables, step = rule.init({"w": jnp.ones(1)}), {"w": jnp.ones(1)}, jax.jit(rule.update)
    w, m, v, top = 1.0, 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        change, state = step({"w": jnp.full(1, g)}, state, variables)
        variables = optax.apply_updates(variables, change)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        top = max(top, v)
        size = np.sqrt(top) / np.sqrt(1 - 0.999**t) + 1e-8
        w -= 0.1 * (m / (1 - 0.9**t) / size + 0.5 * w)
        assert variables["w"][0] == pytest.approx(w, rel=1e-3, abs=1e-5), t
    torch = pytest.importorskip("torch")
    theirs = torch.ones(1, requires_grad=True)
    adamw = torch.optim.AdamW([theirs], 0.1, weight_decay=0.5, amsgrad=True)
    for g in gradients:
        theirs.grad = torch.full((1,), g)
        adamw.step()
    assert variables["w"][0] == pytest.approx(theirs.item(), rel=1e-3, abs=1e-5)


def test_settings_name_every_mistake():
    words = (
        r"(?s)steps: expected at least 1, got 0.*"
        r"microbatch: expected 0 or a divisor of batch = 32, got 5.*"
        r"warmup: .*schedule: expected one of .*, got 'linear'.*ema: .*got 1"
    )
    with pytest.raises(ValueError, match=words):
        Settings(steps=0, microbatch=5, schedule="linear", ema=1)
    json.dumps(dataclasses.asdict(Settings()))  # a checkpoint's config holds it
