"""Models of Flax NNX, Equinox, Haiku and plain JAX; each framework is imported by its models."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.foreign_models.generic import Case, generic, normal


class NNXCNN(nnx.Module):
    """Two convolutions with BatchNorm, flattened."""

    def __init__(self, rngs):
        self.convs = nnx.List(
            [nnx.Conv(2, 6, (3, 3), rngs=rngs), nnx.Conv(6, 8, (3, 3), rngs=rngs)]
        )
        self.norms = nnx.List([nnx.BatchNorm(6, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)])
        self.hidden = nnx.Linear(8 * 2 * 2, 12, rngs=rngs)
        self.out = nnx.Linear(12, 3, rngs=rngs)

    def __call__(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nnx.avg_pool(nnx.relu(norm(conv(x), use_running_average=True)), (2, 2), (2, 2))
        return self.out(nnx.gelu(self.hidden(x.reshape(x.shape[0], -1))))


class NNXTransformer(nnx.Module):
    """Pre-norm attention and a feed-forward network."""

    def __init__(self, rngs):
        self.embed = nnx.Linear(5, 12, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(12, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(3, 12, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(12, 18, rngs=rngs), nnx.Linear(18, 12, rngs=rngs)
        self.out = nnx.Linear(12, 4, rngs=rngs)

    def __call__(self, x):
        x = self.embed(x)
        x = x + self.attention(self.norms[0](x))
        return self.out(x + self.down(nnx.silu(self.up(self.norms[1](x)))))


def _nnx(kind: type[nnx.Module], *inputs) -> Case:
    """A module split into its graph, the parameters' state and the rest, which is closed over."""
    module = nnx.eval_shape(lambda: kind(nnx.Rngs(0)))
    graph, state, rest = nnx.split(module, (nnx.Param, nnx.BatchStat), ...)

    def apply(state, *inputs):
        return nnx.merge(graph, state, rest)(*inputs)

    return apply, generic(nnx.to_pure_dict(state)), inputs


def nnx_cnn() -> Case:
    """Parameters and statistics are one state."""
    return _nnx(NNXCNN, normal(2, 8, 8, 2))


def nnx_transformer() -> Case:
    """Attention with keys of numbers and names."""
    return _nnx(NNXTransformer, normal(2, 5, 5))


def equinox_mlp() -> Case:
    """Kernels are stored outputs first; one example a call."""
    import equinox as eqx

    return _equinox(lambda key: eqx.nn.MLP(4, 3, 10, 3, jnp.tanh, key=key), normal(3, 4))


def equinox_cnn() -> Case:
    """Images are stored channels first; biases [width, 1, 1]."""
    from equinox import nn

    def make(key):
        keys = jax.random.split(key, 4)
        convolutions = nn.Conv2d(2, 6, 3, key=keys[0]), nn.Conv2d(6, 8, 2, key=keys[1])
        dense = nn.Linear(8 * 4, 12, key=keys[2]), nn.Linear(12, 3, key=keys[3])
        pool, act, flat = nn.MaxPool2d(2, 2), nn.Lambda(jax.nn.silu), nn.Lambda(jnp.ravel)
        head = (flat, dense[0], nn.LayerNorm(12), act, dense[1])
        return nn.Sequential(
            [convolutions[0], nn.GroupNorm(3, 6), act, pool, convolutions[1], act, *head]
        )

    return _equinox(make, normal(2, 2, 8, 8))


def equinox_transformer() -> Case:
    """A layer is mapped over positions, and the model over examples."""
    import equinox as eqx

    class Network(eqx.Module):
        attention: eqx.nn.MultiheadAttention
        norms: list[eqx.nn.LayerNorm]
        dense: list[eqx.nn.Linear]

        def __init__(self, key):
            keys = jax.random.split(key, 5)
            self.attention = eqx.nn.MultiheadAttention(3, 12, use_query_bias=True, key=keys[4])
            self.norms = [eqx.nn.LayerNorm(12), eqx.nn.LayerNorm(12)]
            sizes = ((5, 12), (12, 20), (20, 12), (12, 2))
            self.dense = [eqx.nn.Linear(*s, key=k) for s, k in zip(sizes, keys[:4], strict=True)]

        def __call__(self, x):
            x = jax.vmap(self.dense[0])(x)
            y = jax.vmap(self.norms[0])(x)
            x = x + self.attention(y, y, y)
            y = jax.nn.gelu(jax.vmap(self.dense[1])(jax.vmap(self.norms[1])(x)))
            return jax.vmap(self.dense[3])(x + jax.vmap(self.dense[2])(y))

    return _equinox(Network, normal(2, 6, 5))


