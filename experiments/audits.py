"""Which symmetries of networks every encoder respects, untrained, in float32 and float64.

    python -m experiments.audits                       all encoders; half an hour on 2 CPU cores
    python -m experiments.audits --encoders gmn,grit --networks mlp_relu,mixed

`wsjax.testing.audit` for all of `wsjax.encoders.ENCODERS` at their default settings, and for
ScaleGMN with the messages back that were published, on

    mlp_sine    two inputs, 12-12 sines of omega 30, one output; weights as SIREN's authors draw
                them, biases as PyTorch does
    mlp_tanh, mlp_relu   the same of tanh and ReLU; weights and biases normal, by fan-in
    cnn_relu, cnn_tanh   two convolutions of 3 x 3, the mean over positions, one dense layer
    mixed       a ReLU and a tanh network of other widths and depths in one batch, both audited

Variables are the initial ones plus noise, so that nothing that begins at zero hides a defect;
they and the networks are the same numbers in both precisions.
"""

import argparse
import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import cli, records
from wsjax import architectures, networks, testing
from wsjax.encoders import ENCODERS
from wsjax.networks import Params, Spec
from wsjax.symmetries import audit
from wsjax.symmetries.audit import Audit, Encode, Finding
from wsjax.views import padding

DTYPES = ("float32", "float64")
NOISE = 0.1  # standard deviation of what is added to every variable
VARIANTS = {  # row -> encoder and its settings
    **{name: (name, {}) for name in ENCODERS},
    "scalegmn_as_published": ("scalegmn", {"backward": "as_published"}),  # a known defect
}
OMEGA = 30.0
NETWORKS = {
    "mlp_sine": architectures.mlp([2, 12, 12, 1], "sin", OMEGA),
    "mlp_tanh": architectures.mlp([2, 12, 12, 1], "tanh"),
    "mlp_relu": architectures.mlp([2, 12, 12, 1], "relu"),
    "cnn_relu": architectures.cnn([1, 6, 8], [3], activation="relu"),
    "cnn_tanh": architectures.cnn([1, 6, 8], [3], activation="tanh"),
}
MIXED = (
    architectures.mlp([2, 10, 14, 1], "relu"),
    architectures.mlp([2, 13, 7, 9, 1], "tanh"),
)
ROWS = (*NETWORKS, "mixed")

Members = Mapping[str, tuple[Spec, Params]]


def draw(spec: Spec, key: jax.Array) -> Params:
    """A network as it is before training; sines by Sitzmann et al. (2020), section 3.2."""
    if spec.layers[0].activation != "sin":
        return testing.draw(key, spec)
    sizes, out = dict(spec.sizes), {}
    for i, layer in enumerate(spec.layers):
        fan_in = sizes[layer.arrays[0].axes[0]]
        for j, a in enumerate(layer.arrays):
            bound = 1 / math.sqrt(fan_in)
            if a.role == "kernel":
                bound = math.sqrt(6 / fan_in) / OMEGA if i else 1 / fan_in
            mine = jax.random.fold_in(jax.random.fold_in(key, i), j)
            out[a.name] = bound * jax.random.uniform(mine, spec.shape(a), minval=-1)
    return out


def build(name: str) -> nn.Module:
    """The encoder of a row."""
    encoder, settings = VARIANTS[name]
    return ENCODERS[encoder](**settings)


def variables_of(encoder: nn.Module, vectors, view, key: jax.Array):
    """Initial variables and noise, float32; constants of training networks stay as they are.

    Raises:
        ValueError: the encoder cannot read the networks.
    """
    first = jax.jit(lambda key, vectors: encoder.init(key, vectors, view))(key, vectors)
    leaves, tree = jax.tree.flatten(first["params"])
    for i, leaf in enumerate(leaves):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            drawn = jax.random.normal(jax.random.fold_in(key, i), leaf.shape, leaf.dtype)
            leaves[i] = leaf + NOISE * drawn
    return {**first, "params": jax.tree.unflatten(tree, leaves)}


