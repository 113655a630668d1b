"""`fit` trains a task on a zoo, with checkpoints that `exports.restore` reads.

trained = fit(zoo, "accuracy", SNE(chunk=8), folder="runs/first")
trained.predict(params), trained.encode(params)

trained --describe--> JSON, beside the parameters --rebuild--> trained
"""

import contextlib
import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks, encoders, networks, training
from wsjax.encoders import Encoder
from wsjax.encoders.base import expect_encoder
from wsjax.tasks.base import Part, Result, Step, Task, Trained, views
from wsjax.tasks.classification import Classification
from wsjax.tasks.contrastive import Contrastive
from wsjax.tasks.editing import Editing
from wsjax.tasks.reconstruction import Reconstruction
from wsjax.tasks.regression import Regression
from wsjax.tasks.scaling import InputScale
from wsjax.training import checkpoints
from wsjax.zoos import Zoo, split

KINDS: dict[str, type[Task]] = {
    task.kind: task for task in (Regression, Classification, Editing, Contrastive, Reconstruction)
}
OURS = "wsjax"  # the key of a checkpoint's config that `restore` reads


def fit(
    zoo: Zoo,
    task: Task[Result] | str,
    encoder: Encoder,
    *,
    head: Sequence[int] = (512, 512),
    settings: training.Settings | None = None,
    folder: str | pathlib.Path | None = None,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Result:
    """Trains an encoder with a head on a zoo's "train" split, selected on "validation".

    Continues from the folder's newest checkpoint if there is one.

    Args:
        zoo: networks of one architecture, or of several that the encoder supports in one
            batch. Without any splits, `default_splits` makes them.
        task: what is learned; a string is the label of a `Regression`.
        encoder: any, one of your own included.
        head: widths of the head's hidden layers.
        settings: of training; `default_settings` if None.
        folder: of checkpoints and metrics; a temporary one, removed afterwards, if None.
        config: JSON that every checkpoint keeps, beside what `restore` needs.
        progress: show it on standard output.

    Returns:
        The task's `Trained`, with the variables of the best validation measure.

    Raises:
        ValueError: a split or label is missing, a split is empty, labels are not finite (the
            label and its networks are named), the encoder does not support the architectures or
            the task, or as `training.fit`.
        TypeError: the zoo, the task or the settings are of another class.
        FloatingPointError, Interrupted, LockedError, SaveError: as `training.fit`.
    """
    task = cast(Task[Result], Regression(task) if isinstance(task, str) else task)
    checks.expect("zoo", zoo, Zoo)
    checks.expect("task", task, Task)
    if settings is not None:
        checks.expect("settings", settings, training.Settings)
    checks.expect("config", config or {}, Mapping)
    head = _widths(head)
    expect_encoder(encoder)
    if OURS in (config := dict(config or {})):
        raise ValueError(f"expected a config without the key {OURS!r}, which is reserved")
    name, encoder_settings = encoders.describe(encoder)
    encoder = encoders.build(name, encoder_settings)  # as `restore` will; lists become tuples
    zoo = zoo if zoo.splits else default_splits(zoo)
    _expect_data(zoo, task.needs)
    train, validation = (
        Part(zoo.select(zoo.members(k)), zoo.members(k)) for k in ("train", "validation")
    )
    if settings is None:
        settings = default_settings(len(train.networks))
        if progress and settings.batch < training.Settings.batch:
            print(f"batch {settings.batch}: there are no more training networks", flush=True)
    task.check(zoo, settings)
    if folder:
        checkpoints.Checkpoints(folder, {}).close()  # in use, read-only: before any work
    scale = InputScale.fit(train.networks)
    module = task.module(encoder, head)
    maps = views(module.encoder, zoo.specs)
    constants = task.constants(train.networks)
    select, highest = task.selection
    data = {
        "vectors": scale.apply_zoo(train.networks, maps.width),
        "which": train.networks.which.astype(np.int32),
        **task.targets(train, constants),
    }
    statistics = module.encoder.calibrate(data["vectors"], maps.view, scale.scales)
    statistics = {"encoder": statistics} if statistics else {}

    def initial(key):
        view, _ = maps.of(jnp.asarray(data["which"][:1]))
        return module.init(key, jnp.asarray(data["vectors"][:1]), view)["params"]

    def loss(params, key, batch):
        def apply(vectors, which, drops):
            view, _ = maps.of(which)
            variables = _bind(params, statistics)
            return module.apply(variables, vectors, view, True, rngs={"dropout": drops})

        return task.loss(Step(apply, maps, scale), batch, key)

    def trained(params) -> Any:
        variables = _bind(params, statistics)
        return task.trained(task, module, variables, scale, zoo.specs, constants, config, head)

    def evaluate(params):
        return task.evaluate(trained(params), train, validation)

    with contextlib.ExitStack() as stack:
        folder = folder or stack.enter_context(tempfile.TemporaryDirectory())
        result = training.fit(
            *(initial, loss, data, evaluate, settings, folder),
            {**config, OURS: describe(trained({}))},
            select=select,
            highest=highest,
            progress=progress,
        )
        config = json.loads(json.dumps({**config, "training": dataclasses.asdict(settings)}))
        best: Any = dataclasses.replace(trained(result.variables_best), result=result)
        best = task.finish(best, train)
        task.keep(best, pathlib.Path(folder))
        return best


def describe(trained: Trained) -> dict[str, Any]:
    """All of a trained module but its parameters, as JSON; `rebuild` undoes it.

    Raises:
        ValueError: the encoder's class is not at the top level of a module, or a setting is no
            JSON.
    """
    name, settings = encoders.describe(trained.module.encoder)
    statistics = trained.variables.get("statistics", {})
    return {
        "task": {"kind": trained.task.kind, **trained.task.to_json()},
        "encoder": {"name": name, "settings": settings},
        "head": list(trained.head),
        "scales": trained.scale.to_json(),
        "specs": [networks.to_json(spec) for spec in trained.specs],
        "constants": dict(trained.constants),
        "statistics": jax.tree.map(lambda x: np.asarray(x).tolist(), statistics),
    }


def rebuild(
    described: Mapping[str, Any],
    config: Mapping[str, Any],
    folder: pathlib.Path,
    load: Callable[[Any], Any],
    kind: type[Task[Result]] | None = None,
) -> Result:
    """The `Trained` of what `describe` gave.

    Args:
        described: see `describe`.
        config: of the result.
        folder: where it is stored, for errors and `Task.reopen`.
        load: the parameters, of the tree of shapes and dtypes that is expected.
        kind: the task that it must be of.

    Raises:
        ValueError: it is of another task, or its encoder cannot be imported; or as `load`.
    """
    name = described["task"]["kind"]
    kinds = KINDS if kind is None else {kind.kind: kind}
    if name not in kinds:
        expected = f"the task {kind.kind}" if kind else f"a task of {sorted(KINDS)}, or its class"
        raise ValueError(f"expected a run of {expected} in {folder}, got a run of {name}")
    try:
        task = kinds[name].from_json({k: x for k, x in described["task"].items() if k != "kind"})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the task {name} of the run in {folder} has other settings than {kinds[name]}: {error}"
        ) from error
    encoder = encoders.build(described["encoder"]["name"], described["encoder"]["settings"])
    head = tuple(described["head"])
    module = task.module(encoder, head)
    specs = tuple(map(networks.from_json, described["specs"]))
    view = module.encoder.view(specs[0])
    abstract = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, specs[0].count)), view)["params"]
    )
    statistics = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32),
        described["statistics"],
        is_leaf=lambda x: isinstance(x, list),
    )
    variables = _bind(load(abstract), statistics)
    scale = InputScale.from_json(described["scales"])
    constants = {name: float(x) for name, x in described["constants"].items()}
    trained = task.trained(task, module, variables, scale, specs, constants, config, head)
    return task.reopen(trained, folder)


