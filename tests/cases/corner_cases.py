"""A written list of networks that are hard, and what each of them computes.

`SPECS` covers what architectures need of a `Spec`: convolutions
with taps, norms, residuals, attention, recurrence. `FORWARDS` computes each in a few
lines that read arrays by name and do not use the spec, so that "a permutation leaves
the function as it is" is tested against the function, not against the spec.
"""

import jax
import jax.numpy as jnp

from wsjax import architectures
from wsjax.architectures import mlp
from wsjax.networks import Array, Layer, Spec


def kernel(name, *axes, reads, writes):
    return Array(f"{name}/kernel", "kernel", axes, reads, writes)


def vector(name, role, *axes):
    return Array(f"{name}/{role}", role, axes, (), tuple(range(len(axes))))


def dense(name, level, fan_in, fan_out, activation="none"):
    arrays = (kernel(name, fan_in, fan_out, reads=(0,), writes=(1,)), vector(name, "bias", fan_out))
    return Layer(name, "dense", level, arrays, activation)


def conv(name, level, *axes, activation="tanh"):
    n = len(axes)
    arrays = (kernel(name, *axes, reads=(n - 2,), writes=(n - 1,)), vector(name, "bias", axes[-1]))
    return Layer(name, "conv", level, arrays, activation)


def attention():
    arrays = (
        kernel("Query", "s", "head", "qk", reads=(0,), writes=(1, 2)),
        vector("Query", "bias", "head", "qk"),
        kernel("Key", "s", "head", "qk", reads=(0,), writes=(1, 2)),  # softmax ignores its bias
        kernel("Value", "s", "head", "v", reads=(0,), writes=(1, 2)),
        vector("Value", "bias", "head", "v"),
        kernel("Out", "head", "v", "s", reads=(0, 1), writes=(2,)),
        vector("Out", "bias", "s"),
    )
    return Layer("Attention_0", "attention", 1, arrays)


def spec(*layers, hidden, nested=(), **sizes):
    return Spec(layers, tuple(sizes.items()), hidden, nested)


def norm(name, level, axis, activation="tanh"):
    roles = ("scale", "bias", "mean", "variance")
    return Layer(name, "norm", level, tuple(vector(name, r, axis) for r in roles), activation)


# Named by what makes each hard. Sizes differ from axis to axis, so that a transposed
# array cannot pass for its neighbour, except where equality is the difficulty.
SPECS = {
    "ordinary": mlp([2, 5, 4, 1], "sin", omega=3.0),
    "one hidden neuron": mlp([2, 1, 3, 1], "tanh"),
    "ones everywhere": mlp([1, 1, 1], "tanh"),
    "no hidden axis": mlp([3, 2]),
    "no bias": mlp([2, 4, 3, 1], "tanh", bias=False),
    "deep": mlp([2, *[3] * 8, 1], "tanh"),
    "wide input": mlp([50, 4, 2], "tanh"),
    "equal widths": mlp([4, 4, 4, 4], "tanh"),
    "taps in two dimensions": spec(
        conv("Conv_0", 0, "row0", "col0", "x", "c0"),
        conv("Conv_1", 1, "row1", "col1", "c0", "c1"),
        dense("Dense_0", 2, "c1", "y"),
        hidden=("c0", "c1"),
        **dict(row0=3, col0=2, row1=1, col1=3, x=2, c0=4, c1=5, y=3),
    ),
    "taps in one dimension": spec(
        conv("Conv_0", 0, "t0", "x", "c0"),
        conv("Conv_1", 1, "t1", "c0", "y", activation="none"),
        hidden=("c0",),
        **dict(t0=3, t1=2, x=1, c0=6, y=2),
    ),
    "taps in three dimensions": spec(
        conv("Conv_0", 0, "d", "h", "w", "x", "c0"),
        dense("Dense_0", 1, "c0", "y"),
        hidden=("c0",),
        **dict(d=2, h=3, w=2, x=2, c0=3, y=1),
    ),
    "a kernel that reads flattened images": spec(
        conv("Conv_0", 0, "row", "col", "x", "c0"),
        Layer(
            "Dense_0",
            "dense",
            1,
            (kernel("Dense_0", "r", "c", "c0", "y", reads=(0, 1, 2), writes=(3,)),),
        ),
        hidden=("c0",),
        **dict(row=2, col=2, x=1, c0=4, r=3, c=3, y=2),
    ),
    "norm without a kernel": spec(
        dense("Dense_0", 0, "x", "h0"),
        norm("Norm_0", 1, "h0"),
        dense("Dense_1", 2, "h0", "y"),
        hidden=("h0",),
        **dict(x=2, h0=5, y=2),
    ),
    "residual without arrays": spec(
        dense("Dense_0", 0, "x", "h0", "tanh"),
        dense("Dense_1", 1, "h0", "h1", "tanh"),
        dense("Dense_2", 2, "h1", "h0"),
        Layer("Add_0", "residual", 2, activation="tanh", source=0),
        dense("Dense_3", 3, "h0", "y"),
        hidden=("h0", "h1"),
        **dict(x=2, h0=4, h1=3, y=1),
    ),
    "attention of two reads and writes": spec(
        Layer("Embed", "embedding", 0, (kernel("Embed", "x", "s", reads=(0,), writes=(1,)),)),
        attention(),
        Layer("Add_0", "residual", 1, source=0),
        dense("Dense_0", 2, "s", "y"),
        hidden=("s", "head", "qk", "v"),
        **dict(x=3, s=6, head=2, qk=4, v=3, y=2),
    ),
    "dimensions within heads": spec(
        Layer("Embed", "embedding", 0, (kernel("Embed", "x", "s", reads=(0,), writes=(1,)),)),
        attention(),
        Layer("Add_0", "residual", 1, source=0),
        dense("Dense_0", 2, "s", "y"),
        hidden=("s", "head", "qk", "v"),
        nested=(("qk", "head"), ("v", "head")),
        **dict(x=3, s=6, head=3, qk=4, v=2, y=2),
    ),
    "channels within groups": spec(
        Layer(
            "Dense_0",
            "dense",
            0,
            (
                kernel("Dense_0", "member", "x", "group", reads=(1,), writes=(0, 2)),
                vector("Dense_0", "bias", "group", "member"),
            ),
        ),
        Layer("Norm_0", "norm", 1, (vector("Norm_0", "scale", "group", "member"),), "tanh"),
        Layer(
            "Dense_1",
            "dense",
            2,
            (kernel("Dense_1", "group", "member", "y", reads=(0, 1), writes=(2,)),),
        ),
        hidden=("group", "member"),
        nested=(("member", "group"),),
        **dict(x=2, group=3, member=4, y=2),
    ),
    "one axis twice in an array": spec(
        dense("In", 0, "x", "h0"),
        dense("Recurrent", 1, "h0", "h0", "tanh"),
        dense("Out", 2, "h0", "y"),
        hidden=("h0",),
        **dict(x=2, h0=5, y=1),
    ),
}

