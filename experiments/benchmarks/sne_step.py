"""Time and memory of a training step of SNE, of variants that were tried and kept or dropped.

    python -m experiments.benchmarks.sne_step                 a few minutes on 2 CPU cores

All figures of a run are measured in that run, the variants in turn. Memory is that of the compiled
step's temporaries, by XLA's report, beside the weights and the batch (a few MiB).
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from experiments.lib import cli
from wsjax import architectures
from wsjax.encoders import SNE, Regressor
from wsjax.symmetries import permutations
from wsjax.tasks import losses
from wsjax.tasks.base import Predictor

SPEC = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
SHORT = {"chunk_depth": 1, "depth": 2}  # the laptop preset's SNE
GROUPS = {
    # name: {variant: (encoder settings, batch, microbatch, invariance)}
    "sne_step": {
        f"batch {b}, chunk {c}{', invariance' * bool(v)}": ({"chunk": c}, b, 4, v)
        for b in (32, 128)
        for c in (8, 32)
        for v in (0.0, 0.1)
    },
    "sne_step_tried": {
        "whole batch of 32": ({}, 32, 0, 0.0),
        "microbatch 16": ({}, 32, 16, 0.0),
        "microbatch 8": ({}, 32, 8, 0.0),
        "microbatch 4": ({}, 32, 4, 0.0),
        "microbatch 2": ({}, 32, 2, 0.0),
        "microbatch 4, two heads": ({"heads": 2}, 32, 4, 0.0),
        "microbatch 4, one head": ({"heads": 1}, 32, 4, 0.0),
        "microbatch 4, pre-norm": ({"norm": "pre"}, 32, 4, 0.0),
        "microbatch 4, no attention": ({"attention": False}, 32, 4, 0.0),
        "microbatch 4, half the depth (laptop)": (SHORT, 32, 4, 0.0),
        "microbatch 4, half the depth, width 32": ({**SHORT, "width": 32}, 32, 4, 0.0),
    },
    "sne_step_memory": {
        "chunk 8, whole batch of 32": ({"chunk": 8}, 32, 0, 0.0),
        "chunk 8, whole batch of 32, blocks of 32 chunks": (
            {"chunk": 8, "block": 32},
            32,
            0,
            0.0,
        ),
        "chunk 8, microbatch 4": ({"chunk": 8}, 32, 4, 0.0),
    },
}


def step(
    settings: Mapping[str, object], batch: int, microbatch: int, invariance: float
) -> tuple[Callable[[], object], int]:
    """A compiled training step on random networks, and its bytes of temporary memory."""
    module = Predictor(SNE(**settings), Regressor())
    view, moves = module.encoder.view(SPEC), permutations.moves(SPEC)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((batch, SPEC.count)).astype(np.float32)
    data = {"vectors": vectors, "target": vectors[:, 0].copy()}

    def loss(params, key, batch):
        return losses.regression(
            lambda x, _: module.apply({"params": params}, x, view),
            losses.squared_error,
            batch["vectors"],
            batch["target"],
            key,
            moves,
            permute=True,
            invariance=invariance,
            samples=1,
            share=1.0,
        )

    first = jnp.asarray(vectors[:1])
    params = jax.jit(module.init)(jax.random.key(0), first, view)["params"]
    return timing.training_step(loss, params, data, microbatch)


def measure(variants: Mapping[str, tuple], rounds: int) -> dict[str, float]:
    """Milliseconds and MiB of each variant, with the arguments of `step`."""
    built, figures = {k: step(*v) for k, v in variants.items()}, {}
    took = timing.in_turn({k: run for k, (run, _) in built.items()}, rounds)
    for k, milliseconds in took.items():
        figures[f"{k}: ms"] = round(milliseconds, 1)
        figures[f"{k}: MiB"] = round(built[k][1] / 2**20, 1)
    return figures


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = timing.parser("benchmarks.sne_step", __doc__, 4)
    parser.add_argument("--groups", default="", help=", ".join(GROUPS))
    options = cli.prepare(parser.parse_args(arguments))
    config = {"spec": dataclasses.asdict(SPEC)["sizes"]}
    for name in cli.select(options.groups, GROUPS, GROUPS):
        run = lambda name=name: measure(GROUPS[name], options.rounds)
        timing.record(name, run, config, options.results)


if __name__ == "__main__":
    cli.run(main)
