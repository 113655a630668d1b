"""Zoos of one architecture or several: their checks, and splits that keep runs whole."""

import dataclasses

import numpy as np
import pytest

from wsjax import architectures
from wsjax.zoos import Zoo, concatenate, join, split

WIDE, NARROW = architectures.mlp([1, 4, 1], "tanh"), architectures.mlp([1, 2, 1], "relu")


def zoo(spec, n, seed=0, runs=None):
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(n, spec.count)).astype(np.float32)
    labels = {"accuracy": draw.uniform(size=n).astype(np.float32)}
    return Zoo.of_spec(vectors, spec, labels, runs=runs)


SPEC = architectures.mlp([1, 2, 1])


def plain():
    vectors = np.random.default_rng(0).normal(size=(5, SPEC.count)).astype(np.float32)
    return Zoo.of_spec(vectors, SPEC, {"frequency": np.arange(5, dtype=np.float32)})


def mixed():
    """Twelve networks of six runs, two checkpoints each."""
    return concatenate(
        [zoo(WIDE, 8, runs=np.repeat([3, 5, 8, 9], 2)), zoo(NARROW, 4, runs=np.repeat([1, 2], 2))]
    )


def test_each_architecture_comes_back_as_it_went_in():
    found = mixed()
    for s, (spec, n) in enumerate([(WIDE, 8), (NARROW, 4)]):
        np.testing.assert_array_equal(found.of(s).vectors, zoo(spec, n).vectors)
        np.testing.assert_array_equal(
            found.of(s).labels["accuracy"], zoo(spec, n).labels["accuracy"]
        )
    assert not found.vectors[8:, NARROW.count :].any()


def test_zoos_of_one_spec_share_it():
    found = join([zoo(WIDE, 2, 0), zoo(NARROW, 1), zoo(WIDE, 3, 1)])
    assert found.specs == (WIDE, NARROW)
    assert found.which.tolist() == [0, 0, 1, 0, 0, 0]
    assert len(found.of(0)) == 5


def test_architectures_that_nobody_has_go():
    narrow = mixed().select(np.arange(8, 12))
    assert narrow.specs == (WIDE, NARROW)
    found = narrow.compact()
    assert found.specs == (NARROW,)
    np.testing.assert_array_equal(found.of(0).vectors, narrow.of(1).vectors)
    assert found.vectors.shape == (4, NARROW.count)


def test_all_checkpoints_of_a_run_fall_into_one_split():
    for seed in range(10):
        found = split(mixed(), {"train": 3, "validation": 1, "test": 2}, seed)
        rows = np.concatenate(list(found.splits.values()))
        assert sorted(rows) == list(range(12))
        runs = [set(found.runs[v]) for v in found.splits.values()]
        assert [len(r) for r in runs] == [3, 1, 2]
        assert set.union(*runs) == {1, 2, 3, 5, 8, 9}
    orders = {tuple(split(mixed(), {"train": 3}, s).splits["train"]) for s in range(10)}
    assert len(orders) > 3


def test_joined_zoos_keep_their_splits_and_share_no_run():
    one = split(mixed(), {"train": 3, "test": 2}, 0)
    labels = {**one.labels, "more": one.labels["accuracy"]}
    other = dataclasses.replace(split(mixed(), {"train": 2, "test": 2}, 1), labels=labels)
    both = join([one, other.select(np.arange(12)[::-1])])
    assert both.specs == (WIDE, NARROW)
    assert len(np.unique(both.runs)) == 12
    assert sorted(both.labels) == ["accuracy"]
    for name in ("train", "test"):
        rows = both.splits[name]
        assert len(rows) == len(one.splits[name]) + len(other.splits[name])
        first = rows[rows < 12]
        np.testing.assert_array_equal(both.vectors[first], one.vectors[one.splits[name]])
        back = 11 - (rows[rows >= 12] - 12)
        assert sorted(back) == sorted(other.splits[name])
    with pytest.raises(ValueError, match="expected at least one zoo"):
        join([])


def test_a_part_keeps_its_splits():
    found = split(mixed(), {"train": 3, "test": 3}, 0)
    part = found.select(np.array([7, 6, 9, 8]))
    for name, rows in part.splits.items():
        assert set(part.runs[rows]) <= set(found.runs[found.splits[name]])
    assert sum(len(v) for v in part.splits.values()) == 4
    some = found.of(1).splits
    assert sum(len(v) for v in some.values()) == 4
    assert [len(v) % 2 for v in some.values()] == [0, 0]


