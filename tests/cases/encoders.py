"""A small example of every encoder, the architecture it is tested on, and its golden value.

A new encoder has a line in `EXAMPLES` and in `GOLDEN`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import architectures, networks, testing
from wsjax.encoders import (
    DMC,
    GMN,
    GRIT,
    MLP,
    NFN,
    NFT,
    SNE,
    UNF,
    DeepSets,
    DWSNet,
    HyperRep,
    INR2Vec,
    NeuralGraph,
    Probing,
    ScaleGMN,
    StatNN,
    Transformer,
)

SIREN = architectures.mlp([1, 6, 5, 1], "sin", 30.0)
EXAMPLES = {
    "sne": SNE(chunk=4, width=8, code=4, heads=2, chunk_depth=1, depth=1),
    "gmn": GMN(width=8, layers=2, code=4),
    "grit": GRIT(width=16, layers=3, heads=2, code=4, steps=4),
    "neural_graph": NeuralGraph(
        width=12,
        edge_width=12,
        layers=3,
        attention=8,
        hidden=8,
        edge_hidden=8,
        heads=2,
        head=(8,),
        code=4,
        frequencies=16,
        pool="all",
    ),
    "scalegmn": ScaleGMN(width=8, layers=3, code=4),
    "stat_nn": StatNN(widths=(8,), code=4),
    "mlp": MLP(widths=(8,), code=4),
    "deepsets": DeepSets(widths=(8, 8), code=4),
    "transformer": Transformer(width=8, depth=1, heads=2, code=4),
    "inr2vec": INR2Vec(widths=(8, 8), pooled=8, code=4),
    "dwsnet": DWSNet(width=8, layers=2, heads=2, code=4),
    "nfn": NFN(widths=(8, 8), head=(8,), code=4),
    "nft": NFT(frequencies=4, blocks=1, heads=2, code=4),
    "unf": UNF(width=8, layers=2, code=4),
    "dmc": DMC(stages=((4,), (8,)), widths=(8,), code=4),
    "hyperrep": HyperRep(width=8, depth=1, heads=2, hidden=8, code=4),
    "probing": Probing(probes=4, widths=(8,), code=4),
}
# where `SIREN` is not supported: an architecture that is
SPECS = {"inr2vec": architectures.mlp([1, 6, 6, 1], "sin", 30.0)}
# embeddings of three networks, variables of key 0, times a random direction: moves with the
# arithmetic
GOLDEN = {
    "sne": -0.008895,
    "gmn": -0.519859,
    "grit": 2.171626,
    "neural_graph": 0.392648,
    "scalegmn": -1.141957,
    "stat_nn": 0.413930,
    "mlp": -0.453373,
    "deepsets": -0.175447,
    "transformer": -1.155555,
    "inr2vec": -1.136977,
    "dwsnet": -1.928404,
    "nfn": -0.722483,
    "nft": -0.635264,
    "unf": -0.545290,
    "dmc": -3.792230,
    "hyperrep": 1.522860,
    "probing": 1.820383,
}


def network(spec, seed=0):
    """A random network, [entry]."""
    return np.asarray(networks.ravel(testing.draw(jax.random.key(seed), spec), spec))


@functools.cache
def start(encoder, spec, batch=3):
    """Variables, networks [batch, entry] and their view."""
    vectors = np.stack([network(spec, seed) for seed in range(batch)])
    view = encoder.view(spec)
    variables = jax.jit(encoder.init)(jax.random.key(0), vectors, view)
    return variables, vectors, view


@functools.cache
def applied(encoder):
    """`encoder.apply`, compiled once for all tests of this encoder."""
    return jax.jit(encoder.apply)


def started(encoder, spec):
    """A network, variables, and a compiled function (variables, params) -> [code]."""
    params, view = testing.draw(jax.random.key(0), spec), encoder.view(spec)
    vectors = networks.ravel(params, spec)[None]
    variables = jax.jit(encoder.init)(jax.random.key(1), vectors, view)
    encode = jax.jit(lambda v, p: encoder.apply(v, networks.ravel(p, spec)[None], view)[0])
    return params, variables, encode


def parameter_count(encoder, spec):
    """How many parameters an encoder has for networks of an architecture."""
    x, view = jnp.zeros((1, spec.count)), encoder.view(spec)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), x, view)["params"]
    return sum(x.size for x in jax.tree.leaves(shapes))


def moved(a, b):
    """The largest difference of two arrays."""
    return float(jnp.abs(a - b).max())
