"""Time and memory of a training step of every encoder; NFN and StatNN beside PyTorch.

    python -m experiments.benchmarks.encoder_steps     ten minutes on 2 CPU cores; PyTorch's
                                                       part needs `pip install torch nfn`

A step (loss, gradient, AdamW) on the same 32 networks 1-32-32-1, to one number. Every encoder
at the library's defaults with a head of 512 and 512; and, at the published size,

    NFN       NP layers of 16, 16 and 5 channels, learned numbers of inputs and outputs, dense
              layers of 1000 and 1000: "generalisation_np" of `encoders.nfn`
    published the same of the authors' layers (PyPI: nfn), op by op
    StatNN    seven numbers for each array, dense layers of 1000 and 1000
    PyTorch   the same in PyTorch, op by op

Both NFNs must have as many variables. Weights differ by their random initial values.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing, torch_networks
from experiments.lib import cli
from wsjax import architectures, networks
from wsjax.encoders import ENCODERS, Regressor, StatNN
from wsjax.encoders.nfn.nfn import NFN, SETTINGS
from wsjax.tasks.base import Predictor

BATCH, HEAD = 32, 1000
SPEC = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
SETTING = SETTINGS["generalisation_np"]
MODULES = {
    "NFN": NFN(**SETTING),
    "StatNN": Predictor(StatNN(widths=(HEAD,), code=HEAD), Regressor(())),
} | {name: Predictor(encoder(), Regressor()) for name, encoder in ENCODERS.items()}


def batch() -> dict[str, np.ndarray]:
    """Random networks and targets."""
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((BATCH, SPEC.count)) / 4).astype(np.float32)
    return {"vectors": vectors, "target": vectors[:, 0].copy()}


def jax_step(name: str, data: dict[str, np.ndarray]) -> tuple[Callable, int, int]:
    """A compiled step, its bytes of temporary memory, and how many variables are trained."""
    module = MODULES[name]
    view = getattr(module, "encoder", module).view(SPEC)
    init = jax.jit(module.init)(jax.random.key(0), data["vectors"][:1], view)
    params, constants = init["params"], {k: v for k, v in init.items() if k != "params"}

    def loss(params, key, batch):
        out = module.apply({"params": params, **constants}, batch["vectors"], view)
        return jnp.square(out.reshape(-1) - batch["target"]).mean(), {}

    run, memory = timing.training_step(loss, params, data)
    return run, memory, sum(x.size for x in jax.tree.leaves(params))


def published(data: dict[str, np.ndarray]):
    """The authors' NFN in PyTorch, and its features of the batch."""
    import torch
    from nfn import common, layers

    arrays = networks.unravel(data["vectors"], SPEC)
    kernels = [a.name for a in SPEC.arrays if a.role == "kernel"]
    biases = [a.name for a in SPEC.arrays if a.role == "bias"]
    tensor = lambda x: torch.as_tensor(np.ascontiguousarray(x))
    features = common.WeightSpaceFeatures(
        [tensor(arrays[k].swapaxes(1, 2)[:, None]) for k in kernels],
        [tensor(arrays[k][:, None]) for k in biases],
    )
    shape = common.network_spec_from_wsfeat(features, set_all_dims=True)
    stack = []
    for fan_in, width in itertools.pairwise((1, *SETTING["widths"])):
        stack.append(layers.NPLinear(shape, fan_in, width, io_embed=True))
        stack.append(layers.TupleOp(torch.nn.ReLU()))
    stack += [layers.HNPPool(shape), torch.nn.Flatten(start_dim=-2)]
    means = layers.HNPPool.get_num_outs(shape) * SETTING["widths"][-1]
    return torch.nn.Sequential(*stack, *head(torch, means)), features


def statistics(data: dict[str, np.ndarray]):
    """StatNN in PyTorch, and the arrays of the batch."""
    import torch

    levels = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])

    class Statistics(torch.nn.Module):
        def forward(self, arrays):
            columns = []
            for x in arrays:
                one = x.shape[1] == 1
                variance = torch.zeros(len(x)) if one else x.var(1)
                columns += [x.mean(1), variance, *torch.quantile(x, levels, dim=1)]
            return torch.stack(columns, dim=1)

    arrays = networks.unravel(data["vectors"], SPEC)
    arrays = [torch.as_tensor(arrays[a.name].reshape(BATCH, -1)) for a in SPEC.arrays]
    return torch.nn.Sequential(Statistics(), *head(torch, 7 * len(arrays))), arrays


def head(torch, fan_in: int) -> list:
    """Dense layers to one number."""
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    return [linear(fan_in, HEAD), relu(), linear(HEAD, HEAD), relu(), linear(HEAD, 1)]


def steps(rounds: int) -> dict[str, float]:
    """Milliseconds of each step, and of PyTorch's relative to the library's.

    Raises:
        ValueError: the networks in PyTorch have another number of variables.
    """
    data, figures = batch(), {}
    for name, other, make, needs in (
        ("NFN", "published", published, ("torch", "nfn")),
        ("StatNN", "PyTorch", statistics, ("torch",)),
    ):
        run, _, count = jax_step(name, data)
        runs = {name: run}
        if torch_networks.load(needs):
            net, inputs = make(data)
            if (theirs := sum(x.numel() for x in net.parameters())) != count:
                raise ValueError(f"{name}: expected {count} variables in PyTorch, got {theirs}")
            runs[f"{name}, {other}"] = torch_networks.regression_step(net, inputs, data["target"])
        took = timing.in_turn(runs, rounds)
        for k, milliseconds in took.items():
            figures[f"{k}: ms"] = round(milliseconds, 2)
            figures[f"{k}: times ours"] = round(milliseconds / took[name], 2)
    return figures


def every(rounds: int) -> dict[str, float]:
    """Milliseconds and MiB of a step with each encoder."""
    data = batch()
    built = {name: jax_step(name, data) for name in ENCODERS}
    took = timing.in_turn({name: run for name, (run, *_) in built.items()}, rounds)
    figures = {f"{name}: ms": round(milliseconds, 2) for name, milliseconds in took.items()}
    return figures | {f"{name}: MiB": round(x[1] / 2**20, 1) for name, x in built.items()}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    options = cli.prepare(
        timing.parser("benchmarks.encoder_steps", __doc__, 50).parse_args(arguments)
    )
    few = min(5, options.rounds)
    for name, run, config in (
        ("nfn_step", lambda: steps(options.rounds), {"batch": BATCH, **SETTING}),
        ("encoder_step", lambda: every(few), {"batch": BATCH, "rounds": few}),
    ):
        timing.record(name, run, config, options.results)


if __name__ == "__main__":
    cli.run(main)
