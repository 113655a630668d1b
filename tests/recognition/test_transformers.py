"""Transformers by the names of their families, each against a function written here."""

import functools
import math

import numpy as np
import pytest
from cases import recognised
from cases.recognised import filled

from wsjax import recognize
from wsjax.recognition import names, transformers
from wsjax.recognition.transformer_names import FAMILIES
from wsjax.symmetries import permutations
from wsjax.symmetries.signals import scaling_group

torch = pytest.importorskip("torch")
F = torch.nn.functional
D, HEADS, INSIDE, TOKENS = 8, 2, 6, 5
assert_recognised = functools.partial(recognised.assert_recognised, tolerance=1e-6)


def affine(name, fan_in, fan_out, reads_first=False):
    shape = (fan_in, fan_out) if reads_first else (fan_out, fan_in)
    return {f"{name}.weight": shape, f"{name}.bias": (fan_out,)}


def norm(name, width=D):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def function(run):
    """A function of arrays by name, in double precision."""

    @functools.wraps(run)
    def wrapped(state):
        tensors = {k: torch.from_numpy(np.asarray(v, np.float64)) for k, v in state.items()}
        with torch.no_grad():
            return run(tensors).numpy()

    return wrapped


def linear(t, name, x):
    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def layer_norm(t, name, x, eps=1e-6):
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], eps)


