"""Other people's models as networks: Specs found by tracing, and encoders and matching on them.

    python -m experiments.tracing                              all parts, some 15 minutes of a core
    python -m experiments.tracing --parts models --only lstm,torch_vit
    python -m experiments.tracing --parts matching --data mnist --files FOLDER

`wsjax.trace` sees a function and shapes, and no Spec. The parts:

    large      models of 1e8 parameters and more: seconds and memory
    models     the catalogue of `experiments.foreign_models`: hidden axes, the group, the largest
               change of outputs under the group, and beside it that of a misaligned permutation
    families   our own architectures, traced: the group and the parameter graph beside those of
               the handwritten Specs
    encoders   encoders, untrained, on traced models: `wsjax.testing.audit` with the models' own
               functions
    matching   two Flax CNNs of two seeds: the loss on the line between them, before and after
               their neurons are matched on the traced Spec

A model that cannot be traced is a record as well, with the reason.
"""

import dataclasses
import functools
import importlib.util
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.foreign_models.catalogue import LARGE, MODELS, Model
from experiments.lib import cli, memory, records, tracing_tables
from wsjax import architectures, networks, testing
from wsjax.datasets import images
from wsjax.datasets.images import Images, Preparation
from wsjax.encoders import GMN, SNE, Encoder, ScaleGMN
from wsjax.networks import Spec
from wsjax.symmetries import matching, permutations
from wsjax.tracing import Traced, trace
from wsjax.views import graphs

PARTS = ("large", "models", "families", "encoders", "matching")
POINTS, MEASURED = 25, 2000  # on the line; images of each part, the first
SETS = ("digits", "mnist", "fashion_mnist")
FAMILIES = {  # name -> Spec, shape of its inputs
    "mlp": (architectures.mlp([2, 12, 10, 1], "relu"), (3, 2)),
    "mlp_sine": (architectures.mlp([2, 12, 10, 1], "sin", 30.0), (3, 2)),
    "cnn": (architectures.cnn([2, 6, 8], [5, 3], activation="tanh"), (2, 7, 6, 2)),
    "cnn_batch_norm": (architectures.cnn([2, 6, 8], [3], norm="batch"), (2, 7, 6, 2)),
    "cnn_group_norm": (architectures.cnn([2, 6, 4], [3], norm="group", groups=2), (2, 7, 6, 2)),
    "resnet": (architectures.resnet(2, [4, 6], 3, blocks=(2, 1)), (2, 7, 6, 2)),
    "vit": (
        architectures.vit(2, 6, 3, size=(6, 4), patch=(3, 2), blocks=2, heads=2, mlp_width=5),
        (2, 6, 4, 2),
    ),
    "deepsets": (architectures.deepsets([3, 7, 4], [6, 2]), (2, 5, 3)),
    "grid": (architectures.grid([4, 3], 5, [6, 4, 2]), (3, 2)),
    "triplane": (architectures.triplane(4, 5, [6, 2]), (3, 3)),
}
ENCODERS: dict[str, Encoder] = {"sne": SNE(), "gmn": GMN(), "scalegmn": ScaleGMN()}
ENCODED = ("mlp", "siren", "cnn_batchnorm_flatten", "vit_fused_qkv", "lstm")


def traced_model(model: Model) -> dict:
    """Traces a model: the figures of its record, or why it cannot be traced."""
    apply, params, inputs = model.build()
    count = sum(x.size for x in jax.tree.leaves(params))
    about = {"parameters": count, "config": {"framework": model.framework}}
    memory.peak(reset=True)
    begin = time.monotonic()
    try:
        traced = trace(apply, params, *inputs)
    except ValueError as error:  # as `trace` raises; anything else is a fault of ours
        return {"metrics": {}, "refused": " ".join(str(error).split()), **about}
    about["seconds"] = round(time.monotonic() - begin, 2)
    figures = {
        "hidden_axes": len(traced.spec.hidden),
        "nested_axes": len(traced.spec.nested),
        "log10_group": round(traced.group, 2),
        "error": traced.error,
        "misaligned": traced.misaligned,
        "notes": len(traced.notes),
        "megabytes": round(memory.peak()),
    }
    return {"metrics": figures, "notes": list(traced.notes), **about}


