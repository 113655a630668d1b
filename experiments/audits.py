"""Audits of the symmetries of every encoder, untrained, in float32 and float64.

    python -m experiments.audits                       all encoders; half an hour on 2 CPU cores
    python -m experiments.audits --encoders gmn,grit --networks mlp_relu,mixed

`wsjax.testing.audit` for all of `wsjax.encoders.ENCODERS` at their default settings, and for
ScaleGMN with the messages back that were published, on

    mlp_sine    two inputs, 12-12 sines of omega 30, one output; weights as SIREN's authors draw
                them, biases as PyTorch does
    mlp_tanh, mlp_relu   the same of tanh and ReLU; weights and biases normal, by fan-in
    cnn_relu, cnn_tanh   two convolutions of 3 x 3, the mean over positions, one dense layer
    mixed       a ReLU and a tanh network of other widths and depths in one batch, both audited

Variables are the initial ones plus noise, so that no initial zero hides a defect; variables and
networks are the same numbers in both precisions.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import cli, records, tables
from wsjax import architectures, networks, testing
from wsjax.encoders import ENCODERS
from wsjax.networks import Params, Spec
from wsjax.symmetries import audit
from wsjax.symmetries.audit import Audit, Encode, Finding
from wsjax.views import padding
from wsjax.zoos import fitting

DTYPES = ("float32", "float64")
NOISE = 0.1  # standard deviation, added to every variable
VARIANTS = {  # name -> encoder and its settings
    **{name: (name, {}) for name in ENCODERS},
    "scalegmn_as_published": ("scalegmn", {"backward": "as_published"}),  # a known defect
}
NETWORKS = {
    "mlp_sine": architectures.mlp([2, 12, 12, 1], "sin", 30.0),
    "mlp_tanh": architectures.mlp([2, 12, 12, 1], "tanh"),
    "mlp_relu": architectures.mlp([2, 12, 12, 1], "relu"),
    "cnn_relu": architectures.cnn([1, 6, 8], [3], activation="relu"),
    "cnn_tanh": architectures.cnn([1, 6, 8], [3], activation="tanh"),
}
MIXED = (
    architectures.mlp([2, 10, 14, 1], "relu"),
    architectures.mlp([2, 13, 7, 9, 1], "tanh"),
)
AUDITED = (*NETWORKS, "mixed")

Members = Mapping[str, tuple[Spec, Params]]


def draw(spec: Spec, key: jax.Array) -> Params:
    """A network at initialisation; sines by Sitzmann et al. (2020), section 3.2."""
    if spec.layers[0].activation == "sin":
        return fitting.initial(spec, key, "siren")
    return testing.draw(key, spec)


def build(name: str) -> nn.Module:
    """The encoder of a name in `VARIANTS`."""
    encoder, settings = VARIANTS[name]
    return ENCODERS[encoder](**settings)


def cast(tree, dtype: str):
    """Floating-point leaves in another precision."""
    to = lambda x: jnp.asarray(x, dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x
    return jax.tree.map(to, tree)


def together(encoder: nn.Module, members: Members, variables, which: str) -> Encode:
    """Encodes one network of a mixed batch; the others of it are unchanged."""
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
        ValueError: the encoder does not support one of them, or mixed batches.
    """
    view = encoder.stack([encoder.view(spec) for spec, _ in members.values()])
    vectors = [np.asarray(networks.ravel(params, spec)) for spec, params in members.values()]
    return padding.vectors(vectors), view


def audit_encoder(
    encoder: nn.Module, network: str, seed: int, samples: int
) -> dict[str, list[Audit]]:
    """Audits an encoder on one of `AUDITED`; by dtype, one for each network of a mixed batch.

    Raises:
        ValueError: the encoder does not support it.
    """
    key = jax.random.key(seed)
    specs = MIXED if network == "mixed" else (NETWORKS[network],)
    members = {str(i): (s, draw(s, jax.random.fold_in(key, i))) for i, s in enumerate(specs)}
    if network == "mixed":
        vectors, view = mixed(encoder, members)
    else:
        vectors, view = networks.ravel(members["0"][1], specs[0])[None], encoder.view(specs[0])
    variables = testing.noisy_variables(encoder, vectors, view, jax.random.fold_in(key, 100), NOISE)
    audits = {}
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            in_dtype = cast(variables, dtype)
            batch = {name: (s, cast(p, dtype)) for name, (s, p) in members.items()}
            audits[dtype] = []
            for name, (spec, params) in batch.items():
                if network == "mixed":
                    encode = together(encoder, batch, in_dtype, name)
                else:
                    encode = encoder.bind(in_dtype)
                samples_key = jax.random.fold_in(key, 101 + int(name))
                one = testing.audit(encode, params, spec, samples_key, samples=samples)
                audits[dtype].append(one)
    return audits


def worst(audits: Iterable[Audit]) -> dict[str, dict]:
    """The finding of each symmetry with the worst verdict; of equals, with the largest change."""
    bad = lambda f: (audit.VERDICTS.index(f.verdict), f.change or 0.0)
    audits = list(audits)
    finding: Callable[[str], Finding] = lambda s: max((a[s] for a in audits), key=bad)
    return {s: dataclasses.asdict(finding(s)) for s in audit.SYMMETRIES}


def encoder_audits(name: str, chosen: Iterable[str], seed: int, samples: int) -> dict:
    """Audits an encoder on several of `AUDITED` and prints every table.

    Returns:
        "metrics": network -> dtype -> symmetry -> the fields of a `Finding`, and under "refused"
        network -> why the encoder does not support it.
    """
    encoder, figures, unsupported = build(name), {}, {}
    for network in chosen:
        begin = time.monotonic()
        try:
            audits = audit_encoder(encoder, network, seed, samples)
        except ValueError as error:
            unsupported[network] = " ".join(str(error).split())
            print(f"\n{name} does not support {network}: {unsupported[network]}", flush=True)
            continue
        for of_dtype in audits.values():
            for i, one in enumerate(of_dtype):
                which = f", network {i + 1} of {len(of_dtype)}" if len(of_dtype) > 1 else ""
                print(f"\n{name} on {network}{which}: {one}", flush=True)
        print(f"({time.monotonic() - begin:.0f} seconds)", flush=True)
        figures[network] = {dtype: worst(of_dtype) for dtype, of_dtype in audits.items()}
    return {"metrics": figures, "refused": unsupported}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("audits", __doc__))
    parser.add_argument("--encoders", default="", help="comma-separated; all if not given")
    parser.add_argument("--networks", default="", help="likewise")
    parser.add_argument("--samples", type=cli.positive, default=3, help="of each symmetry")
    parser.add_argument("--seed", type=int, default=0)
    options = cli.prepare(parser.parse_args(arguments))
    names = cli.select(options.encoders, VARIANTS, VARIANTS)
    chosen = cli.select(options.networks, AUDITED, AUDITED)
    usual = set(chosen) == set(AUDITED) and options.samples == 3
    for name in names:
        begin, (encoder, settings) = time.monotonic(), VARIANTS[name]
        record = encoder_audits(name, chosen, options.seed, options.samples)
        record |= {"experiment": "audits", "row": name, "seed": options.seed}
        record |= {"preset": "laptop" if usual else "laptop-custom", "parameters": 0, "steps": 0}
        record["seconds"] = round(time.monotonic() - begin, 1)
        record["config"] = {"encoder": encoder, "encoder_settings": settings, "networks": chosen}
        record["config"] |= {"samples": options.samples, "noise": NOISE}
        records.append(record, options.results)
    print(tables.audits(options.results))


if __name__ == "__main__":
    cli.run(main)
