"""Names that differ between files of one family, and arrays that fix what others would free."""

import numpy as np
import pytest

from wsjax import recognize
from wsjax.recognition.transformer_names import FAMILIES
from wsjax.symmetries import permutations

D, HEADS = 8, 2
BERT, LLAMA = (next(f for f in FAMILIES if f.family == name) for name in ("BERT", "LLaMA"))


def zeros(shapes):
    return {n: np.zeros(s, np.float32) for n, s in shapes.items()}


def bert(scale="weight", shift="bias"):
    shapes = {"embeddings.word_embeddings.weight": (7, D), "classifier.weight": (3, D)}
    shapes |= {"embeddings.position_embeddings.weight": (5, D)}
    norms, (one, two) = ["embeddings.LayerNorm"], (6, D)
    for i in range(2):
        b = f"encoder.layer.{i}."
        for part in (BERT.query, BERT.key, BERT.value, BERT.out):
            shapes[b + part.format("weight")] = (D, D)
        shapes |= {b + BERT.up.format("weight"): (one, two)}
        shapes |= {b + BERT.down.format("weight"): (two, one)}
        norms += [b + BERT.first.removesuffix(".{}"), b + BERT.second.removesuffix(".{}")]
    return shapes | {f"{n}.{leaf}": (D,) for n in norms for leaf in (scale, shift)}


def test_norms_of_files_that_came_from_tensorflow():
    config = {"num_attention_heads": HEADS}
    found, old = (recognize(zeros(x), config) for x in (bert(), bert(scale="gamma", shift="beta")))
    assert (old.level, old.coverage) == ("exact", 1.0)
    assert str(old) == str(found)
    assert [x.name for x in old.spec.layers] == [x.name for x in found.spec.layers]


@pytest.mark.parametrize(
    ("name", "shape", "heads"),
    [
        ("encoder.rel_pos_bias.weight", (HEADS, 32), False),
        ("encoder.gates.weight", (32, HEADS), False),
        ("encoder.slopes", (16,), False),
        ("embeddings.x_position_embeddings.weight", (20, 3), True),
        ("cls.seq_relationship.bias", (3,), True),
        ("encoder.relative_attention.embeddings", (32, 3), False),
    ],
)
def test_an_array_that_all_blocks_share_may_tell_heads_apart(name, shape, heads):
    """LayoutLM adds one bias of relative positions to the scores of every block."""
    found = recognize(zeros(bert() | {name: shape}), {"num_attention_heads": HEADS})
    sizes = permutations.shapes(found.spec)
    assert "s" not in sizes
    assert (sizes["head0"], "v0" in sizes) == (((2,), True) if heads else ((1,), False))
    assert any("tell heads apart" in note for note in found.notes) == (not heads)


@pytest.mark.parametrize(("config", "heads"), [({}, 1), ({"num_attention_heads": HEADS}, HEADS)])
def test_a_norm_of_all_queries_does_not_tell_the_heads(config, heads):
    shapes = {"embed_tokens.weight": (7, D), "norm.weight": (D,), "lm_head.weight": (7, D)}
    b = "layers.0."
    for part in (LLAMA.query, LLAMA.key, LLAMA.value, LLAMA.out):
        shapes[b + part.format("weight")] = (D, D)
    for part in (LLAMA.gate, LLAMA.up):
        shapes[b + part.format("weight")] = (6, D)
    shapes[b + LLAMA.down.format("weight")] = (D, 6)
    for part in (LLAMA.query_norm, LLAMA.key_norm, LLAMA.first, LLAMA.second):
        shapes[b + part.format("weight")] = (D,)
    found = recognize(zeros(shapes), config)
    assert (found.level, found.coverage) == ("exact", 1.0)
    assert dict(found.spec.sizes)["head0"] == heads
    assert any("number of heads is not known" in note for note in found.notes) == (heads == 1)
