"""Ends of pairs: blocks give what indices give, values and gradients alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import FAMILIES

from wsjax import architectures
from wsjax.encoders.pair_ends import MOST, Block, blocks
from wsjax.encoders.scale_view import start_rows
from wsjax.encoders.scalegmn import ScaleGMN

MLP = architectures.mlp([2, 32, 32, 3], "relu")
CNN = architectures.cnn([1, 16, 16, 16], [10])
RESNET = architectures.resnet(3, [16, 32], 10, blocks=1, norm="none", bias=True)
SPECS = {"mlp": MLP, "cnn": CNN, **{k: v[0] for k, v in FAMILIES.items()}}


def _view(spec, symmetry="hetero"):
    return ScaleGMN(width=8, layers=2, symmetry=symmetry).view(spec)


def test_dense_layers_are_blocks():
    view = _view(MLP)
    sizes = [(b.first, b.senders, b.receivers) for b in view.blocks]
    assert sizes == [(0, 2, 32), (64, 32, 32), (64 + 1024, 32, 3)]
    assert view.blocks[-1].last == len(view.graph.sender)
    assert [b.senders * b.receivers for b in _view(CNN).blocks] == [16, 256, 256, 160]


@pytest.mark.parametrize("name", SPECS)
def test_blocks_are_the_pairs_of_one_slice_each(name):
    try:
        view = _view(SPECS[name], "permutation")
    except ValueError as error:
        pytest.skip(str(error)[:60])
    ends = np.cumsum([0, *(n for *_, n in view.pairs)])
    for b in view.blocks:
        assert np.searchsorted(ends, b.first, "right") == np.searchsorted(ends, b.last)
        i, j = np.divmod(np.arange(b.last - b.first), b.receivers)
        np.testing.assert_array_equal(view.graph.sender[b.first : b.last], b.sender + i)
        np.testing.assert_array_equal(view.graph.receiver[b.first : b.last], b.receiver + j)
    covered = sum(b.last - b.first for b in view.blocks)
    assert covered in (0, len(view.graph.sender))
    assert len(view.blocks) <= MOST


@pytest.mark.parametrize("side", ["sender", "receiver"])
@pytest.mark.parametrize("kind", [None, "scale", "output"])
@pytest.mark.parametrize("spec", [MLP, CNN], ids=["mlp", "cnn"])
def test_blocks_and_indices_agree(spec, kind, side):
    view = _view(spec)
    rows = start_rows(view, 2)
    ends = getattr(rows, side)
    by_index = ends.replace(blocks=())
    if kind:
        slices = rows.of_pairs(kind, "receiver")
        ends, by_index = ends.take(slices), by_index.take(slices)
    assert ends.blocks
    assert not by_index.blocks
    nodes = jax.random.normal(jax.random.key(0), (sum(view.nodes), 2, 4))
    pairs = jax.random.normal(jax.random.key(1), (len(ends), 2, 4))
    np.testing.assert_array_equal(ends(nodes), by_index(nodes))
    sums = [e.sum(pairs, len(nodes)) for e in (ends, by_index)]
    np.testing.assert_allclose(*sums, rtol=1e-5, atol=1e-5)
    slopes = [jax.grad(lambda x, e=e: (e(x) * pairs).sum())(nodes) for e in (ends, by_index)]
    np.testing.assert_allclose(*slopes, rtol=1e-5, atol=1e-5)
    slopes = [
        jax.grad(lambda x, e=e: (e.sum(x, len(nodes)) * nodes).sum())(pairs)
        for e in (ends, by_index)
    ]
    np.testing.assert_allclose(*slopes, rtol=1e-5, atol=1e-5)


def test_slices_that_cut_a_block_are_gathered():
    rows = start_rows(_view(MLP), 2)
    nodes = jax.random.normal(jax.random.key(0), (69, 2, 4))
    for slices in ([(0, 100)], [(70, 90), (0, 64)], []):
        part, whole = rows.sender.take(slices), rows.sender(nodes)
        want = np.concatenate([whole[:0], *(whole[a:b] for a, b in slices)])
        assert not part.blocks
        np.testing.assert_array_equal(part(nodes), want)
    both = rows.sender.take([(1088, 1184), (0, 64)])
    assert [(b.first, b.last) for b in both.blocks] == [(0, 96), (96, 160)]
    whole = rows.sender(nodes)
    np.testing.assert_array_equal(both(nodes), np.concatenate([whole[1088:], whole[:64]]))


def test_what_comes_in_no_blocks_is_gathered():
    one_to_one = np.arange(20)
    assert blocks(one_to_one, one_to_one + 20, np.zeros(20)) == ()
    shuffled = np.repeat([0, 1], 16), np.concatenate([np.arange(2, 34, 2), np.arange(3, 35, 2)])
    assert blocks(*shuffled, np.zeros(32)) == ()
    assert blocks(np.zeros(0), np.zeros(0), np.zeros(0)) == ()
    assert _view(RESNET).blocks == ()  # residuals cut the runs of channels: hundreds of them


def test_no_block_goes_beyond_a_slice():
    sender, receiver = np.repeat(np.arange(4), 16), np.tile(np.arange(4, 20), 4)
    assert blocks(sender, receiver, np.zeros(64)) == (Block(0, 0, 4, 4, 16),)
    halves = blocks(sender, receiver, np.repeat([0, 1], 32))
    assert halves == (Block(0, 0, 2, 4, 16), Block(32, 2, 2, 4, 16))


@pytest.mark.parametrize("settings", [{"symmetry": "scale"}, {"backward": "gated"}], ids=str)
def test_encoder_learns_the_same_either_way(settings):
    model = ScaleGMN(width=8, layers=2, **settings)
    view = model.view(MLP)
    nets = jax.random.normal(jax.random.key(0), (3, MLP.count))
    variables = jax.jit(model.init)(jax.random.key(1), nets, view)

    def slope(view):
        loss = lambda v: jnp.square(model.apply(v, nets, view) - 1).sum()
        return np.concatenate(
            [x.ravel() for x in jax.tree.leaves(jax.jit(jax.grad(loss))(variables))]
        )

    one, other = slope(view), slope(view.replace(blocks=()))
    assert start_rows(view, 3).sender.blocks
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())
