"""A small instance of every encoder, the architecture it is tried on, and its golden value."""

from wsjax import architectures
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
SMALL = SNE(chunk=4, width=8, code=4, heads=2, chunk_depth=1, depth=1)
ROWS = {
    "sne": SMALL,
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
# rows that read few architectures, or not all arrays, by design, and one that each reads;
# what they refuse and what they leave out is tested in a file of their own
SPECS = {"inr2vec": architectures.mlp([1, 6, 6, 1], "sin", 30.0)}
# codes of three networks, variables from key 0, on a random direction: moves with the arithmetic
GOLDEN = {
    "sne": -0.188508,
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
