"""What a training step of every encoder costs, and of NFN and StatNN beside PyTorch.

    python -m experiments.benchmarks.encoder_steps          ten minutes on 2 CPU cores; needs
                                                    `pip install torch nfn`

A step (loss, gradient, AdamW) on the same 32 networks 1-32-32-1, to one number. Every encoder
at the library's defaults with a head of 512 and 512; and, at the published size,

    NFN       NP layers of 16, 16 and 5 channels, learned numbers of inputs and outputs, dense
              layers of 1000 and 1000: "generalisation_np" of `encoders.nfn`
    published the same of the authors' layers (PyPI: nfn), op by op
    StatNN    seven numbers for each array, dense layers of 1000 and 1000
    PyTorch   the same in PyTorch, op by op

Both NFNs must have as many variables. Weights differ by their draws. Those of a group take
turns, and the least time counts.
"""

import argparse
import itertools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import cli, records
from experiments.lib.cli import in_turn
from wsjax import architectures, networks, training
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


def jax_step(name: str, data: dict[str, np.ndarray]) -> tuple[Callable, int]:
    """A compiled step, and how many variables are trained."""
    module = MODULES[name]
    view = getattr(module, "encoder", module).view(SPEC)
    init = jax.jit(module.init)(jax.random.key(0), data["vectors"][:1], view)
    params, constants = init["params"], {k: v for k, v in init.items() if k != "params"}

    def loss(params, key, batch):
        out = module.apply({"params": params, **constants}, batch["vectors"], view)
        return jnp.square(out.reshape(-1) - batch["target"]).mean(), {}

    how = training.Settings(steps=1000, batch=BATCH)
    step = training.make_step(loss, how, training.data_mesh())
    compiled = step.lower(training.init_state(params, how), data).compile()
    state = [training.init_state(params, how)]

    def run():
        state[0], out = compiled(state[0], data)
        return float(out["loss"])

    return run, sum(x.size for x in jax.tree.leaves(params))


def published(data: dict[str, np.ndarray]):
    """The authors' layers and their features of the batch, for `torch_step`.

    Raises:
        ImportError: the package `nfn` is absent.
    """
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
    """StatNN in PyTorch, and the batch, for `torch_step`."""
    import torch

    levels = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])

    class Statistics(torch.nn.Module):
        def forward(self, arrays):
            found = []
            for x in arrays:
                one = x.shape[1] == 1
                variance = torch.zeros(len(x)) if one else x.var(1)
                found += [x.mean(1), variance, *torch.quantile(x, levels, dim=1)]
            return torch.stack(found, dim=1)

    arrays = networks.unravel(data["vectors"], SPEC)
    arrays = [torch.as_tensor(arrays[a.name].reshape(BATCH, -1)) for a in SPEC.arrays]
    return torch.nn.Sequential(Statistics(), *head(torch, 7 * len(arrays))), arrays


def head(torch, fan_in: int) -> list:
    """Dense layers to one number."""
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    return [linear(fan_in, HEAD), relu(), linear(HEAD, HEAD), relu(), linear(HEAD, 1)]


def torch_step(make: Callable, data: dict[str, np.ndarray]) -> tuple[Callable, int]:
    """The same step in PyTorch, and how many variables are trained."""
    import torch

    net, inputs = make(data)
    adam = torch.optim.AdamW(net.parameters())
    target = torch.as_tensor(data["target"])

    def run():
        adam.zero_grad()
        loss = ((net(inputs).reshape(-1) - target) ** 2).mean()
        loss.backward()
        adam.step()
        return float(loss.detach())

    return run, sum(x.numel() for x in net.parameters())


def steps(rounds: int) -> dict[str, float]:
    """Milliseconds of each step, and of PyTorch's in units of the library's."""
    data, figures = batch(), {}
    for name, other, make in (
        ("NFN", "published", published),
        ("StatNN", "PyTorch", statistics),
    ):
        run, count = jax_step(name, data)
        runs = {name: run}
        try:
            runs[f"{name}, {other}"], theirs = torch_step(make, data)
        except ImportError as error:
            print(f"{name} is not compared: {error}. `pip install torch nfn`", flush=True)
        else:
            if theirs != count:
                raise ValueError(f"{name}: expected {count} variables in PyTorch, got {theirs}")
        took = in_turn(runs, rounds)
        for k, milliseconds in took.items():
            figures[f"{k}: ms"] = round(milliseconds, 2)
            figures[f"{k}: times ours"] = round(milliseconds / took[name], 2)
            print(f"{k:20} {milliseconds:9.2f} ms {count:12,} variables", flush=True)
    return figures


def every(rounds: int) -> dict[str, float]:
    """Milliseconds of a step with each encoder."""
    data = batch()
    runs = {name: jax_step(name, data)[0] for name in ENCODERS}
    took = in_turn(runs, rounds)
    for name, milliseconds in took.items():
        print(f"{name:20} {milliseconds:9.2f} ms", flush=True)
    return {f"{name}: ms": round(milliseconds, 2) for name, milliseconds in took.items()}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.encoder_steps", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--results", type=pathlib.Path)
    options = cli.prepare(parser.parse_args(arguments))
    records.benchmark("nfn_step", lambda: steps(options.rounds), {"batch": BATCH, **SETTING})
    few = min(5, options.rounds)
    records.benchmark("encoder_step", lambda: every(few), {"batch": BATCH, "rounds": few})


if __name__ == "__main__":
    main()