def _equinox(make, x) -> Case:
    """A module partitioned into arrays and all else; mapped over the examples of a batch."""
    import equinox as eqx

    shapes = eqx.filter_eval_shape(make, jax.random.key(0))
    is_array = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)
    arrays, rest = eqx.partition(shapes, is_array)

    def apply(arrays, x):
        return jax.vmap(eqx.combine(arrays, rest))(x)

    return apply, generic(arrays), (x,)


def haiku_mlp() -> Case:
    """LayerNorm inside an MLP; names are "module/linear_0" and "w"."""
    import haiku as hk

    def network(x):
        x = hk.nets.MLP([12, 10], activation=jax.nn.tanh, activate_final=True)(x)
        return hk.Linear(3)(hk.LayerNorm(-1, True, True)(x))

    return _haiku(network, normal(3, 5))


def haiku_resnet() -> Case:
    """Convolutions, statistics in a state, a projection."""
    import haiku as hk

    def network(x):
        # an average is made when it is first updated, which is in training
        norm = lambda x: hk.BatchNorm(True, True, 0.9)(x, is_training=hk.running_init())
        x = hk.Conv2D(8, 3, with_bias=False)(x)
        for width in (8, 12):
            y = jax.nn.relu(norm(hk.Conv2D(width, 3, with_bias=False)(x)))
            y = norm(hk.Conv2D(width, 3, with_bias=False)(y))
            if x.shape != y.shape:
                x = hk.Conv2D(width, 1, with_bias=False)(x)
            x = jax.nn.relu(x + y)
        return hk.Linear(4)(x.mean((1, 2)))

    return _haiku(network, normal(2, 6, 6, 3))


def haiku_transformer() -> Case:
    """Attention whose heads are merged in storage."""
    import haiku as hk

    def network(x):
        x = hk.Linear(12)(x)
        y = hk.LayerNorm(-1, True, True)(x)
        x = x + hk.MultiHeadAttention(3, 4, w_init=hk.initializers.RandomNormal())(y, y, y)
        return hk.Linear(2)(x + hk.nets.MLP([20, 12])(hk.LayerNorm(-1, True, True)(x)))

    return _haiku(network, normal(2, 5, 6))


def _haiku(network, x) -> Case:
    """A transformed function; parameters and state are one tree."""
    import haiku as hk

    pure = hk.without_apply_rng(hk.transform_with_state(network))
    params, state = jax.eval_shape(pure.init, jax.random.key(0), x)

    def apply(variables, x):
        return pure.apply(variables["params"], variables["state"], x)[0]

    return apply, generic({"params": params, "state": state}), (x,)


def plain_mlp() -> Case:
    """A list of dicts of arrays."""
    sizes = (4, 12, 10, 3)
    shapes = [{"w": jnp.empty((a, b)), "b": jnp.empty(b)} for a, b in itertools.pairwise(sizes)]

    def apply(layers, x):
        for layer in layers[:-1]:
            x = jax.nn.leaky_relu(x @ layer["w"] + layer["b"])
        return x @ layers[-1]["w"] + layers[-1]["b"]

    return apply, generic(shapes), (normal(3, 4),)


def plain_gmlp() -> Case:
    """gMLP: half of the channels gate the other half, mixed over positions."""
    block = {"up": (8, 20), "mix": (5, 5), "mix_b": (5,), "down": (10, 8)}
    shapes = {"in": (6, 8), "blocks": [block, block], "out": (8, 2)}
    shapes = jax.tree.map(jnp.empty, shapes, is_leaf=lambda x: isinstance(x, tuple))

    def apply(params, x):
        x = x @ params["in"]
        for p in params["blocks"]:
            u, v = jnp.split(jax.nn.gelu(x @ p["up"]), 2, -1)
            v = jnp.einsum("btc,ts->bsc", v, p["mix"]) + p["mix_b"][:, None]
            x = x + (u * v) @ p["down"]
        return x.mean(1) @ params["out"]

    return apply, generic(shapes), (normal(2, 5, 6),)


def plain_stacked() -> Case:
    """Layers stacked into one array and scanned, transposed kernels, one bias for all."""
    shapes = {"first": jnp.empty((3, 10)), "stack": jnp.empty((4, 10, 10)), "b": jnp.empty(10)}
    shapes["last"] = jnp.empty((2, 10))

    def apply(params, x):
        step = lambda h, w: (jnp.tanh(h @ w.T + params["b"]), None)
        h, _ = jax.lax.scan(step, x @ params["first"], params["stack"])
        return h @ params["last"].T

    return apply, generic(shapes), (normal(3, 3),)


NNX = (nnx_cnn, nnx_transformer)
EQUINOX = (equinox_mlp, equinox_cnn, equinox_transformer)
HAIKU = (haiku_mlp, haiku_resnet, haiku_transformer)
PLAIN = (plain_mlp, plain_gmlp, plain_stacked)
MODELS = (*NNX, *EQUINOX, *HAIKU, *PLAIN)
