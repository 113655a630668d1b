"""Blocks that are invariant or equivariant to factors of neurons (Kalogeropoulos et al., 2024).

Rows [row, lane, width] are features of neurons or of pairs of them. A row has a *kind*, which
names the factors that it carries:

    sign      -1, 1      canonical form  |x|, or rho(x) + rho(-x)
    scale     s > 0                      x / |x|
    both      s != 0                     that of a sign, of x / |x|
    others    1                          x

    ScaleInv      phi(canonical form)                         `Invariant`, without `extras`
    AugScaleInv   phi([canonical form, what has no factor])   `Invariant`
    ScaleEq       (Gamma x) * ScaleInv(x), for each kind      `Equivariant`
    ReScaleEq     (Gamma x) * (Gamma' e)                      a product, `scalegmn`

What is concatenated shares a factor, and is normalised together: how large its parts are
beside each other is kept. Linear maps wait for what follows: of x @ A, gathered and
multiplied by B, only x @ (A @ B) is computed, and before it is gathered.
"""

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.parts.initializers import kernel, uniform

KINDS = ("input", "free", "sign", "scale", "both", "output")  # of rows
FACTORS = {"sign": ("sign",), "scale": ("scale",), "both": ("scale", "sign")}
READ_BY = {"sign": "sign", "scale": "scale", "both": "sign"}  # whose nets, of `Nets.groups`
READS = {  # symmetry of a model -> kinds it can have
    "sign": ("input", "sign", "output"),
    "scale": ("input", "scale", "output"),
    "hetero": KINDS,
    "permutation": ("input", "free", "output"),
}


class Linear(NamedTuple):
    """The rows x @ kernel + bias, not yet computed.

    Attributes:
        x: [row, lane, n]; one lane stands for all.
        kernel: [n, width]; the identity if None.
        bias: [width]; zero if None.
    """

    x: jax.Array
    kernel: jax.Array | None = None
    bias: jax.Array | None = None

    @property
    def width(self) -> int:
        """Columns of the result."""
        return (self.x if self.kernel is None else self.kernel).shape[-1]

    def __matmul__(self, matrix: jax.Array) -> jax.Array:
        """[row, lane, columns of the matrix]."""
        y = self.x @ (matrix if self.kernel is None else self.kernel @ matrix)
        return y if self.bias is None else y + self.bias @ matrix

    def value(self) -> jax.Array:
        """[row, lane, width]."""
        y = self.x if self.kernel is None else self.x @ self.kernel
        return y if self.bias is None else y + self.bias


class Part(NamedTuple):
    """Columns of the rows that a layer takes in.

    Attributes:
        pieces: their rows, one piece after the other.
        at: which of these rows, in which order; all if None.
        over: [row, lane, 1] each, what the result is divided by, one after the other.
    """

    pieces: tuple[Linear, ...]
    at: jax.Array | None = None
    over: tuple[jax.Array, ...] = ()

    @property
    def width(self) -> int:
        """Columns of the result."""
        return self.pieces[0].width

    @property
    def dtype(self) -> jnp.dtype:
        """Type of the result."""
        return self.pieces[0].x.dtype

    @property
    def rows(self) -> int:
        """Number of rows of the result."""
        return sum(len(p.x) for p in self.pieces) if self.at is None else len(self.at)

    def __matmul__(self, matrix: jax.Array) -> jax.Array:
        """[row, lane, columns of the matrix]."""
        y = [x @ matrix for x in self.pieces]
        y = y[0] if len(y) == 1 else jnp.concatenate(y)
        y = y if self.at is None else y[self.at]
        for x in self.over:
            y = y / x
        return y


def part(x: jax.Array, at: jax.Array | None = None) -> Part:
    """Rows [row, lane, width] as they are, or some of them."""
    return Part((Linear(x),), at)


def project(parts: Sequence[Part], matrix: jax.Array) -> jax.Array:
    """The concatenated parts times a matrix [sum of their widths, n]: [row, lane, n]."""
    stops = np.cumsum([p.width for p in parts])
    products = [p @ matrix[n - p.width : n] for p, n in zip(parts, stops.tolist(), strict=True)]
    return functools.reduce(operator.add, products)


