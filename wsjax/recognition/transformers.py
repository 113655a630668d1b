"""Transformers of known families: their blocks by name, their sizes by shape.

    blocks.0.attn.qkv.weight [3 d, d]    queries, keys, values [head, dimension, d]
    blocks.0.attn.proj.weight [d, d]     [d, head, dimension]
    blocks.0.mlp.fc1.weight [4 d, d]     [hidden, d]

All blocks share the stream d. Its neurons can be permuted if the network is known up to its
output, for nothing else may read them. Shapes do not hold the number of heads: without it nothing
within an attention can be. Where queries and keys are rotated (RoPE), their dimensions have an
identity; with fewer heads of keys than of queries, these are permuted within each of those.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from wsjax.architectures.spec_builder import Axes
from wsjax.networks import Array
from wsjax.recognition.drafting import OTHER, StoredDraft
from wsjax.recognition.names import Shapes, UnfitError
from wsjax.recognition.transformer_names import (
    FAMILIES,
    PLAIN_SCALES,
    TORCHVISION_HEADS,
    Names,
)
from wsjax.settings import SPELLINGS

Config = Mapping[str, Any]
PER_HEAD = re.compile(r"(^|[._])rel(ative)?(_?pos\w*)?([._]|$)|bias|alibi|slope", re.IGNORECASE)
BEFORE = {"weight": "gamma", "bias": "beta"}  # of norms, in files converted from TensorFlow


def transformer(weights: Shapes, config: Config) -> tuple[StoredDraft, str, bool, bool] | None:
    """Recognises a transformer; None if no block has a family's names.

    Args:
        weights: shapes by name.
        config: as of `recognition.recognize`, or Hugging Face's `config.json`.

    Returns:
        As `chains.chained`. Arrays may be left out, then neurons that they may read are fixed.

    Raises:
        UnfitError: the shapes are not the family's.
    """
    seen = []
    for family in FAMILIES:
        pattern = family.pattern
        matches = [m for n in weights if (m := pattern.fullmatch(n))]
        prefixes = {m["prefix"] for m in matches}
        if len(prefixes) > 1:
            raise UnfitError(f"{family.family}: several models, with prefixes {sorted(prefixes)}")
        blocks = sorted((int(m["number"]), m["block"]) for m in matches)
        if matches and family.up.format("weight") in (
            n.removeprefix(blocks[0][1]) for n in weights
        ):
            return _whole(weights, config, family, prefixes.pop(), [b for _, b in blocks])
        seen += matches
    if seen:
        raise UnfitError(f"{seen[0].string}: a block of a transformer of no known family")
    return None


def _whole(weights, config, family, prefix, blocks) -> tuple[StoredDraft, str, bool, bool]:
    """Drafts all of the network; again, with less that is free, if arrays are left over."""
    model = _Transformer(weights, config, family, prefix, blocks)
    model.draft(blocks)
    rest = set(weights) - model.out.used()
    if rest or not model.closed:
        known = [b for b in blocks if not any(n.startswith(b) for n in rest)]
        shared = {n: weights[n] for n in sorted(rest) if not n.startswith(tuple(blocks))}
        model = _Transformer(
            weights, config, family, prefix, blocks, False, _per_head(shared, model.heads)
        )
        model.draft(known)
        why = "other arrays may read it" if rest else "it may be the output"
        model.out.notes.append(f"the stream is fixed: {why}")
    return model.out, family.family, model.known, model.runs and model.known


def _per_head(shapes: Shapes, heads: tuple[int | None, int | None]) -> str | None:
    """Of arrays outside the blocks, one that may have a part for each head, the same in all."""
    named = lambda n: PER_HEAD.search(n.removesuffix(".bias"))
    return next((n for n, s in shapes.items() if named(n) or set(heads) & set(s)), None)


class _Transformer:
    """One network, block after block."""

    def __init__(
        self, weights, config, family: Names, prefix, blocks, free=True, per_head: str | None = None
    ):
        self.out = StoredDraft(stored=weights)
        self.config, self.family, self.prefix = config, family, prefix
        act = _setting(config, "activation", "hidden_act", "activation_function")
        activation = family.activation if act is None else SPELLINGS.get(act)
        rotated = ("rotary", "rope_theta", "rope_scaling", "rope_parameters")
        self.rotary = family.rotary or any(config.get(k) for k in rotated)
        self.known, self.activation = activation is not None, activation or OTHER
        if not self.known:
            self.out.notes.append(
                "activations are not known: config={'activation': 'relu'} would add factors"
                if act is None
                else f"activation {act!r} is not known: no factor is claimed"
            )
        eps = _setting(config, "epsilon", "layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps")
        self.epsilon = float(family.epsilon if eps is None else eps)
        (self.width,) = self.out.dims(self.at(blocks[0], family.first), 1)
        # GPT-2's kernels are [in, out], those of its copies [out, in].
        fused = weights.get(self.at(blocks[0], family.fused)) if family.fused else None
        self.reads_first = family.reads_first and fused == (self.width, 3 * self.width)
        self.order, self.rows = ("rw", 1) if self.reads_first else ("wr", 0)
        if family.reads_first and not self.reads_first and act is None:
            self.activation, self.known = OTHER, False
        self.stream = (self.out.neurons if free else self.out.fixed)("s", self.width)
        self.heads = self._heads(blocks)
        if per_head is not None and None not in self.heads:
            self.out.notes.append(f"{per_head}: may tell heads apart in all blocks: they are fixed")
            self.heads = None, None
        self.closed = False
        self.runs = family.patch is not None and None not in self.heads

    def _rows(self, block: str, template: str | None) -> int:
        """The number of neurons that a kernel of a block writes; 0 without one."""
        if template is None or not self.out.has(name := self.at(block, template)):
            return 0
        return self.out.dims(name, 2)[self.rows]

    def at(self, prefix: str, template: str, leaf: str = "weight") -> str:
        """A stored name."""
        name, old = (prefix + template.format(x) for x in (leaf, BEFORE.get(leaf, leaf)))
        return old if old in self.out.stored and name not in self.out.stored else name

    def _heads(self, blocks) -> tuple[int | None, int | None]:
        """Heads of queries and of keys; None if not known."""
        family, weights, config = self.family, self.out.stored, self.config
        heads = _setting(config, "heads", "num_attention_heads", "n_head", "num_heads")
        groups = _setting(config, "kv_heads", "num_key_value_heads")
        dimension = config.get("head_dim")
        rows = lambda t: self._rows(blocks[0], t)
        self.inside = fused, queries, keys = (
            rows(family.fused),
            rows(family.query),
            rows(family.key),
        )
        if family.fused:
            queries = keys = fused // 3
        if not queries or not keys or queries % keys or fused % 3:
            raise UnfitError(f"{family.family}: queries {queries} and keys {keys} have no heads")
        if family.query_norm and (n := self.at(blocks[0], family.query_norm)) in weights:
            (own,) = self.out.dims(n, 1)
            dimension = dimension if own == queries else own  # one norm of all heads, or of each
        if family.family == "torchvision ViT" and heads is None:
            heads = TORCHVISION_HEADS.get((self.width, len(blocks), rows(family.up)))
        if dimension and heads is None and not queries % dimension:
            heads = queries // dimension
        if family.positions and self.prefix + family.positions not in weights:
            self.out.notes.append("positions are not learnt: heads and their dimensions are fixed")
            return None, None
        if config.get("alibi"):
            self.out.notes.append("each head has a slope of its own (ALiBi): heads are fixed")
            return None, None
        if heads is None:
            self.out.notes.append(
                "the number of heads is not known: config={'heads': ...} would add permutations"
            )
            return None, None
        heads = int(heads)
        if heads < 1 or queries % heads or (heads * keys) % queries:
            raise UnfitError(f"heads: {heads} do not divide queries {queries} and keys {keys}")
        count = heads * keys // queries
        if groups is not None and int(groups) != count:
            raise UnfitError(f"heads of keys: expected {count} by the shapes, got {groups}")
        return heads, count

    def draft(self, blocks) -> None:
        """Drafts the network with these of its blocks."""
        self._embeddings()
        for number, block in enumerate(blocks):
            self._block(number, block)
        if self.family.end and self.out.has(self.at(self.prefix, self.family.end)):
            last = {"pool": "first"} if self.family.cls else {}
            self._norm(self.prefix, self.family.end, last)
        self._output()

    # the ends

    def _embeddings(self) -> None:
        out, family, s = self.out, self.family, self.stream
        name = lambda template: self.prefix + (template or "")
        if family.patch:
            source = self.at(self.prefix, family.patch)
            if not out.has(source, name(family.positions)) or len(out.stored[source]) != 4:
                raise UnfitError(f"{family.family}: expected patches {source} and positions")
            _, channels, *window = out.stored[source]
            x, taps = out.fixed("x", channels), ()
            for tap, size in zip(("row0", "col0"), window, strict=True):
                taps += out.fixed(tap, size)
            arrays = [out.kernel(source, "wrt", x, s, taps)]
            arrays += self._bias(self.prefix, family.patch, s)
            settings = {"stride": tuple(window), "padding": "VALID", "pool": "tokens"}
            out.layer("conv", arrays, name=source.removesuffix(".weight"), settings=settings)
        if family.token and out.has(name(family.token)):
            vocabulary = out.fixed("x", out.dims(name(family.token), 2)[0])
            array = out.kernel(name(family.token), "rw", vocabulary, s)
            out.layer("embedding", [array], name=name(family.token))
        if family.segment and out.has(name(family.segment)):
            segment = out.fixed("segment", out.dims(name(family.segment), 2)[0])
            array = out.kernel(name(family.segment), "rw", segment, s)
            out.layer("embedding", [array], name=name(family.segment), beside=bool(out.layers))
        if family.cls and out.has(name(family.cls)):
            array = out.vector(name(family.cls), "bias", s)
            settings = {"embedding": "token"}
            out.layer("embedding", [array], name=name(family.cls), settings=settings)
        else:
            self.runs = False
        if family.positions and out.has(name(family.positions)):
            tokens = math.prod(out.stored[name(family.positions)]) // self.width
            token = out.fixed("token", max(tokens, 1))
            array = out.vector(name(family.positions), "bias", s, token)
            settings = {"embedding": "positions"}
            out.layer("embedding", [array], name=name(family.positions), settings=settings)
        if family.start and out.has(self.at(self.prefix, family.start)):
            self._norm(self.prefix, family.start)

    def _output(self) -> None:
        """The output layer; `closed` if the stream does not leave the network."""
        out, s = self.out, self.stream
        pooler, predictions = self.prefix + "pooler.dense.{}", "cls.predictions."
        names = " ".join(self.config.get("architectures") or ())
        found = [h for h in self.family.heads if out.has(h.format("weight"))]
        if found[:1] == ["classifier.{}"] and out.has(pooler.format("weight")):
            # A classifier of tokens does not read the pooler: one permutation for both.
            p = out.neurons("p", self.width) if "SequenceClassification" in names else s
            self._dense("", pooler, s, p, "tanh", order="wr")
            s = p
        for head in found[:1]:
            y = out.fixed("y", out.dims(head.format("weight"), 2)[0])
            self._dense("", head, s, y, order="wr")
            self.closed = True
        if self.family.norm_after and out.has(f"{predictions}transform.dense.weight"):
            self._predictions(predictions)
        tied = self.config.get("tied", "LMHead" in names or "CausalLM" in names)
        if not found and self.family.token and tied:
            out.notes.append("the output reads the token embeddings")
            self.closed = True

    def _predictions(self, prefix: str) -> None:
        """BERT's masked language model, whose output reads the token embeddings, or copies."""
        out, s = self.out, self.stream
        self._dense(prefix, "transform.dense.{}", s, s, self.activation, order="wr")
        self._norm(prefix, "transform.LayerNorm.{}")
        self.closed = True
        decoder, bias, copy = (prefix + x for x in ("decoder.weight", "bias", "decoder.bias"))
        words = out.fixed("y", out.dims(self.prefix + (self.family.token or ""), 2)[0])
        arrays = [out.kernel(decoder, "wr", s, words)] if out.has(decoder) else []
        arrays += [out.vector(n, "bias", words) for n in (bias, copy) if out.has(n)]
        if arrays:
            out.layer("dense", arrays, name=prefix + "decoder")

    # blocks

    def _block(self, number: int, block: str) -> None:
        family, out, start = self.family, self.out, self.out.level
        if not family.norm_after:
            self._norm(block, family.first)
        self._attention(number, block)
        self._scale(block, 0)
        out.residual(start)
        if family.norm_after:
            self._norm(block, family.first)
        start = out.level
        if not family.norm_after:
            self._norm(block, family.second)
        self._mlp(number, block)
        self._scale(block, 1)
        out.residual(start)
        if family.norm_after:
            self._norm(block, family.second)

    def _attention(self, number: int, block: str) -> None:
        out, family, s = self.out, self.family, self.stream
        writes, read = self._inside(number, block)
        arrays: list[Array] = []
        for i, part in enumerate(("query", "key", "value")):
            template = family.fused or getattr(family, part)
            source, bias = (self.at(block, template, x) for x in ("weight", "bias"))
            own: tuple[dict, dict] = ({}, {})
            if family.fused:
                size = self._rows(block, template) // 3
                span = (i * size, (i + 1) * size)
                own = (
                    {"part": part, "cut": ((self.rows, *span),)},
                    {"part": part, "cut": ((0, *span),)},
                )
            arrays.append(out.kernel(source, self.order, s, writes[i], **own[0]))
            if out.has(bias):
                arrays.append(out.vector(bias, "bias", writes[i], **own[1]))
        for i, template in enumerate((family.query_norm, family.key_norm)):
            if template and out.has(source := self.at(block, template)):
                (size,), axes = out.dims(source, 1), writes[i][-1:]
                if size != out.sizes[axes[0]]:
                    every = size == math.prod(out.sizes[a] for a in writes[i])
                    axes = writes[i] if every else out.fixed(f"norm{number}_{i}", size)
                arrays.append(out.vector(source, "scale", axes))
        arrays.append(out.kernel(self.at(block, family.out), self.order, read, s))
        arrays += self._bias(block, family.out, s)
        name = self.at(block, family.out).removesuffix(".weight").rpartition(".")[0]
        out.layer("attention", arrays, name=name)

    def _inside(self, number: int, block: str) -> tuple[tuple[Axes, Axes, Axes], Axes]:
        """Axes of queries, keys and values, and those that the output reads."""
        out, family, (heads, groups) = self.out, self.family, self.heads
        n = number
        if heads is None or groups is None:  # one head of neurons with an identity
            one = out.neurons(f"head{n}", 1)
            parts = (family.query, family.key, family.value)
            q, k, v = (self._rows(block, family.fused or t) for t in parts)
            q, k, v = (n // 3 for n in (q, k, v)) if family.fused else (q, k, v)
            if not (q and k and v):
                raise UnfitError(f"{block}: expected queries, keys and values")
            queries = out.fixed(f"q{n}", q)
            keys = queries if q == k and not self.rotary else out.fixed(f"k{n}", k)
            values = out.fixed(f"v{n}", v)
            read = values if q == v else out.fixed(f"o{n}", q)
            return (one + queries, one + keys, one + values), one + read
        own = tuple(self._rows(block, t) for t in (family.fused, family.query, family.key))
        if own != self.inside:
            raise UnfitError(f"{block}: its queries and keys are not as many as in the first block")
        dimension = (own[0] // 3 or own[1]) // heads
        head = out.neurons(f"head{n}", groups)
        group = ()
        if heads != groups:
            if not number:
                out.notes.append(
                    "queries of a group share keys and values; a parameter graph has these groups "
                    "as positions: GMN is not invariant to their order"
                )
            group = self._within(f"group{n}", heads // groups, head)
        if self.rotary:
            queries, keys = (out.fixed(f"{x}{n}", dimension) for x in "qk")
        else:
            queries = keys = self._within(f"qk{n}", dimension, head)
        values = self._within(f"v{n}", dimension, head)
        return (head + group + queries, head + keys, head + values), head + group + values

    def _within(self, name: str, size: int, outer: Axes) -> Axes:
        self.out.nested.append((name, outer[0]))
        return self.out.neurons(name, size)

    def _mlp(self, number: int, block: str) -> None:
        out, family, s = self.out, self.family, self.stream
        up = self.at(block, family.up)
        h = out.neurons(f"h{number}", out.dims(up, 2)[self.rows])
        if family.gate is None:
            self._dense(block, family.up, s, h, self.activation)
        else:  # a product, with which no factor of both commutes
            arrays = []
            for template in (family.gate, family.up):
                arrays.append(out.kernel(self.at(block, template), self.order, s, h))
                arrays += self._bias(block, template, h)
            name = self.at(block, family.gate).removesuffix(".weight")
            out.layer("dense", arrays, name=name, activation=OTHER)
        self._dense(block, family.down, h, s)

    def _dense(self, prefix, template, reads, writes, activation="none", order=None) -> None:
        source = self.at(prefix, template)
        arrays = [self.out.kernel(source, order or self.order, reads, writes)]
        arrays += self._bias(prefix, template, writes)
        name = source.removesuffix(".weight")
        self.out.layer("dense", arrays, name=name, activation=activation)

    def _bias(self, prefix: str, template: str, writes: Axes) -> list[Array]:
        source = self.at(prefix, template, "bias")
        return [self.out.vector(source, "bias", writes)] if self.out.has(source) else []

    def _norm(self, prefix: str, template: str, settings: dict | None = None) -> None:
        source = self.at(prefix, template)
        arrays = [self.out.vector(source, "scale", self.stream)]
        arrays += self._bias(prefix, template, self.stream)
        name = source.removesuffix(".weight").removesuffix(".gamma")
        if not self.family.rms:
            own = {"norm": "layer", "epsilon": self.epsilon} | (settings or {})
            self.out.layer("norm", arrays, name=name, settings=own)
            return
        # A scale that is stored less one admits no factor.
        plain = self.config.get("model_type") in PLAIN_SCALES
        self.out.layer("norm", arrays, name=name, activation="none" if plain else OTHER)

    def _scale(self, block: str, which: int) -> None:
        if self.family.scales and self.out.has(name := block + self.family.scales[which]):
            array = self.out.vector(name, "scale", self.stream)
            self.out.layer("norm", [array], name=name)
            self.runs = False


def _setting(config: Config, *keys: str) -> Any:
    """The first of these settings that the config has."""
    return next((config[k] for k in keys if config.get(k) is not None), None)
