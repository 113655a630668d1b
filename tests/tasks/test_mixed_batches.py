"""Networks of several architectures in one batch."""

import jax
import numpy as np
import pytest
from cases.tasks import fit

from wsjax import architectures, networks, testing, zoos
from wsjax.encoders import SNE
from wsjax.tasks import losses
from wsjax.tasks.regression import Objective, Regression
from wsjax.views import chunks, padding

ENCODER = SNE(chunk=4, width=8, code=4, heads=2, chunk_depth=1, depth=1)
LARGE = architectures.mlp([1, 6, 5, 1], "sin", 30.0)
OTHERS = architectures.mlp([2, 3, 1], "relu"), architectures.mlp([1, 4, 4, 1], "tanh", bias=False)


def batch(*specs):
    vectors = [
        np.asarray(networks.ravel(testing.draw(jax.random.key(i), s), s))
        for i, s in enumerate(specs)
    ]
    views = [ENCODER.view(s) for s in specs]
    return vectors, (padding.vectors(vectors), chunks.stack(views))


def test_a_second_batch_of_other_architectures_does_not_recompile():
    """And each embedding is the one its network has alone, though the batch is padded."""
    batches = [(LARGE, OTHERS[0]), (OTHERS[1], LARGE)]
    _, (vectors, view) = batch(*batches[0])
    variables = jax.jit(ENCODER.init)(jax.random.key(0), vectors, view)
    encode = jax.jit(ENCODER.apply)
    embeddings = []
    for specs in batches:
        alone, (vectors, view) = batch(*specs)
        assert view.sizes[0] > ENCODER.view(OTHERS[0]).sizes[0]
        together = encode(variables, vectors, view)
        for spec, vector, embedding in zip(specs, alone, together, strict=True):
            single = encode(variables, vector[None], ENCODER.view(spec))[0]
            np.testing.assert_allclose(embedding, single, rtol=1e-5, atol=1e-6)
            embeddings.append(np.asarray(embedding))
    # one program for all mixed batches, and one for each of the three networks alone
    assert encode._cache_size() == 1 + 3
    assert min(np.abs(a - b).max() for a in embeddings for b in embeddings if a is not b) > 1e-6


def test_lengths_are_rounded_up_so_that_few_occur():
    lengths = {batch(architectures.mlp([1, n, n, 1]))[1][0].shape[1] for n in range(20, 40)}
    assert len(lengths) <= 8
    vectors, (padded, _) = batch(LARGE, OTHERS[0])
    assert padded.shape[1] <= 1.25 * len(vectors[0])
    np.testing.assert_array_equal(padded[1, len(vectors[1]) :], 0)


FIVE = (  # the kinds of Lim et al.'s diverse architectures
    architectures.cnn([1, 4, 4], [5], norm="batch"),
    architectures.cnn([1, 4, 4], [5], kernel=9, dims=1, norm="group", groups=2),
    architectures.deepsets([3, 4, 4], [5]),
    architectures.resnet(1, [4, 6], 5, blocks=1),
    architectures.vit(1, 8, 5, size=(4, 4), patch=(2, 2), blocks=1, heads=2),
)
CODERS = {
    "sne": {"chunk": 8, "width": 8, "code": 4, "heads": 2, "chunk_depth": 1, "depth": 1},
    "gmn": {"width": 8, "layers": 1, "code": 4},
}


@pytest.mark.trains
@pytest.mark.parametrize("encoder", CODERS)
def test_five_kinds_of_architectures_train_in_one_compiled_step(encoder, tmp_path, monkeypatch):
    labels = {"accuracy": np.linspace(0.1, 0.9, 8, dtype=np.float32)}
    draw = lambda i, spec: testing.draw(jax.random.key(i), spec, (8,))
    parts = [zoos.from_params(draw(i, spec), spec, labels) for i, spec in enumerate(FIVE)]
    zoo = zoos.split(zoos.join(parts), {"train": 20, "validation": 10, "test": 10}, 0)
    assert len(np.unique(zoo.which[zoo.splits["train"]])) == 5
    traced, original = [], losses.regression
    monkeypatch.setattr(losses, "regression", lambda *a, **k: traced.append(1) or original(*a, **k))
    task = Regression("accuracy", Objective(loss="bce", invariance=0.1, share=0.5))
    trained = fit(zoo, task, tmp_path, encoder, CODERS[encoder], (8,), steps=6, batch=10)
    assert len(traced) == 1  # six steps on batches of other architectures, traced once
    networks, _ = zoo.part("test", "accuracy")
    together = trained.predict(networks)
    assert np.ptp(together) > 1e-6
    for s in np.unique(networks.which)[:2].tolist():
        alone = trained.predict(networks.of(s).vectors, FIVE[s])
        np.testing.assert_allclose(together[networks.which == s], alone, rtol=1e-4, atol=1e-5)
