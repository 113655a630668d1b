"""Flax Linen models of fields, sequences, sets and graphs, named by what makes each one hard."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.foreign_models.generic import Case, linen, normal, tokens


class MLP(nn.Module):
    """Dense layers with ReLU."""

    @nn.compact
    def __call__(self, x):
        for width in (16, 12, 8):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(3)(x)


class SIREN(nn.Module):
    """Sines of omega 30, as SNE and GMN read them."""

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = jnp.sin(30.0 * nn.Dense(16)(x))
        return nn.Dense(3)(x) + 0.5


class NeRF(nn.Module):
    """Encoded positions are read twice, the second time beside hidden neurons."""

    @nn.compact
    def __call__(self, x, direction):
        encode = lambda x, n: jnp.concatenate([x, *(jnp.sin(2.0**i * x) for i in range(n))], -1)
        x, y = encode(x, 3), encode(direction, 2)
        z = x
        for i in range(4):
            z = nn.relu(nn.Dense(12)(jnp.concatenate([z, x], -1) if i == 2 else z))
        density = nn.softplus(nn.Dense(1)(z))
        z = nn.relu(nn.Dense(6)(jnp.concatenate([nn.Dense(12)(z), y], -1)))
        return jnp.concatenate([nn.sigmoid(nn.Dense(3)(z)), density], -1)


class MultiplicativeFilters(nn.Module):
    """Sines of the input multiply hidden neurons."""

    @nn.compact
    def __call__(self, x):
        z = jnp.sin(nn.Dense(14)(x))
        for _ in range(2):
            z = nn.Dense(14)(z) * jnp.sin(nn.Dense(14)(x))
        return nn.Dense(2)(z)


class RNN(nn.Module):
    """A recurrent layer and its last state."""

    cell: nn.Module

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.RNN(self.cell)(x)[:, -1])


class Seq2Seq(nn.Module):
    """The encoder's last state begins the decoder."""

    @nn.compact
    def __call__(self, x, y):
        carry, _ = nn.RNN(nn.LSTMCell(8), return_carry=True)(x)
        out = nn.RNN(nn.LSTMCell(8))(y, initial_carry=carry)
        return nn.Dense(4)(out)


class Bidirectional(nn.Module):
    """Two directions, concatenated, pooled by attention: Flax's SST-2 example."""

    @nn.compact
    def __call__(self, t):
        x = nn.Embed(20, 6)(t)
        x = nn.Bidirectional(nn.RNN(nn.GRUCell(5)), nn.RNN(nn.GRUCell(5)))(x)
        weight = nn.softmax(nn.Dense(1, use_bias=False)(jnp.tanh(nn.Dense(7)(x))), axis=1)
        return nn.Dense(2)((weight * x).sum(1))


class WaveNet(nn.Module):
    """Dilated convolutions, gated by a split, with skips that are added; WeightNorm."""

    @nn.compact
    def __call__(self, x):
        x, skips = nn.Conv(8, (1,))(x), 0.0
        for i in range(3):
            y = nn.WeightNorm(nn.Conv(12, (2,), kernel_dilation=2**i, padding="CAUSAL"))(x)
            filters, gate = jnp.split(y, 2, -1)
            y = jnp.tanh(filters) * nn.sigmoid(gate)
            skips = skips + nn.Conv(10, (1,))(y)
            x = x + nn.Conv(8, (1,))(y)
        return nn.Conv(4, (1,))(nn.relu(nn.Conv(9, (1,))(nn.relu(skips))))


