"""Where families of transformers keep their arrays.

fused="attn.qkv.{}"        a block's `blocks.0.attn.qkv.weight` and `.bias`
"""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Names:
    """The names of one family. "{}" stands for "weight" or "bias"; None for what it lacks.

    Attributes:
        family: its name.
        block: pattern of what stands between a model's prefix and a block's arrays.
        first, second: the block's norms, of attention and of the dense layers.
        fused: queries, keys and values as one array; or `query`, `key`, `value`.
        out: of the attention.
        up, down: the dense layers, and `gate` that multiplies the first.
        token: table of token embeddings; `segment` of token types; `patch` a convolution.
        positions, cls: learnt positions, class token.
        start, end: norms before the first and after the last block.
        heads: possible output layers, whose names have no prefix.
        query_norm, key_norm: of each head's dimensions.
        scales: of an attention and of dense layers, before they are added.
        reads_first: kernels are stored [in, out].
        norm_after: norms follow the residuals, as in the first transformers.
        rms: norms have a scale alone.
        rotary: queries and keys are rotated by their position.
        activation: of the dense layers, unless the config has another; None if not known.
        epsilon: of the norms, likewise.
    """

    family: str
    block: str
    first: str
    second: str
    out: str
    up: str
    down: str
    end: str | None
    heads: tuple[str, ...]
    fused: str | None = None
    query: str | None = None
    key: str | None = None
    value: str | None = None
    gate: str | None = None
    token: str | None = None
    segment: str | None = None
    patch: str | None = None
    positions: str | None = None
    cls: str | None = None
    start: str | None = None
    query_norm: str | None = None
    key_norm: str | None = None
    scales: tuple[str, str] | None = None
    reads_first: bool = False
    norm_after: bool = False
    rms: bool = False
    rotary: bool = False
    activation: str | None = "gelu"
    epsilon: float = 1e-6

    @property
    def pattern(self) -> re.Pattern:
        """Of an array that every block has: groups prefix, block and number."""
        mark = re.escape((self.fused or self.query or "").format("weight"))
        return re.compile(rf"(?P<block>(?P<prefix>(?:.*\.)?){self.block}){mark}")


_TORCHVISION = Names(
        family="torchvision ViT",
        block=r"encoder\.layers\.encoder_layer_(?P<number>\d+)\.",
        first="ln_1.{}", second="ln_2.{}",
        fused="self_attention.in_proj_{}", out="self_attention.out_proj.{}",
        up="mlp.0.{}", down="mlp.3.{}",
        patch="conv_proj.{}", positions="encoder.pos_embedding", cls="class_token",
        end="encoder.ln.{}", heads=("heads.head.{}",),
)  # fmt: skip
FAMILIES = (
    _TORCHVISION,
    # as in the files that torchvision distributes
    dataclasses.replace(_TORCHVISION, up="mlp.linear_1.{}", down="mlp.linear_2.{}"),
    Names(
        family="timm ViT",
        block=r"blocks\.(?P<number>\d+)\.",
        first="norm1.{}", second="norm2.{}", fused="attn.qkv.{}", out="attn.proj.{}",
        up="mlp.fc1.{}", down="mlp.fc2.{}", scales=("ls1.gamma", "ls2.gamma"),
        patch="patch_embed.proj.{}", positions="pos_embed", cls="cls_token",
        end="norm.{}", heads=("head.{}",),
    ),
    Names(
        family="Hugging Face ViT",
        block=r"encoder\.layer\.(?P<number>\d+)\.",
        first="layernorm_before.{}", second="layernorm_after.{}",
        query="attention.attention.query.{}", key="attention.attention.key.{}",
        value="attention.attention.value.{}", out="attention.output.dense.{}",
        up="intermediate.dense.{}", down="output.dense.{}",
        patch="embeddings.patch_embeddings.projection.{}",
        positions="embeddings.position_embeddings", cls="embeddings.cls_token",
        end="layernorm.{}", heads=("classifier.{}",), epsilon=1e-12,
    ),
    Names(
        family="BERT",
        block=r"encoder\.layer\.(?P<number>\d+)\.",
        first="attention.output.LayerNorm.{}", second="output.LayerNorm.{}",
        query="attention.self.query.{}", key="attention.self.key.{}",
        value="attention.self.value.{}", out="attention.output.dense.{}",
        up="intermediate.dense.{}", down="output.dense.{}",
        token="embeddings.word_embeddings.weight",
        segment="embeddings.token_type_embeddings.weight",
        positions="embeddings.position_embeddings.weight", start="embeddings.LayerNorm.{}",
        end=None, heads=("classifier.{}", "qa_outputs.{}"), norm_after=True, epsilon=1e-12,
    ),
    Names(
        family="GPT-2",
        block=r"h\.(?P<number>\d+)\.",
        first="ln_1.{}", second="ln_2.{}", fused="attn.c_attn.{}", out="attn.c_proj.{}",
        up="mlp.c_fc.{}", down="mlp.c_proj.{}",
        token="wte.weight", positions="wpe.weight", end="ln_f.{}",
        heads=("lm_head.{}", "score.{}"),
        reads_first=True, activation="gelu_tanh", epsilon=1e-5,
    ),
    Names(
        family="LLaMA",
        block=r"layers\.(?P<number>\d+)\.",
        first="input_layernorm.{}", second="post_attention_layernorm.{}",
        query="self_attn.q_proj.{}", key="self_attn.k_proj.{}", value="self_attn.v_proj.{}",
        out="self_attn.o_proj.{}", gate="mlp.gate_proj.{}", up="mlp.up_proj.{}",
        down="mlp.down_proj.{}", query_norm="self_attn.q_norm.weight",
        key_norm="self_attn.k_norm.weight", token="embed_tokens.weight", end="norm.{}",
        heads=("lm_head.{}", "score.{}"), rms=True, rotary=True, activation="silu",
    ),
    Names(
        family="PyTorch TransformerEncoder",
        block=r"layers\.(?P<number>\d+)\.",
        first="norm1.{}", second="norm2.{}",
        fused="self_attn.in_proj_{}", out="self_attn.out_proj.{}",
        up="linear1.{}", down="linear2.{}", end="norm.{}", heads=(), norm_after=True,
        activation=None, epsilon=1e-5,
    ),
)  # fmt: skip
# of torchvision's models: width, blocks, width inside -> heads
TORCHVISION_HEADS = {(768, 12, 3072): 12, (1024, 24, 4096): 16, (1280, 32, 5120): 16}
# model types whose RMSNorm multiplies by the stored scale; Gemma's multiplies by one more
PLAIN_SCALES = ("llama", "mistral", "qwen2", "qwen3")
