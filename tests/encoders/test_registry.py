"""Encoders by name, and one of a user: built, described, and what is not supported."""

import json
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.encoders import EXAMPLES

from wsjax.encoders import ENCODERS, SNE, Encoder, Regressor, build, describe


class Sum(Encoder):
    """A linear map of the sum of entries."""

    code: int = 4
    powers: tuple[int, ...] = (1, 2)

    def view(self, spec):
        return np.ones(spec.count, np.float32)

    @nn.compact
    def __call__(self, vectors, view, train=False):
        return nn.Dense(self.code)(jnp.stack([(vectors**p * view).sum(-1) for p in self.powers], 1))


class Headed(Sum):
    head: nn.Module | None = None


@pytest.mark.parametrize("name", ENCODERS)
def test_a_description_builds_the_same_encoder(name):
    for encoder in (ENCODERS[name](), EXAMPLES[name]):
        key, settings = describe(encoder)
        assert key == name
        again = build(key, json.loads(json.dumps(settings)))
        assert again == encoder
        assert hash(again) == hash(encoder)


def test_an_encoder_of_a_user_is_built_from_its_module():
    module = types.ModuleType("of_a_user")
    kind = type("Sum", (Sum,), {"__module__": "of_a_user", "__qualname__": "Sum"})
    module.Sum, sys.modules["of_a_user"] = kind, module
    try:
        name, settings = describe(kind(code=3))
        assert name == "of_a_user:Sum"
        assert settings == {"code": 3, "powers": (1, 2)}
        assert build(name, json.loads(json.dumps(settings))) == kind(code=3)
    finally:
        del sys.modules["of_a_user"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sme", {}, r"expected an encoder of \[.*'sne'.*\], or 'module:Class'; got 'sme'"),
        ("sne", {"chunks": 4}, r"'sne' has the settings \[.*'chunk'.*\], got \['chunks'\]"),
        ("sne", {"width": 7}, "width: expected even, and a multiple of heads = 4, got 7"),
        ("no_such_module:Sum", {}, "no module 'no_such_module' to import"),
        ("json:loads", {}, "expected a subclass of wsjax.encoders.Encoder, got <function"),
        ("json:Encoder", {}, "expected a subclass of wsjax.encoders.Encoder, got None"),
        ("flax.linen:Dense", {}, "expected a subclass of wsjax.encoders.Encoder, got <class"),
        (":Sum", {}, "no module '' to import"),
        (3, {}, "got 3"),
    ],
)
def test_unknown_names_and_settings_are_named(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build(name, settings)


def test_a_class_or_setting_that_a_checkpoint_cannot_store_is_named():
    class Local(Sum):
        pass

    with pytest.raises(ValueError, match=r"top level of a module.*<locals>.Local"):
        describe(Local())
    with pytest.raises(ValueError, match=r"Headed: expected settings that are numbers.*head = "):
        describe(Headed(head=Regressor()))


def test_the_contract_is_abstract_and_its_defaults_are_the_narrowest():
    class Without(Encoder):
        def view(self, spec):
            return None

    with pytest.raises(TypeError, match=r"abstract.*__call__"):
        Without()
    assert not any((Sum.reads_any, Sum.mixes, Sum.edits, Sum.runs_network))
    assert Sum().calibrate(np.zeros((1, 3)), None, {}) == {}
    with pytest.raises(ValueError, match="Sum reads one architecture at a time, got 2"):
        Sum().stack([None, None])
    assert jax.eval_shape(Sum().init, jax.random.key(0), np.zeros((2, 3), np.float32), np.ones(3))


def test_mixing_is_declared_where_views_stack():
    for encoder in ENCODERS.values():
        assert encoder.mixes == (encoder.stack is not Encoder.stack)
    assert SNE.mixes
