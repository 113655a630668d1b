"""The basis of equivariant linear maps, against counts from the literature and by brute force."""

import itertools

import numpy as np
import pytest

from wsjax.encoders.parts.equivariant_maps import count, partitions, readings, writings

BELL = [1, 1, 2, 5, 15, 52, 203]


@pytest.mark.parametrize("n", range(7))
def test_partitions_of_one_name_are_bells_numbers(n):
    found = list(partitions(("h",) * n))
    assert len(found) == len(set(found)) == BELL[n]
    for blocks in found:
        assert sorted(itertools.chain(*blocks)) == list(range(n))


def test_blocks_have_one_name():
    axes = ("a", "b", "a", "b", "c")
    found = list(partitions(axes))
    assert len(found) == 4
    assert all(len({axes[i] for i in block}) == 1 for blocks in found for block in blocks)


@pytest.mark.parametrize("source", range(4))
@pytest.mark.parametrize("target", range(4))
def test_maps_between_tensors_of_one_axis(source, target):
    """Bell(k + l) of them (Maron et al., 2019, "Invariant and equivariant graph networks")."""
    assert count(("h",) * source, ("h",) * target) == BELL[source + target]


@pytest.mark.parametrize(
    ("source", "target", "maps"),
    [
        (("h0", "h1"), ("h0", "h1"), 4),  # exchangeable matrices (Hartford et al., 2018)
        (("h0", "h1"), ("h1", "h2"), 2),
        (("h0", "h1"), ("h2", "h3"), 1),
        ((), ("h0",), 1),
        ((), (), 1),
    ],
)
def test_maps_between_layers(source, target, maps):
    assert count(source, target) == maps


NESTED = (("in", "out"), ("other", "out"))


@pytest.mark.parametrize(
    ("source", "target", "maps"),
    [
        (("out", "in"), ("out", "in"), 3),  # same neuron, same group, anywhere
        (("out", "in"), ("in", "out"), 3),
        (("out", "in"), ("out",), 2),
        (("out", "in"), ("out", "other"), 2),  # same group, anywhere
        (("out", "in"), ("out", "out"), 5),  # as from ("out",): the mean within groups
        (("s", "out", "in"), ("out", "in", "s"), 6),
    ],
)
def test_nested_axes_agree_only_where_the_outer_ones_do(source, target, maps):
    assert count(source, target, NESTED) == maps
    assert count(target, source, NESTED) == maps
    for patterns in (readings(source, NESTED), writings(source, NESTED)):
        assert all("out" in names for names in patterns if {"in", "other"} & set(names))


def test_readings_and_writings_are_all_partitions_of_both():
    """Each pair, put together into blocks of axes of both arrays, is another one, and is all."""
    source, target = ("a", "b", "a"), ("a", "a", "b")
    found, into = set(), writings(target)
    for names, patterns in readings(source).items():
        for r, w in itertools.product(patterns, into.get(names, ())):
            joined = dict(zip(r.kept, w.kept, strict=True))
            blocks = {
                (block, w.blocks[joined[k]] if k in joined else ())
                for k, block in enumerate(r.blocks)
            }
            blocks |= {((), b) for k, b in enumerate(w.blocks) if k not in w.kept}
            found.add(frozenset(blocks))
    shifted = lambda b: (tuple(i for i in b if i < 3), tuple(i - 3 for i in b if i >= 3))
    want = {frozenset(map(shifted, blocks)) for blocks in partitions(source + target)}
    assert found == want


@pytest.mark.parametrize(
    ("source", "target"),
    [(("a", "b"), ("b", "a")), (("a", "a"), ("a",)), (("a",), ("a", "b")), (("a", "a"), ("b",))],
    ids=str,
)
def test_counts_are_dimensions(source, target):
    """Burnside: maps that commute with a group are as many as orbits of pairs of entries."""
    sizes = {"a": 3, "b": 2}
    orders = [itertools.permutations(range(n)) for n in sizes.values()]
    total, elements = 0, 0
    for element in itertools.product(*orders):
        g = dict(zip(sizes, element, strict=True))
        fixed = lambda name: sum(i == j for i, j in enumerate(g[name]))  # noqa: B023
        total += np.prod([fixed(name) for name in source + target])
        elements += 1
    assert total == elements * count(source, target)
