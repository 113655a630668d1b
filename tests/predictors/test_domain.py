"""The domain: networks like those of training are in, others out, with the reason."""

import dataclasses

import numpy as np
import pytest
from cases.predictor_zoos import OTHER, SPEC, TANH, accuracies

from wsjax.predictors.domain import COLLECTION, Domain
from wsjax.predictors.features import describe


@pytest.fixture(scope="module")
def domain():
    return made(seed=0)


def made(seed, train=60, calibration=40):
    zoo = accuracies(train + calibration, seed)
    values = describe(zoo.vectors, SPEC).values
    return Domain.of([SPEC], zoo.vectors[:train], values[:train], values[train:])


def verdicts(domain, vectors):
    return domain.check(vectors, describe(vectors, SPEC))


def share(found, kind):
    return np.mean([verdict == kind for verdict, _ in found])


def test_most_held_out_networks_are_in():
    shares = [share(verdicts(made(s), accuracies(100, s + 50).vectors), "in") for s in range(5)]
    assert np.mean(shares) > 0.88


def test_networks_of_ten_times_the_size_are_out(domain):
    found = verdicts(domain, accuracies(50, 9).vectors * 10)
    assert share(found, "out") > 0.9
    assert "root mean square" in found[0][1][0]
    assert ", training 0." in found[0][1][0]


def test_constant_arrays_are_out_and_named(domain):
    vectors = accuracies(3, 9).vectors
    vectors[1, -2:] = 0  # the last bias
    found = verdicts(domain, vectors)
    assert found[1] == ("out", ["Dense_1/bias: constant, in training it was not", *found[1][1][1:]])
    assert found[0][0] == "in"


def test_far_networks_are_out_by_their_distance(domain):
    """Of usual sizes and quantiles of arrays, but one kernel of rank one."""
    vectors = accuracies(20, 9).vectors
    kernel = slice(0, 15)
    rng = np.random.default_rng(0)
    for v in vectors:
        outer = np.outer(rng.normal(size=3), rng.normal(size=5)).ravel()
        v[kernel] = outer * np.linalg.norm(v[kernel]) / np.linalg.norm(outer)
    found = verdicts(domain, vectors)
    assert share(found, "in") < 0.2
    assert any("Dense_0/kernel: log singular value" in r for _, own in found for r in own)


def test_other_architectures_are_named(domain):
    assert domain.architecture(SPEC) == ""
    assert domain.architecture(OTHER) == (
        "another architecture: Dense_0/kernel is shape (3, 6), training shape (3, 5)"
    )
    assert domain.architecture(TANH) == ("another architecture: Dense_0 has tanh, training relu")
    first = dataclasses.replace(SPEC.layers[0], activation="other")
    unknown = dataclasses.replace(SPEC, layers=(first, *SPEC.layers[1:]))
    assert domain.architecture(unknown) == (
        "the activation of Dense_0 is not known, in training it was relu: state it "
        "(--set activation=relu)"
    )


def test_a_collection_of_other_networks_is_noticed_where_each_alone_is_not(domain):
    """The second kernel is a little smaller against the first: within what single networks are."""
    vectors = accuracies(40, 9).vectors
    skewed = vectors.copy()
    skewed[:, :15] *= 1.4
    skewed[:, 20:30] /= 1.4
    assert share(verdicts(domain, skewed), "in") > 0.7
    p = domain.shift(describe(skewed, SPEC).values)
    assert p is not None
    assert p <= 0.001


def test_the_p_value_of_a_collection_is_uniform_at_most():
    values = [made(s).shift(describe(accuracies(20, s + 90).vectors, SPEC).values)
              for s in range(25)]  # fmt: skip
    values = np.array(values, float)
    assert (values <= 0.2).mean() < 0.45
    assert values.max() > 0.5


def test_few_networks_are_no_collection(domain):
    values = describe(accuracies(COLLECTION, 3).vectors, SPEC).values
    assert domain.shift(values[1:]) is None
    assert domain.shift(values) is not None


def test_arrays_come_back(domain):
    from wsjax import networks

    again = Domain.from_arrays([networks.to_json(SPEC)], domain.arrays())
    vectors = accuracies(10, 5).vectors * 3
    assert verdicts(again, vectors) == verdicts(domain, vectors)
    with pytest.raises(ValueError, match="absent: \\['spread'\\]"):
        Domain.from_arrays([], {k: v for k, v in domain.arrays().items() if k != "spread"})


def test_recognised_architectures_of_the_same_arrays_are_adopted(domain):
    """Strides and the names of axes are not in a file; activations are not guessed."""
    layers = tuple(
        dataclasses.replace(x, settings=(("stride", (1, 1)),), activation=a)
        for x, a in zip(SPEC.layers, ("relu", "none"), strict=True)
    )
    recognised = dataclasses.replace(SPEC, layers=layers)
    assert domain.architecture(recognised)
    assert domain.adopted(recognised) == SPEC
    first = dataclasses.replace(layers[0], activation="other")
    unknown = dataclasses.replace(recognised, layers=(first, layers[1]))
    assert domain.adopted(unknown) == unknown
    assert domain.adopted(unknown, "tanh") == unknown
    assert domain.adopted(unknown, "relu") == SPEC
    assert domain.adopted(TANH) == TANH
    assert domain.adopted(OTHER) == OTHER