class FNO(nn.Module):
    """Complex weights multiply the lowest Fourier modes of each channel."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6)(x)
        normal = nn.initializers.normal(1, jnp.complex64)
        for i in range(2):
            modes = jnp.fft.rfft(x, axis=1)[:, :4]
            w = self.param(f"spectral_{i}", normal, (4, 6, 6))
            y = jnp.fft.irfft(jnp.einsum("bmi,mio->bmo", modes, w), x.shape[1], axis=1)
            x = nn.gelu(y + nn.Dense(6)(x))
        return nn.Dense(1)(nn.gelu(nn.Dense(9)(x)))


class StateSpace(nn.Module):
    """Diagonal state spaces by an associative scan; states lie within channels."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6)(x)
        for i in range(2):
            log_decay = self.param(f"decay_{i}", nn.initializers.normal(1), (6, 4))
            b = self.param(f"in_{i}", nn.initializers.normal(1), (6, 4))
            c = self.param(f"out_{i}", nn.initializers.normal(1), (6, 4))
            decay = nn.sigmoid(log_decay)
            steps = nn.LayerNorm()(x)[..., None] * b
            join = lambda p, q: (p[0] * q[0], p[1] * q[0] + q[1])
            decays = jnp.broadcast_to(decay, steps.shape)
            _, h = jax.lax.associative_scan(join, (decays, steps), axis=1)
            x = x + nn.Dense(6)(nn.gelu((h * c).sum(-1)))
        return nn.Dense(2)(x)


class LinearAttention(nn.Module):
    """Running sums over time of keys x values."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x)
        q, k, v = (nn.DenseGeneral((2, 5))(x) for _ in range(3))
        q, k = nn.elu(q) + 1, nn.elu(k) + 1
        state = jnp.cumsum(k[..., None] * v[..., None, :], axis=1)
        weight = (q * jnp.cumsum(k, axis=1)).sum(-1, keepdims=True)
        y = jnp.einsum("bthk,bthkv->bthv", q, state) / weight
        return nn.Dense(3)(x + nn.DenseGeneral(8, axis=(-2, -1))(y))


class DeepSet(nn.Module):
    """Elements embedded, sorted neuron by neuron, and summed with learned weights."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(10)(nn.relu(nn.Dense(8)(x))))
        weight = self.param("pool", nn.initializers.normal(1), (x.shape[1], 10))
        x = (jnp.sort(x, axis=1) * weight).sum(1)
        return nn.Dense(2)(nn.relu(nn.Dense(6)(x)))


class TopNeurons(nn.Module):
    """The largest activations of a layer, in order: its neurons may move, not what reads them."""

    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Dense(9)(x))
        x = jax.lax.top_k(x, 4)[0]
        return nn.Dense(2)(nn.relu(nn.Dense(7)(x)))


class GraphNetwork(nn.Module):
    """Messages along edges, summed at their receivers: Flax's molecules."""

    @nn.compact
    def __call__(self, nodes, edges, senders, receivers):
        x, e = nn.Dense(8)(nodes), nn.Dense(6)(edges)
        for _ in range(2):
            both = jnp.concatenate([x[senders], x[receivers], e], -1)
            e = nn.relu(nn.Dense(6)(both))
            total = jax.ops.segment_sum(e, receivers, num_segments=x.shape[0])
            x = nn.LayerNorm()(
                x + nn.Dense(8)(nn.relu(nn.Dense(10)(jnp.concatenate([x, total], -1))))
            )
        return nn.Dense(3)(x.mean(0))


class Bilinear(nn.Module):
    """Two towers and a product over every pair of their neurons."""

    @nn.compact
    def __call__(self, x, y):
        a, b = nn.tanh(nn.Dense(7)(x)), nn.tanh(nn.Dense(5)(y))
        w = self.param("w", nn.initializers.normal(1), (7, 5, 6))
        return nn.Dense(2)(nn.relu(jnp.einsum("bi,bj,ijk->bk", a, b, w)))


class HyperNetwork(nn.Module):
    """A dense layer's outputs are another layer's kernel, one for each example."""

    @nn.compact
    def __call__(self, x, context):
        c = nn.relu(nn.Dense(6)(context))
        w1 = nn.Dense(5 * 8)(c).reshape(-1, 5, 8)
        w2 = nn.Dense(8 * 2)(c).reshape(-1, 8, 2)
        h = jnp.tanh(jnp.einsum("bi,bij->bj", x, w1))
        return jnp.einsum("bj,bjk->bk", h, w2)