def models(catalogue: dict[str, Model]) -> Iterator[dict]:
    """A record for each model whose framework is installed."""
    for name, model in catalogue.items():
        if importlib.util.find_spec(model.needs) is None:
            print(f"{name}: left out, {model.needs} is not installed", flush=True)
            continue
        yield {"row": name, **traced_model(model)}


def order(spec: Spec) -> dict[str, float | int]:
    """Nodes and edges of a parameter graph, and log10 of the permutations of its neurons."""
    counts = graphs.summary(spec)
    return {
        "nodes": sum(counts.nodes.values()),
        "edges": sum(counts.edges.values()),
        "log10_group": round(sum(counts.permutations.values()), 2),
    }


def families() -> Iterator[dict]:
    """A record for each of our own architectures, its Spec as written and as traced."""
    for name, (spec, shape) in FAMILIES.items():
        params = testing.draw(jax.random.key(0), spec)
        x = jax.random.normal(jax.random.key(1), shape)
        begin = time.monotonic()
        traced = trace(lambda p, x, spec=spec: architectures.forward(p, x, spec), params, x)
        yield {
            "row": f"family_{name}",
            "metrics": {"written": order(spec), "traced": order(traced.spec)}
            | {"error": traced.error},
            "parameters": spec.count,
            "seconds": round(time.monotonic() - begin, 2),
            "config": {"framework": "wsjax"},
        }


def encoded(name: str, encoder: Encoder, chosen: Sequence[str], seed: int) -> dict:
    """The audits of an untrained encoder on traced models, with their own functions."""
    figures, unsupported, begin = {}, {}, time.monotonic()
    for number, which in enumerate(chosen):
        model = MODELS[which]
        if importlib.util.find_spec(model.needs) is None:
            continue
        apply, tree, inputs = model.build()
        traced = trace(apply, tree, *inputs)
        key = jax.random.fold_in(jax.random.key(seed), number)
        try:
            figures[which] = audit(encoder, traced, traced.pack(tree), inputs, key)
        except ValueError as error:
            unsupported[which] = " ".join(str(error).split())
    return {
        "row": f"encoder_{name}",
        "metrics": figures,
        "refused": unsupported,
        "parameters": 0,
        "seconds": round(time.monotonic() - begin, 1),
        "config": {"encoder": type(encoder).__name__, "networks": list(chosen)},
    }


def audit(encoder: Encoder, traced: Traced, params, inputs, key: jax.Array) -> dict:
    """Symmetry -> the fields of a `Finding`, for those that a traced network has."""
    spec = traced.spec
    params = {name: jnp.asarray(x) for name, x in params.items()}
    vectors, view = networks.ravel(params, spec)[None], encoder.view(spec)
    variables = testing.noisy_variables(encoder, vectors, view, jax.random.fold_in(key, 0))
    run = jax.jit(lambda p: jnp.concatenate([y.ravel() for y in jax.tree.leaves(
        traced.forward(p, *inputs)
    )]))  # fmt: skip
    findings = testing.audit(
        encoder.bind(variables), params, spec, jax.random.fold_in(key, 1),
        forward=lambda p, _, __: run(p), inputs=jnp.zeros(1),
    )  # fmt: skip
    return {f.symmetry: dataclasses.asdict(f) for f in findings.findings if f.change is not None}


class Classifier(nn.Module):
    """A user's CNN: two convolutions, pooling, a hidden dense layer."""

    classes: int
    width: int = 32

    @nn.compact
    def __call__(self, x):
        """Images [n, row, col, channel] -> logits [n, class]."""
        for width in (self.width, 2 * self.width):
            x = nn.max_pool(nn.relu(nn.Conv(width, (3, 3))(x)), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(4 * self.width)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.classes)(x)


def train(model: nn.Module, x, y, seed: int, steps: int, batch: int = 100):
    """Trains on images [n, row, col, channel] and classes [n]: its variables."""
    adam, rng = optax.adam(1e-3), np.random.default_rng(seed)
    variables = model.init(jax.random.key(seed), x[:1])

    @jax.jit
    def step(variables, moments, x, y):
        loss = lambda v: mean_loss(model.apply(v, x), y)
        change, moments = adam.update(jax.grad(loss)(variables), moments)
        return optax.apply_updates(variables, change), moments

    moments = adam.init(variables)
    for _ in range(steps):
        rows = rng.choice(len(x), batch, replace=False)
        variables, moments = step(variables, moments, x[rows], y[rows])
    return variables