MOVABLE = {
    name: spec for name, spec in SPECS.items() if any(dict(spec.sizes)[h] > 1 for h in spec.hidden)
}


def affine(p, name, x):
    return x @ p[f"{name}/kernel"] + p[f"{name}/bias"]


def convolve(p, name, x):
    """Slides a kernel over x [*window, channels], stride one, no padding."""
    kernel, letters = p[f"{name}/kernel"], "DHW"[: x.ndim - 1]
    sizes = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    y = jax.lax.conv_general_dilated(
        x[None], kernel, [1] * len(letters), "VALID", None, None, sizes
    )
    return y[0] + p[f"{name}/bias"]


def conv_2d(p, x):
    x = jnp.tanh(convolve(p, "Conv_0", x.reshape(6, 5, 2)))
    x = jnp.tanh(convolve(p, "Conv_1", x))
    return affine(p, "Dense_0", x.mean((0, 1)))


def conv_1d(p, x):
    return convolve(p, "Conv_1", jnp.tanh(convolve(p, "Conv_0", x.reshape(60, 1)))).mean(0)


def conv_3d(p, x):
    x = jnp.tanh(convolve(p, "Conv_0", x[:48].reshape(4, 3, 2, 2)))
    return affine(p, "Dense_0", x.mean((0, 1, 2)))


def flattened(p, x):
    x = jnp.tanh(convolve(p, "Conv_0", x[:16].reshape(4, 4, 1)))  # [3, 3, c0]
    return x.ravel() @ p["Dense_0/kernel"].reshape(36, 2)


def normed(p, x):
    x = affine(p, "Dense_0", x[:2])
    x = (x - p["Norm_0/mean"]) / jnp.sqrt(p["Norm_0/variance"] + 1e-5)
    return affine(p, "Dense_1", jnp.tanh(x * p["Norm_0/scale"] + p["Norm_0/bias"]))


def residual(p, x):
    x = jnp.tanh(affine(p, "Dense_0", x[:2]))
    x = jnp.tanh(x + affine(p, "Dense_2", jnp.tanh(affine(p, "Dense_1", x))))
    return affine(p, "Dense_3", x)


def attend(p, x):
    x = x.reshape(20, 3) @ p["Embed/kernel"]  # [token, s]
    q = jnp.einsum("ts,shq->thq", x, p["Query/kernel"]) + p["Query/bias"]
    k = jnp.einsum("ts,shq->thq", x, p["Key/kernel"])
    v = jnp.einsum("ts,shv->thv", x, p["Value/kernel"]) + p["Value/bias"]
    weights = jax.nn.softmax(jnp.einsum("thq,uhq->htu", q, k))
    heads = jnp.einsum("htu,uhv->thv", weights, v)
    x = x + jnp.einsum("thv,hvs->ts", heads, p["Out/kernel"]) + p["Out/bias"]
    return affine(p, "Dense_0", x.mean(0))


def grouped(p, x):
    x = jnp.einsum("x,mxg->gm", x[:2], p["Dense_0/kernel"]) + p["Dense_0/bias"]
    x = (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-5)
    x = jnp.tanh(x * p["Norm_0/scale"])
    return jnp.einsum("gm,gmy->y", x, p["Dense_1/kernel"])


def recurrent(p, x):
    state = jnp.zeros(5)
    for now in x[:6].reshape(3, 2):
        state = jnp.tanh(affine(p, "Recurrent", state) + affine(p, "In", now))
    return affine(p, "Out", state)


def chain(spec):
    return lambda p, x: architectures.forward(p, x[: dict(spec.sizes)["x"]], spec)


# Each maps params and x [60] to outputs [y].
FORWARDS = {name: chain(spec) for name, spec in SPECS.items()} | {
    "taps in two dimensions": conv_2d,
    "taps in one dimension": conv_1d,
    "taps in three dimensions": conv_3d,
    "a kernel that reads flattened images": flattened,
    "norm without a kernel": normed,
    "residual without arrays": residual,
    "attention of two reads and writes": attend,
    "dimensions within heads": attend,
    "channels within groups": grouped,
    "one axis twice in an array": recurrent,
}