class Siamese(nn.Module):
    """One module reads both inputs."""

    @nn.compact
    def __call__(self, x, y):
        tower = nn.Sequential([nn.Dense(12), nn.relu, nn.Dense(8), nn.LayerNorm(), nn.relu])
        a, b = tower(x), tower(y)
        return nn.Dense(1)(jnp.abs(a - b)), (a * b).sum(-1)


class Equilibrium(nn.Module):
    """A layer applied until a condition holds, by a `while`."""

    @nn.compact
    def __call__(self, x):
        w = self.param("recurrent", nn.initializers.normal(1), (10, 10))
        u = nn.Dense(10)(x)

        def step(state):
            i, z, _ = state
            new = jnp.tanh(0.5 * z @ w + u)
            return i + 1, new, jnp.abs(new - z).max()

        begin = (0, jnp.zeros_like(u), jnp.inf)
        _, z, _ = jax.lax.while_loop(lambda s: (s[0] < 30) & (s[2] > 1e-6), step, begin)
        return nn.Dense(2)(z)


class Branches(nn.Module):
    """One of two layers, by an input's sign, with `cond`."""

    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Dense(8)(x))
        w = self.param("w", nn.initializers.normal(1), (8, 6))
        v = self.param("v", nn.initializers.normal(1), (8, 6))
        h = jax.lax.cond(x[0, 0] > 0, lambda h: jnp.tanh(h @ w), lambda h: nn.relu(h @ v), h)
        return nn.Dense(2)(h)


class NeuralODE(nn.Module):
    """Runge-Kutta steps of one field, which takes in time, in a `scan`."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6)(x)
        normal = nn.initializers.normal(1)
        w, b = self.param("w", normal, (7, 9)), self.param("b", normal, (9,))
        v = self.param("v", normal, (9, 6))

        def field(x, t):
            clock = jnp.full((x.shape[0], 1), t)
            return jnp.tanh(jnp.concatenate([x, clock], -1) @ w + b) @ v

        def step(x, t):
            half = x + 0.1 * field(x, t)
            return x + 0.2 * field(half, t + 0.1), None

        x, _ = jax.lax.scan(step, x, jnp.arange(4) * 0.2)
        return nn.Dense(2)(x)


class Flow(nn.Module):
    """Affine couplings of an input's halves, which are reversed between them."""

    @nn.compact
    def __call__(self, x):
        total = jnp.zeros(x.shape[0])
        for _ in range(2):
            a, b = jnp.split(x, 2, -1)
            h = nn.relu(nn.Dense(10)(a))
            log_scale, shift = jnp.tanh(nn.Dense(b.shape[-1])(h)), nn.Dense(b.shape[-1])(h)
            b, total = b * jnp.exp(log_scale) + shift, total + log_scale.sum(-1)
            x = jnp.concatenate([a, b], -1)[:, ::-1]
        return x, total


class Recommender(nn.Module):
    """Tables of categories, their pairwise products, and a deep part: DLRM."""

    @nn.compact
    def __call__(self, dense, categories):
        x = nn.relu(nn.Dense(6)(nn.relu(nn.Dense(8)(dense))))
        tables = [nn.Embed(10, 6)(categories[:, i]) for i in range(3)]
        every = jnp.stack([x, *tables], 1)
        pairs = (every @ every.swapaxes(1, 2))[:, *jnp.triu_indices(4, 1)]
        return nn.Dense(1)(nn.relu(nn.Dense(8)(jnp.concatenate([x, pairs], -1))))