def default_splits(zoo: Zoo) -> Zoo:
    """The zoo with "train", "validation" and "test": 80, 10 and 10 % of its runs, shuffled.

    Raises:
        ValueError: there are fewer than three runs.
    """
    count = len(np.unique(zoo.runs))
    if count < 3:
        raise ValueError(f"expected at least 3 runs to make three splits, got {count}")
    tenth = max(1, round(count / 10))
    return split(zoo, {"train": count - 2 * tenth, "validation": tenth, "test": tenth}, seed=0)


def default_settings(count: int) -> training.Settings:
    """1,000 steps with 12 evaluations; the batch is at most the number of training networks."""
    usual = training.Settings()
    often = -(-usual.steps // 12)
    return dataclasses.replace(
        usual, batch=min(usual.batch, count), evaluate_every=often, checkpoint_every=often
    )


def _widths(head: Sequence[int]) -> tuple[int, ...]:
    """The widths of a head's layers, checked."""
    whole = lambda x: isinstance(x, int | np.integer) and not isinstance(x, bool)
    if not isinstance(head, list | tuple) or not all(whole(n) and n >= 1 for n in head):
        raise ValueError(f"head: expected widths of layers, such as (512, 512), got {head!r}")
    return tuple(map(int, head))


def _expect_data(zoo, labels):
    if missing := sorted({"train", "validation"} - set(zoo.splits)):
        raise ValueError(f"expected the splits {missing}, got {sorted(zoo.splits)}")
    for name in ("train", "validation"):
        zoo.members(name)
        for label in labels:
            zoo.label(name, label)


def _bind(params, statistics):
    """The variables of a module: its params, and its encoder's constants if it has any."""
    return {"params": params, **({"statistics": statistics} if statistics else {})}
