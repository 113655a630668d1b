"""Ends of pairs: blocks give what indices give, values and gradients alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures
from wsjax.encoders.pair_ends import Block, Ends, blocks
from wsjax.encoders.scale_view import start_rows
from wsjax.encoders.scalegmn import ScaleGMN

MLP = architectures.mlp((2, 32, 32, 3), "relu")
DEEP = architectures.mlp((2, 16, 24, 16, 1), "relu")


def _view(spec, **settings):
    return ScaleGMN(width=8, layers=2, symmetry="scale", **settings).view(spec)


def test_dense_layers_are_blocks():
    view = _view(MLP)
    sizes = [(b.first, b.senders, b.receivers) for b in view.blocks]
    assert sizes == [(0, 2, 32), (64, 32, 32), (64 + 1024, 32, 3)]
    assert view.blocks[-1].last == len(view.graph.sender)


@pytest.mark.parametrize("spec", [MLP, DEEP], ids=["mlp", "deep"])
@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_blocks_and_indices_agree(spec, side):
    view = _view(spec)
    assert view.blocks
    rows = start_rows(view, 2)
    ends = getattr(rows, side)
    by_index = ends.replace(blocks=())
    nodes = jax.random.normal(jax.random.key(0), (sum(view.nodes), 2, 4))
    pairs = jax.random.normal(jax.random.key(1), (len(ends), 2, 4))
    np.testing.assert_array_equal(ends(nodes), by_index(nodes))
    np.testing.assert_allclose(ends.sum(pairs, len(nodes)), by_index.sum(pairs, len(nodes)),
                               rtol=1e-5, atol=1e-5)  # fmt: skip
    slopes = [jax.grad(lambda x, e=e: (e(x) * pairs).sum())(nodes) for e in (ends, by_index)]
    np.testing.assert_allclose(*slopes, rtol=1e-5, atol=1e-5)
    some = rows.of_pairs("scale", "receiver")
    part, other = ends.take(some), by_index.take(some)
    assert part.blocks
    assert len(part) < len(ends)
    np.testing.assert_array_equal(part(nodes), other(nodes))


def test_what_comes_in_no_blocks_is_gathered():
    one_to_one = np.arange(20)
    assert blocks(one_to_one, one_to_one + 20, np.zeros(20)) == ()
    shuffled = np.repeat([0, 1], 16), np.concatenate([np.arange(2, 34, 2), np.arange(3, 35, 2)])
    assert blocks(*shuffled, np.zeros(32)) == ()
    assert blocks(np.zeros(0), np.zeros(0), np.zeros(0)) == ()


def test_no_block_goes_beyond_a_slice():
    sender, receiver = np.repeat(np.arange(4), 16), np.tile(np.arange(4, 20), 4)
    assert blocks(sender, receiver, np.zeros(64)) == (Block(0, 0, 4, 4, 16),)
    halves = blocks(sender, receiver, np.repeat([0, 1], 32))
    assert halves == (Block(0, 0, 2, 4, 16), Block(32, 2, 2, 4, 16))


def test_encoder_reads_the_same_either_way():
    model = ScaleGMN(width=8, layers=2, symmetry="scale")
    view = model.view(MLP)
    nets = jax.random.normal(jax.random.key(0), (3, MLP.count))
    variables = model.init(jax.random.key(1), nets, view)
    one, other = (model.apply(variables, nets, v) for v in (view, view.replace(blocks=())))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert isinstance(start_rows(view, 3).sender, Ends)
    assert jnp.abs(one[0] - one[1]).max() > 1e-3  # codes that tell networks apart