def unscaled(parts: Sequence[Part]) -> list[Part]:
    """Parts, of arrays, divided by the norm of all of them together.

    Of any size, with finite gradients: first by the largest entry, which counts as a constant,
    then by a norm between 1 and the square root of the width. Rows below the fourth-fifths
    power of the smallest normal number (1e-30 in single precision) stay as they are.
    """
    sizes, squares = [], []
    for p in parts:
        x = jnp.concatenate([piece.x for piece in p.pieces])
        largest = _largest(x)
        square = jnp.square(x / jnp.where(largest > 0, largest, 1)).sum(-1, keepdims=True)
        sizes.append(largest if p.at is None else largest[p.at])
        squares.append(square if p.at is None else square[p.at])
    largest = functools.reduce(jnp.maximum, sizes)
    some = largest > float(jnp.finfo(largest.dtype).tiny) ** 0.8
    largest = jnp.where(some, largest, 1)
    square = sum(jnp.square(n / largest) * q for n, q in zip(sizes, squares, strict=True))
    length = jnp.sqrt(jnp.where(some, square, 1))
    return [p._replace(over=(largest, length)) for p in parts]


def steady(x: jax.Array) -> jax.Array:
    """Rows whose squares would overflow made smaller; all others as they are."""
    limit = float(jnp.finfo(x.dtype).max) ** 0.2
    return x / jnp.maximum(_largest(x) / limit, 1)


def magnitude(x: jax.Array) -> jax.Array:
    """|x|, with slope 0 at 0.

    That of `jnp.abs` is 1 there: of x = 0 and -x, gradients would not be opposite.

    >>> jax.grad(magnitude)(0.0).item(), jax.grad(jnp.abs)(0.0).item()
    (0.0, 1.0)
    """
    return x * jax.lax.stop_gradient(jnp.sign(x))


def standardised(x: jax.Array) -> jax.Array:
    """Rows with mean 0 and variance 1 (LayerNorm, with the epsilon of PyTorch)."""
    x = steady(x)
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5)


def _largest(x):
    """The largest entry of each row, a constant to gradients."""
    return jax.lax.stop_gradient(jnp.abs(x).max(-1, keepdims=True, initial=0))


class MLP(nn.Module):
    """Two linear layers with SiLU between.

    Biases begin at random, as in the published code: from zero, rho(x) + rho(-x) with
    LayerNorm is all but blind to x at first. Not so in models without factors that begin as
    "lecun": what an MLP makes of pairs is summed, and constants with it, which would drown
    all else.

    Attributes:
        hidden: width between them.
        out: width of the result.
        norm: LayerNorm before the activation.
        dropout: after it.
        biased: biases begin at random.
        initial: of kernels, one of `initializers.INITIAL`.
    """

    hidden: int
    out: int
    norm: bool = True
    dropout: float = 0.0
    biased: bool = True
    initial: str = "lecun"

    @nn.compact
    def __call__(self, parts: Sequence[Part], train: bool = False, even: bool = False) -> Linear:
        """The MLP of concatenated parts, its second layer not yet computed.

        Args:
            parts: what it takes in.
            train: drop out.
            even: give MLP(x) + MLP(-x).
        """
        zeros, begun = nn.initializers.zeros, lambda fan_in: kernel(self.initial, fan_in)
        width, dtype = sum(p.width for p in parts), parts[0].dtype
        one = lambda name, start, *shape: self.param(name, start, shape, jnp.float32).astype(dtype)
        first = one("kernel_0", begun(width), width, self.hidden)
        begin = uniform if self.biased else lambda fan_in: zeros
        shift = one("bias_0", begin(width), self.hidden)
        second = one("kernel_1", begun(self.hidden), self.hidden, self.out)
        bias = one("bias_1", begin(self.hidden), self.out)
        drop = nn.Dropout(self.dropout, deterministic=not train)
        if self.norm:
            scale = one("norm_scale", nn.initializers.ones, self.hidden)
            offset = one("norm_bias", zeros, self.hidden)

        def between(x):
            if self.norm:
                x = standardised(x) * scale + offset
            return drop(nn.silu(x))

        if not all(p.rows for p in parts):  # nothing to compute: keep the program small
            lanes = parts[0].pieces[0].x.shape[1:-1]
            return Linear(jnp.zeros((0, *lanes, self.hidden), dtype), second, bias)
        x = project(parts, first)
        if even:
            return Linear(between(shift + x) + between(shift - x), second, 2 * bias)
        return Linear(between(shift + x), second, bias)


