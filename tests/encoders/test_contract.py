"""One battery for all encoders; what is particular to a method is tested in its own file."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import battery
from cases.encoders import EXAMPLES, GOLDEN, SIREN, SPECS, applied, start

from wsjax import architectures, networks, testing
from wsjax.encoders import ENCODERS, Encoder
from wsjax.symmetries import permutations
from wsjax.views import padding


def test_every_encoder_is_in_the_battery():
    assert set(EXAMPLES) == set(ENCODERS) == set(GOLDEN)


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden_values(name):
    encoder = EXAMPLES[name]
    variables, vectors, view = start(encoder, SPECS.get(name, SIREN))
    embeddings = np.asarray(applied(encoder)(variables, vectors, view))
    assert embeddings.shape == (3, 4)
    direction = np.random.default_rng(0).standard_normal(embeddings.shape)
    np.testing.assert_allclose(np.sum(embeddings * direction), GOLDEN[name], atol=1e-4)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in SPECS])
@pytest.mark.parametrize("widths", [[1, 1, 1], [3, 2], [1, 7, 3, 2, 1]], ids=str)
def test_odd_widths_give_finite_embeddings_that_depend_on_every_array(name, widths):
    encoder, spec = EXAMPLES[name], architectures.mlp(widths, "tanh")
    variables, vectors, view = start(encoder, spec, batch=1)
    encode = jax.jit(lambda x: encoder.apply(variables, x, view))
    code = encode(vectors)
    assert np.isfinite(code).all()
    for a in spec.arrays:
        params = networks.unravel(vectors, spec)
        moved = networks.ravel({**params, a.name: params[a.name] + 1.0}, spec)
        assert np.abs(encode(moved) - code).max() > 1e-6, f"blind to {a.name}"


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_networks_of_another_size_are_errors(name):
    """Longer ones are networks with padding, where several architectures share a batch."""
    spec, encoder = architectures.mlp([1, 4, 4, 1], "sin"), EXAMPLES[name]
    view, longer = encoder.view(spec), [] if encoder.mixes or name == "inr2vec" else [(2, 99)]
    for shape in [(2, 20), (spec.count,), *longer]:
        with pytest.raises(ValueError, match=rf"networks \[batch, .*\], got \[.*{shape[-1]}\]"):
            jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, view), np.zeros(shape))


@pytest.mark.parametrize("name", ["stat_nn", "deepsets"])
def test_statistics_are_invariant_to_permutations(name):
    encoder = EXAMPLES[name]
    variables, vectors, view = start(encoder, SIREN)
    shuffled = permutations.shuffle(jax.random.key(5), vectors[0], permutations.moves(SIREN))
    assert not np.allclose(shuffled, vectors[0])
    encode = lambda x: encoder.apply(variables, x[None], view)[0]
    np.testing.assert_allclose(encode(shuffled), encode(vectors[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["stat_nn", "deepsets"])
def test_statistics_do_not_read_the_wiring_and_the_assertion_fails(name):
    encoder = EXAMPLES[name]
    variables, vectors, view = start(encoder, SIREN)
    run = jax.jit(lambda x: encoder.apply(variables, x[None], view)[0])
    encode = lambda p: run(networks.ravel(p, SIREN))
    with pytest.raises(AssertionError, match="blind to"):
        testing.assert_invariant(
            encode, networks.unravel(vectors[0], SIREN), SIREN, jax.random.key(1)
        )


@pytest.mark.parametrize("name", ["sne", "mlp", "transformer", "inr2vec", "dmc", "hyperrep"])
def test_encoders_that_depend_on_the_order_of_neurons_are_caught(name):
    encoder, spec = EXAMPLES[name], SPECS.get(name, SIREN)
    variables, vectors, view = start(encoder, spec)
    run = jax.jit(lambda x: encoder.apply(variables, x[None], view)[0])
    encode = lambda p: run(networks.ravel(p, spec))
    with pytest.raises(AssertionError, match="depends on the order"):
        testing.assert_invariant(
            encode, networks.unravel(vectors[0], spec), spec, jax.random.key(1)
        )


# any encoder


OTHER = architectures.mlp([1, 4, 7, 3, 1], "sin", 30.0)
KEY = jax.random.key(11)


class Powers(Encoder):
    """An encoder of a user: a linear map of the means of powers, with a defect to choose."""

    code: int = 4
    defect: str = ""

    reads_any = True
    mixes = True

    def view(self, spec):
        return np.ones(spec.count, bool)

    def stack(self, views):
        width = padding.rounded(max(map(len, views)))
        fill = self.defect == "reads padding"
        return np.stack([np.pad(v, (0, width - len(v)), constant_values=fill) for v in views])

    @nn.compact
    def __call__(self, vectors, view, train=False):
        x = jnp.where(view, vectors, 0)
        if self.defect == "centres the batch":
            x = x - x.mean(0)
        if self.defect == "divides by zero":
            x = x / jnp.zeros_like(x)
        x = jnp.stack([(x**k).sum(-1) / view.sum(-1).astype(x.dtype) for k in (1, 2, 3)], axis=-1)
        x = nn.Dense(self.code)(0 * x if self.defect == "is constant" else x)
        return x[0] if self.defect == "has no batch axis" else x


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_encoder_keeps_the_contract(name):
    other = architectures.mlp([1, 4, 7, 1], "sin", 30.0) if name == "probing" else OTHER
    specs = (SPECS[name],) if name in SPECS else (SIREN, other)
    testing.assert_encoder(EXAMPLES[name], specs, KEY, rtol=2e-5)


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("reads padding", r"specs\[0\]: a mixed batch moves the embedding"),
        ("centres the batch", r"specs\[0\]: an embedding depends on the others of its batch"),
        ("divides by zero", r"specs\[1\]: embeddings are not finite"),
        ("is constant", r"specs\[0\]: networks have the same embedding"),
        ("has no batch axis", r"expected embeddings \[3, code\], got \(4,\)"),
    ],
)
def test_an_encoder_that_breaks_the_contract_is_caught(defect, message):
    testing.assert_encoder(Powers(), (SIREN, OTHER), KEY)
    with pytest.raises(AssertionError, match=message):
        testing.assert_encoder(Powers(defect=defect), (SIREN, OTHER), KEY)


def test_an_encoder_of_a_user_is_audited_in_one_call():
    spec = architectures.mlp([2, 6, 2], "relu")
    audit = testing.audit_encoder(Powers(), spec, KEY, samples=1)
    assert audit["permutation"].verdict == "blind"  # to which weight meets which as well
    assert audit["scale"].verdict == "broken"
    fixed = testing.audit_encoder(EXAMPLES["mlp"], spec, KEY, samples=1)
    assert fixed["permutation"].verdict == "broken"
    assert "fixed to one architecture" in fixed["widening"].reason


def test_an_encoder_of_a_user_goes_through_the_battery():
    encodings = battery.encodings(Powers())
    assert not encodings.unsupported
    name = next(iter(battery.FAMILIES))
    law, control = battery.errors(encodings.encode[name], battery.CASES[name][0])
    assert law < 1e-5
    assert control < 1e-5  # blind: no merit
