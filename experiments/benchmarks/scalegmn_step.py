"""Time of a training step of ScaleGMN, and what slicing its branches saves.

    python -m experiments.benchmarks.scalegmn_step           five minutes on 2 CPU cores

A step (loss, gradient, AdamW) of two published configurations, without dropout and with one
number for an embedding, on 32 networks. In turn:

    sliced            inputs, hidden neurons and outputs are slices, each for its own nets
    masked            every row goes through every net, and masks choose, as published
    unfolded          sliced, but linear maps that follow one another are applied one by one
    microbatch 4      sliced, four networks at a time

Their losses over three steps are checked to be equal before they are timed. The published
PyTorch code took 12.6 s (mnist) and 1.9 s (cifar10_relu) a step on two other, contended
CPU cores: bounds, not measured here.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from experiments.lib import cli
from wsjax import architectures
from wsjax.encoders import ScaleGMN
from wsjax.encoders.scalegmn import scale_blocks, scale_layers
from wsjax.encoders.scalegmn.scale_blocks import Features, Linear, part
from wsjax.encoders.scalegmn.scalegmn_settings import SETTINGS

BATCH = 32
SPECS = {
    "mnist": architectures.mlp([2, 32, 32, 1], "sin", 30.0),
    "cifar10_relu": architectures.cnn([1, 16, 16, 16], [10]),
}


class Masked(scale_blocks.Equivariant):
    """Every row through every net; a mask chooses the result of its own."""

    def _layer(self, rows, name, train):
        ends = np.cumsum([0, *(x.parts[0].rows for x in rows.values())])
        columns = zip(*(x.parts for x in rows.values()), strict=True)
        whole = [part(jnp.concatenate([p.pieces[0].x for p in c])) for c in columns]
        out = super()._layer(dict.fromkeys(rows, Features(whole)), name, train)
        row = jnp.arange(ends[-1])[:, None, None]
        slices = list(zip(rows, ends, ends[1:], strict=False))
        total = sum(jnp.where((row >= a) & (row < b), out[k], 0) for k, a, b in slices)
        return {k: total[a:b] for k, a, b in slices}


class Unfolded(Linear):
    """Rows that are computed before they are multiplied."""

    def __matmul__(self, matrix):
        return self.value() @ matrix


@contextlib.contextmanager
def variant(name: str) -> Iterator[None]:
    """The library as it is, or with a part replaced."""
    if name == "masked":
        with mock.patch.object(scale_layers, "Equivariant", Masked):
            yield
    elif name == "unfolded":
        with (
            mock.patch.object(scale_blocks, "Linear", Unfolded),
            mock.patch.object(scale_layers, "Linear", Unfolded),
        ):
            yield
    else:
        yield


def settings(name: str) -> dict:
    """Of the encoder that is timed."""
    return {**SETTINGS[name], "code": 1, "dropout": 0.0}


def steps(rounds: int) -> dict[str, float]:
    """Milliseconds of every variant of every configuration, and ratios to the library's."""
    figures = {}
    for name, spec in SPECS.items():
        encoder = ScaleGMN(**settings(name))
        view, rng = encoder.view(spec), np.random.default_rng(0)
        vectors = (rng.standard_normal((BATCH, spec.count)) / 4).astype(np.float32)
        data = {"vectors": vectors, "target": vectors[:, 0]}
        params = jax.jit(encoder.init)(jax.random.key(0), vectors[:1], view)["params"]

        def loss(params, key, batch, encoder=encoder, view=view):
            out = encoder.apply({"params": params}, batch["vectors"], view)[:, 0]
            return jnp.square(out - batch["target"]).mean(), {}

        runs, losses = {}, {}
        for kind in ("sliced", "masked", "unfolded", "microbatch 4"):
            microbatch = 4 if kind == "microbatch 4" else 0
            with variant(kind):
                runs[kind], _ = timing.training_step(loss, params, data, microbatch)
            losses[kind] = [runs[kind]() for _ in range(3)]
        for kind, values in losses.items():
            np.testing.assert_allclose(values, losses["sliced"], rtol=2e-2, err_msg=kind)
        took = timing.in_turn(runs, rounds, name)
        for kind, milliseconds in took.items():
            figures[f"{name}, {kind}: ms"] = round(milliseconds, 1)
            figures[f"{name}, {kind}: times sliced"] = round(milliseconds / took["sliced"], 2)
    return figures


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    options = cli.prepare(
        timing.parser("benchmarks.scalegmn_step", __doc__, 4).parse_args(arguments)
    )
    config = {"batch": BATCH, **{k: settings(k) for k in SPECS}}
    timing.record("scalegmn_step", lambda: steps(options.rounds), config, options.results)


if __name__ == "__main__":
    cli.run(main)