def attend(q, k, v, heads, causal=False):
    """[token, width] of queries, keys and values."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k, v))
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -math.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)


IMAGE = np.random.default_rng(3).normal(size=(4, 4, 3))


def vit(t, patch, cls, positions, block, end, head, eps):
    x = torch.from_numpy(IMAGE).permute(2, 0, 1)
    x = F.conv2d(x, t[f"{patch}.weight"], t[f"{patch}.bias"], stride=2).flatten(1).T
    x = torch.cat([t[cls].reshape(1, -1), x]) + t[positions].reshape(-1, D)
    for i in range(2):
        x = block(t, i, x)
    return linear(t, head, layer_norm(t, end, x, eps)[0])


def vision(patch, cls, positions, end, head):
    out = {f"{patch}.weight": (D, 3, 2, 2), f"{patch}.bias": (D,), cls: (1, 1, D)}
    return out | {positions: (1, TOKENS, D)} | norm(end) | affine(head, D, 3)


def torchvision(up, down):
    shapes = vision("conv_proj", "class_token", "encoder.pos_embedding", "encoder.ln", "heads.head")
    for i in range(2):
        b = f"encoder.layers.encoder_layer_{i}"
        shapes |= norm(f"{b}.ln_1") | norm(f"{b}.ln_2")
        shapes |= {f"{b}.self_attention.in_proj_weight": (3 * D, D)}
        shapes |= {f"{b}.self_attention.in_proj_bias": (3 * D,)}
        shapes |= affine(f"{b}.self_attention.out_proj", D, D)
        shapes |= affine(f"{b}.mlp.{up}", D, INSIDE) | affine(f"{b}.mlp.{down}", INSIDE, D)

    def block(t, i, x):
        b = f"encoder.layers.encoder_layer_{i}"
        a = f"{b}.self_attention"
        z = F.linear(
            layer_norm(t, f"{b}.ln_1", x), t[f"{a}.in_proj_weight"], t[f"{a}.in_proj_bias"]
        )
        x = x + linear(t, f"{a}.out_proj", attend(*z.chunk(3, -1), HEADS))
        h = F.gelu(linear(t, f"{b}.mlp.{up}", layer_norm(t, f"{b}.ln_2", x)))
        return x + linear(t, f"{b}.mlp.{down}", h)

    parts = ("conv_proj", "class_token", "encoder.pos_embedding", block, "encoder.ln", "heads.head")
    return shapes, lambda t: vit(t, *parts, 1e-6), {"heads": HEADS}


def timm(scales):
    shapes = vision("patch_embed.proj", "cls_token", "pos_embed", "norm", "head")
    for i in range(2):
        b = f"blocks.{i}"
        shapes |= norm(f"{b}.norm1") | norm(f"{b}.norm2") | affine(f"{b}.attn.qkv", D, 3 * D)
        shapes |= affine(f"{b}.attn.proj", D, D)
        shapes |= affine(f"{b}.mlp.fc1", D, INSIDE) | affine(f"{b}.mlp.fc2", INSIDE, D)
        shapes |= {f"{b}.ls1.gamma": (D,), f"{b}.ls2.gamma": (D,)} if scales else {}

    def block(t, i, x):
        b = f"blocks.{i}"
        z = linear(t, f"{b}.attn.qkv", layer_norm(t, f"{b}.norm1", x))
        y = linear(t, f"{b}.attn.proj", attend(*z.chunk(3, -1), HEADS))
        x = x + y * t.get(f"{b}.ls1.gamma", 1)
        h = F.gelu(linear(t, f"{b}.mlp.fc1", layer_norm(t, f"{b}.norm2", x)))
        return x + linear(t, f"{b}.mlp.fc2", h) * t.get(f"{b}.ls2.gamma", 1)

    parts = ("patch_embed.proj", "cls_token", "pos_embed", block, "norm", "head")
    return shapes, lambda t: vit(t, *parts, 1e-6), {"num_heads": HEADS}


def hugging_face():
    e, p = "vit.embeddings", "vit.embeddings.patch_embeddings.projection"
    ends = (p, f"{e}.cls_token", f"{e}.position_embeddings")
    shapes = vision(*ends, "vit.layernorm", "classifier")
    for i in range(2):
        b = f"vit.encoder.layer.{i}"
        shapes |= norm(f"{b}.layernorm_before") | norm(f"{b}.layernorm_after")
        for part in ("query", "key", "value"):
            shapes |= affine(f"{b}.attention.attention.{part}", D, D)
        shapes |= affine(f"{b}.attention.output.dense", D, D)
        shapes |= affine(f"{b}.intermediate.dense", D, INSIDE)
        shapes |= affine(f"{b}.output.dense", INSIDE, D)

    def block(t, i, x):
        b = f"vit.encoder.layer.{i}"
        z = layer_norm(t, f"{b}.layernorm_before", x, 1e-12)
        parts = (linear(t, f"{b}.attention.attention.{p}", z) for p in ("query", "key", "value"))
        x = x + linear(t, f"{b}.attention.output.dense", attend(*parts, HEADS))
        h = linear(t, f"{b}.intermediate.dense", layer_norm(t, f"{b}.layernorm_after", x, 1e-12))
        return x + linear(t, f"{b}.output.dense", F.gelu(h))

    config = {"num_attention_heads": HEADS, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    parts = (*ends, block, "vit.layernorm", "classifier", 1e-12)
    return shapes, lambda t: vit(t, *parts), config


VISION = {
    "torchvision": torchvision("0", "3"),
    "torchvision's files": torchvision("linear_1", "linear_2"),
    "timm": timm(False),
    "Hugging Face": hugging_face(),
}


@pytest.mark.parametrize("case", VISION.values(), ids=VISION)
def test_vision_transformers_run_here(case):
    shapes, run, config = case
    state = filled(shapes)
    found = assert_recognised(state, function(run), config)
    assert found.level == "exact"
    # stream, and in each of two blocks: heads, dimensions of queries and values, dense layer
    want = [(D,), *2 * [(HEADS,), (HEADS, D // HEADS), (HEADS, D // HEADS), (INSIDE,)]]
    assert sorted(permutations.shapes(found.spec).values()) == sorted(want)
    y = found.forward(found.pack(state), np.float32(IMAGE))
    np.testing.assert_allclose(y, function(run)(state), atol=1e-4)


def test_scales_of_residual_branches():
    shapes, run, config = timm(True)
    found = assert_recognised(filled(shapes), function(run), config)
    assert found.forward is None


def test_heads_that_are_not_known_stay_in_place():
    shapes, run, _ = timm(False)
    found = assert_recognised(filled(shapes), function(run))
    assert sorted(permutations.shapes(found.spec).values()) == [(1,), (1,), (6,), (6,), (8,)]
    assert any("heads" in note for note in found.notes)
    with pytest.raises(AssertionError):
        assert_recognised(filled(shapes), function(run), {"heads": 4})
    assert recognize(filled(shapes), {"heads": 3}).level == "opaque"


def test_heads_of_torchvisions_models_are_known():
    shapes = dict(VISION["torchvision"][0])
    wide = {n: tuple({8: 768, 24: 2304, 6: 3072}.get(k, k) for k in s) for n, s in shapes.items()}
    for i in range(2, 12):
        for n, s in list(wide.items()):
            if "encoder_layer_0." in n:
                wide[n.replace("layer_0.", f"layer_{i}.")] = s
    empty = {n: np.broadcast_to(np.float32(0), s) for n, s in wide.items()}
    found = recognize(empty)
    assert dict(found.spec.sizes)["head11"] == 12
    assert str(found).startswith("exact: torchvision ViT, 49 hidden axes, group 10^")


def gpt2(reads_first=True):
    shapes = {"transformer.wte.weight": (7, D), "transformer.wpe.weight": (TOKENS, D)}
    shapes |= norm("transformer.ln_f")
    for i in range(2):
        b = f"transformer.h.{i}"
        shapes |= norm(f"{b}.ln_1") | norm(f"{b}.ln_2")
        shapes |= affine(f"{b}.attn.c_attn", D, 3 * D, reads_first)
        shapes |= affine(f"{b}.attn.c_proj", D, D, reads_first)
        shapes |= affine(f"{b}.mlp.c_fc", D, INSIDE, reads_first)
        shapes |= affine(f"{b}.mlp.c_proj", INSIDE, D, reads_first)
        shapes |= {f"{b}.attn.bias": (1, 1, TOKENS, TOKENS)}

    def affinely(t, name, x):
        kernel = t[f"{name}.weight"]
        return x @ (kernel if reads_first else kernel.T) + t[f"{name}.bias"]

    def run(t):
        x = t["transformer.wte.weight"][[3, 1, 4, 1, 5]] + t["transformer.wpe.weight"]
        for i in range(2):
            b = f"transformer.h.{i}"
            z = affinely(t, f"{b}.attn.c_attn", layer_norm(t, f"{b}.ln_1", x, 1e-5))
            a = attend(*z.chunk(3, -1), HEADS, causal=True)
            x = x + affinely(t, f"{b}.attn.c_proj", a)
            h = affinely(t, f"{b}.mlp.c_fc", layer_norm(t, f"{b}.ln_2", x, 1e-5))
            x = x + affinely(t, f"{b}.mlp.c_proj", F.gelu(h, approximate="tanh"))
        x = layer_norm(t, "transformer.ln_f", x, 1e-5)
        return x @ t.get("lm_head.weight", t["transformer.wte.weight"]).T

    return shapes, run


CAUSAL = {"n_head": HEADS, "architectures": ["GPT2LMHeadModel"]}


@pytest.mark.parametrize("reads_first", [True, False])
def test_gpt2_and_its_copies_of_the_other_order(reads_first):
    shapes, run = gpt2(reads_first)
    config = CAUSAL | ({} if reads_first else {"activation": "gelu_tanh"})
    found = assert_recognised(filled(shapes), function(run), config)
    assert (found.level, found.family) == ("exact", "GPT-2")
    assert set(found.beside) == {f"transformer.h.{i}.attn.bias" for i in range(2)}
    assert permutations.shapes(found.spec)["s"] == (D,)


def test_a_stream_that_may_be_the_output_is_fixed():
    shapes, run = gpt2()
    state = filled(shapes)
    headless = assert_recognised(state, function(run), {"n_head": HEADS})
    assert "s" not in headless.spec.hidden
    untied = filled(shapes | {"lm_head.weight": (7, D)})
    assert "s" in assert_recognised(untied, function(run), {"n_head": HEADS}).spec.hidden


def test_other_arrays_fix_what_they_may_read():
    shapes, _ = gpt2()
    state = filled(shapes | {"transformer.h.1.adapter.weight": (2, D)})
    found = recognize(state, CAUSAL)
    assert not {"s", "head1", "h1"} & set(found.spec.hidden)
    assert {"head0", "qk0", "v0", "h0"} <= set(found.spec.hidden)
    assert 0.4 < found.coverage < 0.7
    assert not found.wired


def bert(head):
    e = "bert.embeddings"
    shapes = {f"{e}.word_embeddings.weight": (7, D), f"{e}.token_type_embeddings.weight": (2, D)}
    shapes |= {f"{e}.position_embeddings.weight": (TOKENS, D)} | norm(f"{e}.LayerNorm")
    for i in range(2):
        b = f"bert.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= affine(f"{b}.attention.self.{part}", D, D)
        shapes |= affine(f"{b}.attention.output.dense", D, D) | norm(
            f"{b}.attention.output.LayerNorm"
        )
        shapes |= affine(f"{b}.intermediate.dense", D, INSIDE)
        shapes |= affine(f"{b}.output.dense", INSIDE, D) | norm(f"{b}.output.LayerNorm")
    shapes |= {
        "pooled": affine("bert.pooler.dense", D, D) | affine("classifier", D, 3),
        "words": affine("cls.predictions.transform.dense", D, D)
        | norm("cls.predictions.transform.LayerNorm")
        | {"cls.predictions.bias": (7,), "cls.predictions.decoder.weight": (7, D)},
    }[head]

    def run(t):
        x = t[f"{e}.word_embeddings.weight"][[3, 1, 4, 1, 5]] + t[f"{e}.position_embeddings.weight"]
        x = x + t[f"{e}.token_type_embeddings.weight"][[0, 0, 0, 1, 1]]
        x = layer_norm(t, f"{e}.LayerNorm", x, 1e-12)
        for i in range(2):
            b = f"bert.encoder.layer.{i}"
            q, k, v = (linear(t, f"{b}.attention.self.{p}", x) for p in ("query", "key", "value"))
            a = linear(t, f"{b}.attention.output.dense", attend(q, k, v, HEADS))
            x = layer_norm(t, f"{b}.attention.output.LayerNorm", x + a, 1e-12)
            h = linear(t, f"{b}.output.dense", F.gelu(linear(t, f"{b}.intermediate.dense", x)))
            x = layer_norm(t, f"{b}.output.LayerNorm", x + h, 1e-12)
        if head == "pooled":
            return linear(t, "classifier", torch.tanh(linear(t, "bert.pooler.dense", x[0])))
        p = "cls.predictions"
        x = layer_norm(t, f"{p}.transform.LayerNorm", F.gelu(linear(t, f"{p}.transform.dense", x)))
        return x @ t[f"{p}.decoder.weight"].T + t[f"{p}.bias"]

    return shapes, run


@pytest.mark.parametrize("head", ["pooled", "words"])
def test_bert(head):
    shapes, run = bert(head)
    state = filled(shapes)
    found = assert_recognised(state, function(run), {"num_attention_heads": HEADS})
    assert (found.level, found.family, found.wired) == ("exact", "BERT", True)
    config = {"num_attention_heads": HEADS, "architectures": ["BertForSequenceClassification"]}
    pooled = assert_recognised(state, function(run), config)
    assert ("p" in pooled.spec.hidden) == (head == "pooled")


def llama(norms=False, shift=0.0):
    heads, groups, dim = 4, 2, 4
    shapes = {"model.embed_tokens.weight": (7, D), "model.norm.weight": (D,)}
    shapes |= {"lm_head.weight": (7, D)}
    for i in range(2):
        b = f"model.layers.{i}"
        shapes |= {
            f"{b}.input_layernorm.weight": (D,),
            f"{b}.post_attention_layernorm.weight": (D,),
        }
        a = f"{b}.self_attn"
        shapes |= {f"{a}.q_proj.weight": (heads * dim, D), f"{a}.q_proj.bias": (heads * dim,)}
        shapes |= {f"{a}.{p}_proj.weight": (groups * dim, D) for p in "kv"}
        shapes |= {f"{a}.o_proj.weight": (D, heads * dim)}
        shapes |= {f"{a}.{p}_norm.weight": (dim,) for p in "qk"} if norms else {}
        shapes |= {f"{b}.mlp.{p}_proj.weight": (INSIDE, D) for p in ("gate", "up")}
        shapes |= {f"{b}.mlp.down_proj.weight": (D, INSIDE)}

    def rms(t, name, x):
        return (
            x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * (t[f"{name}.weight"] + shift)
        )

    def rotate(x):
        angles = torch.outer(torch.arange(TOKENS), 1.0 / 100 ** (torch.arange(0, dim, 2) / dim))
        angles = torch.cat([angles, angles], -1)[:, None]
        half = torch.cat([-x[..., dim // 2 :], x[..., : dim // 2]], -1)
        return x * angles.cos() + half * angles.sin()

    def run(t):
        x = t["model.embed_tokens.weight"][[3, 1, 4, 1, 5]]
        for i in range(2):
            b = f"model.layers.{i}"
            a, z = f"{b}.self_attn", rms(t, f"{b}.input_layernorm", x)
            q, k, v = (linear(t, f"{a}.{p}_proj", z).unflatten(-1, (-1, dim)) for p in "qkv")
            if norms:
                q, k = rms(t, f"{a}.q_norm", q), rms(t, f"{a}.k_norm", k)
            k, v = (u.repeat_interleave(heads // groups, 1) for u in (rotate(k), v))
            y = attend(rotate(q).flatten(1), k.flatten(1), v.flatten(1), heads, causal=True)
            x = x + linear(t, f"{a}.o_proj", y)
            z = rms(t, f"{b}.post_attention_layernorm", x)
            h = F.silu(linear(t, f"{b}.mlp.gate_proj", z)) * linear(t, f"{b}.mlp.up_proj", z)
            x = x + linear(t, f"{b}.mlp.down_proj", h)
        return linear(t, "lm_head", rms(t, "model.norm", x))

    return shapes, run


LLAMA = {"num_attention_heads": 4, "num_key_value_heads": 2, "model_type": "llama"}


def test_llama_with_fewer_heads_of_keys():
    shapes, run = llama()
    found = assert_recognised(filled(shapes), function(run), LLAMA)
    assert (found.level, found.family, found.wired) == ("exact", "LLaMA", True)
    sizes = permutations.shapes(found.spec)
    assert (sizes["head0"], sizes["group0"], sizes["v0"]) == ((2,), (2, 2), (2, 4))
    assert "q0" not in sizes  # rotated, so each has its frequency
    assert scaling_group(found.spec).factors  # of the scales of norms


def test_a_scale_that_is_stored_less_one_admits_no_factor():
    shapes, run = llama(shift=1.0)
    state, config = filled(shapes), LLAMA | {"model_type": "gemma"}
    assert_recognised(state, function(run), config)
    assert_recognised(state, function(run), LLAMA | {"model_type": None})
    with pytest.raises(AssertionError):
        assert_recognised(state, function(run), LLAMA)


def test_norms_of_queries_tell_the_heads():
    shapes, run = llama(norms=True)
    found = assert_recognised(filled(shapes), function(run), {"model_type": "qwen3"})
    assert dict(found.spec.sizes)["group0"] == 2


def test_llama_without_a_config():
    shapes, run = llama()
    found = assert_recognised(filled(shapes), function(run), scales=False)
    assert sorted(permutations.shapes(found.spec).values()) == [(1,), (1,), (6,), (6,), (8,)]


def test_pytorchs_encoder_alone():
    layer = torch.nn.TransformerEncoderLayer(D, HEADS, INSIDE, batch_first=True)
    net = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, TOKENS, D)))
    state = filled({k: tuple(v.shape) for k, v in net.state_dict().items()})
    run = function(lambda t: torch.func.functional_call(net, t, (x,)))
    found = assert_recognised(state, run, {"heads": HEADS, "activation": "relu"})
    assert (found.level, "s" in found.spec.hidden) == ("exact", False)
    assert recognize(state, {"heads": HEADS}).level == "chained"


def test_what_marks_positions_in_heads_fixes_them():
    shapes, _ = gpt2()
    fixed = lambda **config: set(recognize(filled(shapes), CAUSAL | config).spec.hidden)
    assert {"head0", "qk0", "v0"} <= fixed()
    assert fixed() - fixed(rope_theta=1e4) == {"qk0", "qk1"}
    sizes = dict(recognize(filled(shapes), CAUSAL | {"alibi": True}).spec.sizes)
    assert sizes["head0"] == 1
    del shapes["transformer.wpe.weight"]
    assert not {"qk0", "v0"} & fixed()


def test_fused_queries_keys_and_values_equal_separate_ones():
    fused = filled(VISION["timm"][0])
    separate, shapes = {}, VISION["Hugging Face"][0]
    for i in range(2):
        b, c = f"blocks.{i}", f"vit.encoder.layer.{i}"
        for leaf in ("weight", "bias"):
            cuts = np.split(fused[f"{b}.attn.qkv.{leaf}"], 3)
            for part, array in zip(("query", "key", "value"), cuts, strict=True):
                separate[f"{c}.attention.attention.{part}.{leaf}"] = array
    rest = {n: filled({n: s})[n] for n, s in shapes.items() if n not in separate}
    one = recognize(fused, {"heads": HEADS}).pack(fused)
    two = recognize(separate | rest, {"heads": HEADS}).pack(separate | rest)
    for i in range(2):
        for part in ("query", "key", "value"):
            for leaf in ("weight", "bias"):
                np.testing.assert_array_equal(
                    one[f"blocks.{i}.attn.qkv.{leaf}/{part}"],
                    two[f"vit.encoder.layer.{i}.attention.attention.{part}.{leaf}"],
                )


def test_other_transformers_are_refused():
    assert transformers.transformer({"fc.weight": (2, 3)}, {}) is None
    shapes, _ = gpt2()
    two = {f"{p}.{n}": s for n, s in shapes.items() for p in ("encoder", "decoder")}
    with pytest.raises(names.UnfitError, match="several models"):
        transformers.transformer(two, {})
    del shapes["transformer.h.0.ln_1.weight"]
    with pytest.raises(names.UnfitError, match=r"transformer\.h\.0\.ln_1\.weight"):
        transformers.transformer(shapes, {})
    assert recognize(filled(shapes)).level == "opaque"
    assert len({f.family for f in FAMILIES}) == 7
