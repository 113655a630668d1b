"""SNE, the set-based neural network encoder (Andreis et al., NeurIPS 2024).

    network -> chunks -> chunk embeddings -> array embeddings -> layer embeddings -> one embedding

    chunk    Gamma_a [ Phi_2 ( level + type + Phi_1 (values + positions) ) ]        eqs. 2-6
    array    Gamma_b [ level + Phi_3 (chunk embeddings + positions) ]               eq. 7
    layer    the same over the arrays of a layer: kernel, bias, scale, ...          appendix J
    network  Gamma_c [ Phi_4 (level + layer embeddings) ]                           eq. 9

The level enters after Phi_3 and before Phi_4, as the equations have it.

Each Phi maps sets to sets, each Gamma a set to a vector (`sets`). The encoder reads any
architecture; it is not invariant to permutations by construction but learns to be,
from the invariance loss (`tasks.losses`). Residual connections are tokens among the layer
embeddings that encode where they start and end (appendix D).

The defaults are the paper's model of INRs, read literally: two SABs in every Phi, heads joined by
an output projection, sinusoidal encodings without parameters, no map behind the last pooling.
With the head of two layers of 512 it has 358,401 parameters, the paper 358K. `WIDE` has more
width and depth. What the paper leaves open is a field below.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.encoders.parts.positions import Category, Position
from wsjax.encoders.parts.set_attention import SetToSet, SetToVector, blocks, same, unblock
from wsjax.networks import KINDS, ROLES, Spec, check_vectors
from wsjax.views import chunks

TYPES = ("learned", "sinusoidal")
WIDE = {  # settings of a wider and deeper model, of 356,139 parameters without a head
    **{"width": 64, "depth": 4, "output": False},
    **{"types": "learned", "scale": 0.3, "learned_scale": True},
}
INSIDE = ("read", "write", "chunk_level", "chunk_type")  # encodings inside a chunk


class SNE(Encoder):
    """Encodes networks of any architecture into embeddings.

    Attributes:
        chunk: values per chunk.
        width: of every set element.
        code: width of the embedding; where it is not `seeds * width`, a linear map makes it.
        heads: of every attention.
        chunk_depth: SABs in each of Phi_1 and Phi_2.
        depth: SABs in each of Phi_3 (of arrays, then of layers) and Phi_4.
        seeds: vectors the last pooling makes; they lie side by side.
        norm: LayerNorm in the blocks: "none" (table 14), "post" (eqs. 11-12) or "pre".
        residual: "identity" (eq. 12) or "projected" (the Set Transformer's code).
        level: encode the depth of a layer (table 6).
        type: encode kind and role of an array (table 6).
        position: encode neurons, taps and chunk numbers; False switches off level and
            type as well (table 6, "positional and hierarchical encoding").
        attention: False replaces every set function by maps and means (table 6).
        types: "learned", a vector for each kind and role, or "sinusoidal" like the rest.
        longest: longest wavelength of the encodings, in multiples of 2 pi.
        scale: what the encodings are multiplied by.
        learned_scale: whether that is learned, a number for each encoding.
        block: if positive, chunks are encoded in blocks of this many, one after another,
            and recomputed in the backward pass: memory is bounded, numbers stay.
    """

    chunk: int = 32
    width: int = 32
    code: int = 32
    heads: int = 4
    chunk_depth: int = 2
    depth: int = 2
    seeds: int = 1
    norm: str = "none"
    residual: str = "identity"
    output: bool = True
    level: bool = True
    type: bool = True
    position: bool = True
    attention: bool = True
    types: str = "sinusoidal"
    longest: float = 100.0
    scale: float = 1.0
    learned_scale: bool = False
    block: int = 0

    reads_any = True
    mixes = True
    stack = staticmethod(chunks.stack)

    def __post_init__(self):
        super().__post_init__()
        even = settings.divides(2, self.width) and settings.divides(self.heads, self.width)
        rules = {
            "width": (even, f"even, and a multiple of heads = {self.heads}"),
            "block": (self.block >= 0, "at least 0"),
        }
        settings.check(self, rules, sizes=("heads", "chunk", "seeds", "code"))

    def view(self, spec: Spec) -> chunks.Layout:
        """The view of an architecture."""
        return chunks.layout(spec, self.chunk)

    def setup(self):
        """Sub-encoders, in the order of the walk."""
        block = dict(
            attention=self.attention,
            heads=self.heads,
            norm=self.norm,
            residual=self.residual,
            output=self.output,
        )
        how = self._encodings
        self.chunk_encoder = ChunkEncoder(self.width, self.chunk_depth, how, block)
        self.phi_array = SetToSet(self.depth, block=self.block, **block)
        self.phi_layer = SetToSet(self.depth, **block)
        self.phi_network = SetToSet(self.depth, **block)
        self.gamma_array = SetToVector(**block)
        self.gamma_layer = SetToVector(**block)
        self.gamma_network = SetToVector(self.seeds, **block)
        self.encodings = {name: how.module(name) for name in how.on if name not in INSIDE}
        pooled = self.width * (self.seeds if self.attention else 1)
        self.project = nn.Dense(self.code) if self.code != pooled else None

    @property
    def _encodings(self) -> "Encodings":
        """The encodings that are switched on."""
        names = ["read", "write", "chunk", "row", "column", "depth"]
        names += ["chunk_level", "array_level", "layer_level", "network_level"] * self.level
        names += ["source"] * self.level
        names += ["chunk_type", "array_type", "layer_type"] * self.type
        on = tuple(names) if self.position else ()
        scale = self.scale, self.learned_scale
        return Encodings(on, self.width, self.types, self.longest, *scale)

    def _add(self, x, name, position):
        return x + self.encodings[name](position) if name in self.encodings else x

    def __call__(self, vectors: jax.Array, view: chunks.Layout, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        entries = int(view.index.max()) + 1 if isinstance(view.index, np.ndarray) else 0
        check_vectors(vectors, entries, exactly=False)
        array = _rows(view.array, view.layer)  # [chunk] -> its layer
        level = _rows(array, view.level)
        kind = _rows(view.array, view.array_type)
        batched = view.index.ndim == 3
        cut = jax.vmap(chunks.cut, in_axes=(0, 0 if batched else None))
        x = self._chunk_codes(cut(vectors, view), view, kind, level)  # [batch, chunk, width]

        x = self._add(x, "chunk", view.position)
        for i, name in enumerate(("row", "column", "depth")):
            x = self._add(x, name, view.tap[..., i])
        x = self.phi_array(x, (view.array, view.array))
        x = self._add(x, "array_level", level)
        x = self.gamma_array(x, same(_numbers(view.layer), view.array))  # [batch, array, width]

        x = self._add(x, "array_type", view.array_type)
        x = self.phi_layer(x, same(view.layer, view.layer))
        x = self._add(x, "layer_level", _rows(view.layer, view.level))
        x = self.gamma_layer(x, same(_numbers(view.level), view.layer))  # [batch, layer, width]

        # the token of a layer without arrays, such as a residual, starts blank
        owns = same(_numbers(view.level), view.layer).any(-1)
        x = jnp.where(owns[..., None], x, 0.0)
        for name, value in (
            ("network_level", view.level),
            ("layer_type", view.layer_type),
            ("source", view.source),
        ):
            x = self._add(x, name, value)
        real = view.layer_type >= 0
        x = self.phi_network(x, jnp.broadcast_to(real[..., None, :], _square(real)))
        x = self.gamma_network(x, real[..., None, :])[..., 0, :]
        return x if self.project is None else self.project(x)

    def _chunk_codes(self, values, view, kind, level):
        """[batch, chunk, place] -> [batch, chunk, width], in blocks if so set."""
        fields = (view.mask, view.read, view.write, kind, level)
        axes = tuple(0 if view.index.ndim == 3 else None for _ in fields)

        def encode(encoder, values, *fields):
            by_chunk = nn.vmap(
                ChunkEncoder.__call__, variable_axes={"params": None}, split_rngs={"params": False}
            )
            by_network = nn.vmap(
                by_chunk,
                variable_axes={"params": None},
                split_rngs={"params": False},
                in_axes=(0, *axes),
            )
            return by_network(encoder, values, *fields)

        count = values.shape[1]
        if not self.block or count <= self.block:
            return encode(self.chunk_encoder, values, *fields)
        pieces = [blocks(values, 1, self.block)]
        pieces += [blocks(f, view.index.ndim - 2, self.block) for f in fields]

        def body(encoder, carry, piece):
            return carry, nn.remat(encode)(encoder, *piece)

        scan = nn.scan(body, variable_broadcast="params", split_rngs={"params": False})
        _, embeddings = scan(self.chunk_encoder, (), tuple(pieces))  # [blocks, batch, block, width]
        return unblock(embeddings, 1)[:, :count]


@dataclasses.dataclass(frozen=True)
class Encodings:
    """The encodings that are on, and their settings.

    Attributes:
        on: their names.
        width, types, longest, scale, learned_scale: as in `SNE`.
    """

    on: tuple[str, ...]
    width: int
    types: str
    longest: float
    scale: float
    learned_scale: bool

    def __post_init__(self):
        if self.types not in TYPES:
            raise ValueError(f"expected types of {TYPES}, got {self.types!r}")

    def module(self, name: str) -> nn.Module:
        """The module that makes an encoding."""
        label = f"position_{name}"
        if name.endswith("_type") and self.types == "learned":
            count = len(KINDS) * (1 if name == "layer_type" else len(ROLES))
            return Category(count, self.width, self.scale, name=label)
        return Position(self.width, self.longest, self.scale, self.learned_scale, name=label)


class ChunkEncoder(nn.Module):
    """Encodes one chunk (eqs. 2-6).

    Attributes:
        width: of the elements and of the embedding.
        depth: SABs in each of Phi_1 and Phi_2.
        encodings: what is encoded, and how.
        settings: of the set functions.
    """

    width: int
    depth: int
    encodings: Encodings
    settings: dict

    @nn.compact
    def __call__(self, values, mask, read, write, kind, level) -> jax.Array:
        """Values, mask, read, write [place]; kind, level scalars -> [width]."""

        def add(x, name, position):
            on = name in self.encodings.on
            return x + self.encodings.module(name)(position) if on else x

        x = nn.Dense(self.width, name="lift")(values[:, None])
        x = add(add(x, "read", read), "write", write)
        x = SetToSet(self.depth, **self.settings)(x, mask[None])
        x = add(add(x, "chunk_type", kind), "chunk_level", level)
        x = SetToSet(self.depth, **self.settings)(x, mask[None])
        return SetToVector(**self.settings)(x, mask[None])[0]


def _rows(index, table):
    """table[index] along the last axis, -1 where the index is -1; batched alike."""
    index, table = jnp.asarray(index), jnp.asarray(table)
    rows = jnp.take_along_axis(table, jnp.maximum(index, 0), axis=-1)
    return jnp.where(index < 0, chunks.NONE, rows)


def _numbers(x):
    """0, 1, 2, ... in the shape of x's last axis."""
    return jnp.arange(x.shape[-1])


def _square(x):
    return (*x.shape, x.shape[-1])