def cast(tree, dtype: str):
    """Floating-point leaves in another precision."""
    to = lambda x: jnp.asarray(x, dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x
    return jax.tree.map(to, tree)


def alone(encoder: nn.Module, spec: Spec, variables) -> Encode:
    """Reads a network by itself; a wider one if the encoder is not fixed to the first."""

    @functools.partial(jax.jit, static_argnums=2)
    def run(variables, params, spec):
        vectors = networks.ravel(params, spec)[None]
        return encoder.apply(variables, vectors, encoder.view(spec))[0]

    def encode(params, other):
        if encoder.fixed and other != spec:
            raise ValueError("the encoder is fixed to one architecture")
        return run(variables, params, other)

    return encode


def together(encoder: nn.Module, members: Members, variables, which: str) -> Encode:
    """Reads one network of a mixed batch, the others in it staying as they are."""
    run = _runner(encoder)

    def encode(params, spec):
        vectors, view = mixed(encoder, {**members, which: (spec, params)})
        return run(variables, vectors, view)[list(members).index(which)]

    return encode


@functools.lru_cache(maxsize=1)
def _runner(encoder):
    return jax.jit(encoder.apply)


def mixed(encoder: nn.Module, members: Members):
    """Vectors [batch, entry] of networks of several architectures, and their views stacked.

    Raises:
        ValueError: the encoder cannot read one of them, or no mixed batch.
    """
    if not hasattr(type(encoder), "stack"):
        raise ValueError(f"{type(encoder).__name__} has no `stack`: it reads no mixed batches")
    vectors = [np.asarray(networks.ravel(params, spec)) for spec, params in members.values()]
    views = [encoder.view(spec) for spec, _ in members.values()]
    return padding.vectors(vectors), encoder.stack(views)


def audit_encoder(
    encoder: nn.Module, network: str, seed: int, samples: int
) -> dict[str, list[Audit]]:
    """Audits an encoder on one of `ROWS`; by dtype, one for each network of a mixed batch.

    Raises:
        ValueError: the encoder cannot read it.
    """
    key = jax.random.key(seed)
    specs = MIXED if network == "mixed" else (NETWORKS[network],)
    members = {str(i): (s, draw(s, jax.random.fold_in(key, i))) for i, s in enumerate(specs)}
    if network == "mixed":
        vectors, view = mixed(encoder, members)
    else:
        vectors, view = networks.ravel(members["0"][1], specs[0])[None], encoder.view(specs[0])
    variables = variables_of(encoder, vectors, view, jax.random.fold_in(key, 100))
    found = {}
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            known = cast(variables, dtype)
            batch = {name: (s, cast(p, dtype)) for name, (s, p) in members.items()}
            found[dtype] = []
            for name, (spec, params) in batch.items():
                if network == "mixed":
                    encode = together(encoder, batch, known, name)
                else:
                    encode = alone(encoder, spec, known)
                draws = jax.random.fold_in(key, 101 + int(name))
                one = testing.audit(encode, spec, params, draws, samples=samples)
                found[dtype].append(one)
    return found


def worst(audits: Iterable[Audit]) -> dict[str, dict]:
    """For each symmetry the row of the worst verdict, and among these of the largest change."""
    bad = lambda row: (audit.VERDICTS.index(row.verdict), row.change or 0.0)
    audits = list(audits)
    rows: Callable[[str], Finding] = lambda s: max((a[s] for a in audits), key=bad)
    return {s: dataclasses.asdict(rows(s)) for s in audit.SYMMETRIES}


def encoder_audits(name: str, chosen: Iterable[str], seed: int, samples: int) -> dict:
    """Audits an encoder on several of `ROWS` and prints every table.

    Returns:
        "metrics": network -> dtype -> symmetry -> the fields of a row, and under "refused"
        network -> why the encoder cannot read it.
    """
    encoder, figures, refused = build(name), {}, {}
    for network in chosen:
        begin = time.monotonic()
        try:
            found = audit_encoder(encoder, network, seed, samples)
        except ValueError as error:
            refused[network] = " ".join(str(error).split())
            print(f"\n{name} cannot read {network}: {refused[network]}", flush=True)
            continue
        for tables in found.values():
            for i, one in enumerate(tables):
                which = f", network {i + 1} of {len(tables)}" if len(tables) > 1 else ""
                print(f"\n{name} on {network}{which}: {one}", flush=True)
        print(f"({time.monotonic() - begin:.0f} seconds)", flush=True)
        figures[network] = {dtype: worst(tables) for dtype, tables in found.items()}
    return {"metrics": figures, "refused": refused}


def summary(runs: list[dict]) -> None:
    """Prints a row for each encoder, as in the README."""
    from rich.console import Console
    from rich.table import Table

    table = Table("encoder", *audit.SYMMETRIES, show_lines=True)
    for run in runs:
        table.add_row(run["row"], *(records.audit_cell(run, s) for s in audit.SYMMETRIES))
    Console(width=150).print(table)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m experiments.audits", description=__doc__, formatter_class=shape
    )
    parser.add_argument("--encoders", default="", help="comma-separated; all if not given")
    parser.add_argument("--networks", default="", help="likewise")
    parser.add_argument("--samples", type=int, default=3, help="of each symmetry")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--results", type=pathlib.Path, help="where records go, if not the usual")
    options = cli.prepare(parser.parse_args(arguments))
    names = cli.select(options.encoders, VARIANTS, VARIANTS)
    chosen = cli.select(options.networks, ROWS, ROWS)
    usual = set(chosen) == set(ROWS) and options.samples == 3
    runs = []
    for name in names:
        begin = time.monotonic()
        found = encoder_audits(name, chosen, options.seed, options.samples)
        runs.append(
            records.append(
                {
                    "experiment": "audits",
                    "row": name,
                    "preset": "laptop" if usual else "laptop-custom",
                    "seed": options.seed,
                    **found,
                    "parameters": 0,
                    "seconds": round(time.monotonic() - begin, 1),
                    "steps": 0,
                    "config": {
                        "encoder": VARIANTS[name][0],
                        "encoder_settings": VARIANTS[name][1],
                        "networks": chosen,
                        "samples": options.samples,
                        "noise": NOISE,
                    },
                }
            )
        )
    summary(runs)


if __name__ == "__main__":
    main()