class Highway(nn.Module):
    """Gates carry a neuron past its layer; maxout behind them; LayerNorm without a scale."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(12)(x)
        for _ in range(2):
            gate = nn.sigmoid(nn.Dense(12)(x))
            x = gate * nn.relu(nn.Dense(12)(x)) + (1 - gate) * x
        x = nn.LayerNorm(use_scale=False)(nn.Dense(24)(x).reshape(-1, 8, 3).max(-1))
        return nn.Dense(2)(x)


def mlp() -> Case:
    """The plainest."""
    return linen(MLP(), normal(3, 5))


def siren() -> Case:
    """Signs and phases besides permutations."""
    return linen(SIREN(), normal(3, 2))


def nerf() -> Case:
    """Inputs and hidden neurons in one kernel."""
    return linen(NeRF(), normal(4, 3), normal(4, 2, seed=2))


def multiplicative_filters() -> Case:
    """Products of layers."""
    return linen(MultiplicativeFilters(), normal(3, 2))


def lstm() -> Case:
    """Four gates of one concatenation, in a scan."""
    return linen(RNN(nn.OptimizedLSTMCell(8)), normal(2, 5, 3))


def gru() -> Case:
    """Gates apart, in a scan."""
    return linen(RNN(nn.GRUCell(8)), normal(2, 5, 3))


def seq2seq_lstm() -> Case:
    """A carry goes from scan to scan."""
    return linen(Seq2Seq(), normal(2, 5, 3), normal(2, 4, 3, seed=2))


def bidirectional_gru() -> Case:
    """A direct sum of two scans, one reversed."""
    return linen(Bidirectional(), tokens(2, 5, vocabulary=20))


def wavenet() -> Case:
    """A split into filter and gate."""
    return linen(WaveNet(), normal(2, 9, 2))


def fourier_operator() -> Case:
    """FFT along positions, complex parameters."""
    return linen(FNO(), normal(2, 8, 2))


def state_space() -> Case:
    """Slices and concatenations along time only."""
    return linen(StateSpace(), normal(2, 8, 3))


def linear_attention() -> Case:
    """Cumulative sums."""
    return linen(LinearAttention(), normal(2, 5, 4))


def sorted_set() -> Case:
    """A sort along elements, not neurons."""
    return linen(DeepSet(), normal(2, 6, 3))


def top_neurons() -> Case:
    """A sort along neurons."""
    return linen(TopNeurons(), normal(3, 4))


def graph_network() -> Case:
    """Gathers and scatters along nodes; a direct sum of three."""
    ends = tokens(9, vocabulary=5), tokens(9, vocabulary=5, seed=2)
    return linen(GraphNetwork(), normal(5, 4), normal(9, 3), *ends)


def bilinear() -> Case:
    """A kernel that reads two axes."""
    return linen(Bilinear(), normal(3, 4), normal(3, 6, seed=2))


def hypernetwork() -> Case:
    """Hidden neurons of a kernel that no one stores."""
    return linen(HyperNetwork(), normal(3, 5), normal(3, 4, seed=2))


def siamese() -> Case:
    """A shared module."""
    return linen(Siamese(), normal(3, 5), normal(3, 5, seed=2))


def equilibrium() -> Case:
    """`while`, whose condition reads a maximum over the hidden neurons."""
    return linen(Equilibrium(), normal(3, 4))


def conditional() -> Case:
    """Two branches write one axis."""
    return linen(Branches(), normal(3, 4))


def neural_ode() -> Case:
    """A scan over time, which is concatenated to hidden neurons."""
    return linen(NeuralODE(), normal(3, 4))


def normalising_flow() -> Case:
    """Halves of inputs, reversed; only the couplings' layers are hidden."""
    return linen(Flow(), normal(3, 6))


def recommender() -> Case:
    """A stack of tables; products over their dimensions."""
    return linen(Recommender(), normal(3, 4), tokens(3, 3, vocabulary=10))


def highway_maxout() -> Case:
    """Pieces of a maxout lie within their neuron."""
    return linen(Highway(), normal(3, 4))


MODELS = (
    *(mlp, siren, nerf, multiplicative_filters, lstm, gru, seq2seq_lstm, bidirectional_gru),
    *(wavenet, fourier_operator, state_space, linear_attention, sorted_set, top_neurons),
    *(graph_network, bilinear, hypernetwork, siamese, equilibrium, conditional, neural_ode),
    *(normalising_flow, recommender, highway_maxout),
)