def test_leaks_and_misfits_are_errors():
    good = mixed()
    cases = {
        "run 3 sits in two splits, 'train' and 'test'": {"splits": {"train": [0], "test": [1]}},
        "split 'train' names a network twice": {"splits": {"train": [0, 0]}},
        r"split 'test' names networks outside 0\.\.11": {"splits": {"test": [12]}},
        r"'runs' of 12 networks, got \(11,\)": {"runs": good.runs[:11]},
        r"architectures 0\.\.1, got \[0, 2\]": {"which": 2 * good.which},
        "zeros beyond the 7 weights of architecture 1": {"vectors": good.vectors + 1},
        r"expected vectors \[network, 13 or more\]": {"vectors": good.vectors[:, :7]},
    }
    for message, change in cases.items():
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(good, **change)
    poisoned = good.vectors.copy()
    poisoned[9, 2] = np.nan
    with pytest.raises(ValueError, match=r"Dense_0/(kernel|bias)"):
        dataclasses.replace(good, vectors=poisoned)
    poisoned[2, 0] = np.inf  # of the other architecture
    with pytest.raises(ValueError, match=r"(?s)in network 2\n.*in network 9"):
        dataclasses.replace(good, vectors=poisoned)
    with pytest.raises(ValueError, match="expected at most 6 runs in all splits"):
        split(good, {"train": 7}, 0)
    with pytest.raises(ValueError, match="expected networks of architecture 1, got none"):
        good.select(np.arange(3)).of(1)
    with pytest.raises(ValueError, match="expected at least one zoo"):
        concatenate([])


def test_wrong_zoos_of_one_architecture_are_errors():
    one = plain()
    with pytest.raises(ValueError, match="empty"):
        Zoo.of_spec(one.vectors[:0], SPEC, {})
    with pytest.raises(ValueError, match=r"expected vectors \[network, 7\], got \(5, 6\)"):
        Zoo.of_spec(one.vectors[:, 1:], SPEC, {})
    with pytest.raises(ValueError, match=r"expected 'a' of 5 networks, got \(4,\)"):
        Zoo.of_spec(one.vectors, SPEC, {"a": np.zeros(4)})
    vectors = one.vectors.copy()
    vectors[3, SPEC.count - 1] = np.nan
    with pytest.raises(ValueError, match=r"Dense_1/bias: 1 of 5 .* infinite, in network 3"):
        Zoo.of_spec(vectors, SPEC, {})
    with pytest.raises(ValueError, match="two splits"):
        dataclasses.replace(one, splits={"train": np.array([0, 1]), "test": np.array([1])})
    with pytest.raises(ValueError, match=r"outside 0..4"):
        dataclasses.replace(one, splits={"train": np.array([5])})


def test_splits_are_disjoint_and_seeded():
    one = plain()
    shuffled = split(one, {"train": 2, "val": 1, "test": 2}, seed=0, sort=False)
    members = np.concatenate(list(shuffled.splits.values()))
    assert sorted(members) == [0, 1, 2, 3, 4]
    again, other = (split(one, {"train": 3}, s, sort=False).splits["train"] for s in (0, 1))
    np.testing.assert_array_equal(again[:2], shuffled.splits["train"])
    assert other.tolist() != again.tolist()
    part, labels = shuffled.part("test", "frequency")
    np.testing.assert_array_equal(part.vectors, one.vectors[labels.astype(int)])
    with pytest.raises(ValueError, match="at most 5"):
        split(one, {"train": 6}, seed=0)
    with pytest.raises(ValueError, match=r"expected a split of \['test', 'train', 'val'\]"):
        shuffled.part("dev", "frequency")


def test_splits_and_labels_that_nothing_can_be_learned_from_are_named():
    labels = {"a": np.array([0, 1, np.nan, 3, np.inf], np.float32)}
    splits = {
        "train": np.array([1, 2, 4]),
        "test": np.array([0, 3]),
        "validation": np.array([], int),
    }
    zoo = Zoo.of_spec(plain().vectors, SPEC, labels, splits)
    np.testing.assert_array_equal(zoo.label("test", "a"), [0, 3])
    with pytest.raises(ValueError, match="'validation' is empty: expected at least 1 network, got"):
        zoo.part("validation", "a")
    with pytest.raises(ValueError, match=r"'a': 2 of 3 .* split 'train' .* of networks 2, 4;"):
        zoo.part("train", "a")