@dataclasses.dataclass(frozen=True)
class Nets:
    """Settings that all nets of a model have in common.

    Attributes:
        symmetry: key of `READS`.
        hidden: width between the layers of MLPs.
        symmetrise: of signs, rho(x) + rho(-x) with an MLP rho; else |x|, which also loses
            which entries of a row differ in sign.
        norm: LayerNorm within MLPs.
        dropout: within MLPs.
        plain: rows without factors go through an MLP; else (Gamma x) * MLP(x).
        apart: inputs and outputs have an MLP each.
        depth: of `Equivariant`, layers; of gated messages, always one.
        initial: of linear maps, one of `initializers.INITIAL`.
    """

    symmetry: str
    hidden: int
    symmetrise: bool = True
    norm: bool = True
    dropout: float = 0.0
    plain: bool = False
    apart: bool = True
    depth: int = 1
    initial: str = "lecun"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of rows."""
        return READS[self.symmetry]

    @property
    def groups(self) -> tuple[str, ...]:
        """The canonical forms that there are: of signs, of scales."""
        return tuple(k for k in ("sign", "scale") if k in self.kinds)

    def mlp(self, out: int, name: str) -> MLP:
        """One of them."""
        biased = self.symmetry != "permutation" or self.initial == "published"
        how = self.hidden, out, self.norm, self.dropout, biased, self.initial
        return MLP(*how, name=name)


class Canonical(nn.Module):
    """One form for all rows that differ by a factor."""

    nets: Nets

    @nn.compact
    def __call__(self, parts: Sequence[Part], kind: str, train: bool = False) -> list[Part]:
        """Parts as wide together as those that came."""
        factors = FACTORS.get(kind, ())
        if "scale" in factors:
            parts = unscaled(parts)
        if "sign" in factors and self.nets.symmetrise:
            rho = self.nets.mlp(sum(p.width for p in parts), "rho")
            return [Part((rho(parts, train, even=True),))]
        if "sign" in factors:
            size = lambda p: tuple(Linear(magnitude(piece.x)) for piece in p.pieces)
            return [p._replace(pieces=size(p)) for p in parts]
        return list(parts)


class Invariant(nn.Module):
    """ScaleInv and AugScaleInv: an MLP of the canonical form, and of what has no factor.

    Attributes:
        nets: their settings.
        out: width of the result.
    """

    nets: Nets
    out: int

    @nn.compact
    def __call__(
        self, parts: Sequence[Part], kind: str, extras: Sequence[Part] = (), train: bool = False
    ) -> jax.Array:
        """[row, lane, out], the same for rows that differ by a factor of their kind."""
        canonical = Canonical(self.nets, name="canonical")(parts, kind, train)
        return self.nets.mlp(self.out, "phi")([*canonical, *extras], train).value()


class Features(NamedTuple):
    """Rows of one kind.

    Attributes:
        parts: columns that share the factor.
        extras: columns without one.
        gate: what is multiplied by the net of the parts; the parts if None. The result has its
            factor.
    """

    parts: Sequence[Part]
    extras: Sequence[Part] = ()
    gate: Sequence[Part] | None = None


class Equivariant(nn.Module):
    """ScaleEq, (Gamma x) * s(x), with an s for each kind of rows.

    Rows without factors need none of this, and may be treated as any MLP treats them.

    Attributes:
        nets: their settings.
        out: width of the result.
    """

    nets: Nets
    out: int

    @nn.compact
    def __call__(self, rows: Mapping[str, Features], train: bool = False) -> dict[str, jax.Array]:
        """Rows by kind -> [row, lane, out] by kind, with the factors of what gates them.

        Every kind that the symmetry has must be there, be it without a row: the variables
        must not depend on the network at hand.
        """
        gated = any(x.gate is not None for x in rows.values())
        out = self._layer(rows, "", train)
        for i in range(1, 1 if gated else self.nets.depth):
            rows = {k: Features([part(x)], rows[k].extras) for k, x in out.items()}
            out = self._layer(rows, f"_{i}", train)
        return out

    def _layer(self, rows, name, train):
        nets = self.nets
        words = ("first", "last") if nets.apart else ("free",)
        free = [nets.mlp(self.out, f"{w}{name}") for w in words]
        s = {k: Invariant(nets, self.out, name=f"{k}{name}") for k in nets.groups}
        one = next(iter(rows.values()))
        width = sum(p.width for p in one.gate or one.parts)
        begun = kernel(nets.initial, width)
        gamma = self.param(f"gamma{name}", begun, (width, self.out), jnp.float32)
        gamma = gamma.astype(one.parts[0].dtype)
        out = {}
        for kind, (parts, extras, gate) in rows.items():
            if kind in FACTORS:
                scale = s[READ_BY[kind]](parts, kind, extras, train)
            else:
                net = free[-1 if kind == "output" else 0]
                scale = net([*parts, *extras], train).value()
            if nets.plain and kind not in FACTORS and gate is None:
                out[kind] = scale
            elif nets.norm or gate is not None or "scale" in FACTORS.get(kind, ()):
                out[kind] = project(gate or parts, gamma) * scale
            else:  # two numbers that nothing bounds
                out[kind] = steady(project(parts, gamma)) * steady(scale)
        return out