def mean_loss(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Mean cross-entropy of logits [n, class] and classes [n]."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def matched(data: Images, steps: int, width: int) -> dict:
    """Trains two CNNs, traces one, matches the other to it: barriers before and after."""
    prepared = lambda x: images.prepare(x, Preparation(gray=True))
    x, y = prepared(data.train), data.train_labels
    model = Classifier(len(data.classes), width)
    begin = time.monotonic()
    one, other = (train(model, x, y, seed, steps) for seed in (0, 1))
    trained = time.monotonic()
    traced = trace(model.apply, one, x[:2])
    ends = [traced.pack(jax.tree.map(np.asarray, v)) for v in (one, other)]
    seen = time.monotonic()
    element = matching.match(ends[1], ends[0], traced.spec)
    done = time.monotonic()
    nearer = permutations.act(element, ends[1], traced.spec)
    figures = {
        "training_seconds": round(trained - begin, 1),
        "tracing_seconds": round(seen - trained, 2),
        "matching_seconds": round(done - seen, 2),
        "log10_group": round(traced.group, 2),
        "error": traced.error,
    }
    run = jax.jit(lambda params, inputs: traced.forward(params, inputs))
    parts = {"train": (x, y), "test": (prepared(data.test), data.test_labels)}
    for part, (inputs, classes) in parts.items():
        first = slice(0, MEASURED)
        logits = functools.partial(run, inputs=inputs[first])
        loss = lambda p, y=classes[first], f=logits: float(mean_loss(f(p), y))
        for i, end in enumerate(ends):
            hits = logits(end).argmax(-1) == classes[first]
            figures[f"{part}_accuracy_{i + 1}"] = float(hits.mean())
        figures[f"{part}_loss"] = loss(ends[0])
        figures[f"{part}_barrier_as_trained"] = matching.barrier(loss, *ends, POINTS)
        figures[f"{part}_barrier_matched"] = matching.barrier(loss, ends[0], nearer, POINTS)
    return {
        "row": f"matching_{data.name}",
        "metrics": figures,
        "parameters": traced.spec.count,
        "steps": steps,
        "seconds": round(time.monotonic() - begin, 1),
        "config": {"data": data.name, "width": width, "images": len(x), "framework": "Flax Linen"},
    }


def only(options, names: Iterable[str]) -> list[str]:
    """Those of the names that `--only` has, or all."""
    return [n for n in names if not options.only or n in options.only.split(",")]


def part_records(part: str, options) -> Iterator[dict]:
    """The records of a part, as they are done."""
    if part in ("large", "models"):
        catalogue = {"large": LARGE, "models": MODELS}[part]
        yield from models({n: catalogue[n] for n in only(options, catalogue)})
    elif part == "families":
        yield from families()
    elif part == "encoders":
        for name, encoder in ENCODERS.items():
            yield encoded(name, encoder, only(options, ENCODED), options.seed)
    else:
        with cli.reading(f"--data {options.data}"):
            data = images.load(options.data, options.files, options.folder / "cache" / "images")
        data = images.subset(data, 0, min(options.images, len(data.train)))
        yield matched(data, options.steps, options.width)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("tracing", __doc__))
    parser.add_argument("--parts", default="", help="comma-separated; all if not given")
    parser.add_argument("--only", default="", help="names of models, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", choices=SETS, default="digits")
    parser.add_argument("--files", type=pathlib.Path, help="folder of a data set's original files")
    parser.add_argument("--images", type=cli.positive, default=6000, help="of training, at most")
    parser.add_argument("--steps", type=cli.positive, default=400, help="of training each CNN")
    parser.add_argument("--width", type=cli.positive, default=32, help="of the CNNs")
    options = cli.prepare(parser.parse_args(arguments))
    if options.only:
        cli.select(options.only, (), {**LARGE, **MODELS})
    for part in cli.select(options.parts, PARTS, PARTS):
        for record in part_records(part, options):
            begin = {"experiment": "tracing", "preset": "laptop", "seed": options.seed}
            record = {**begin, "part": part, "steps": 0, "seconds": 0.0, **record}
            records.append(record, options.results)
            print(tracing_tables.line(record), flush=True)


if __name__ == "__main__":
    cli.run(main)
