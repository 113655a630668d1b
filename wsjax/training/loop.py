"""Training: a jitted step, and a loop that can be killed at any moment.

    loss(variables, key, batch) -> mean over the batch, {name: scalar}
    make_step(loss, settings, mesh): (state, batch) -> (state, metrics)
    fit(init, loss, data, evaluate, settings, folder, config) -> FitResult

The loop is independent of models and objectives: a batch is a dict of arrays [example, ...],
which the loss interprets. Everything that a step depends on is in the `State` or follows from
the step's number (its key, its examples), so that a resumed run equals the run that was not
stopped, bit for bit on one kind of device.

    run/metrics.jsonl     a line at each evaluation: step, loss, val_mse, seconds, ...
    run/500/              checkpoints, see `wsjax.training.checkpoints`
"""

import contextlib
import dataclasses
import functools
import json
import logging
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wsjax import checks
from wsjax.summaries import summary
from wsjax.training.checkpoints import Checkpoints, abstract_like, read_config
from wsjax.training.log import JsonLines
from wsjax.training.optimizer import Settings, make_optimizer, make_schedule
from wsjax.training.progress import (
    Interrupted,
    Recent,
    board,
    expect_finite,
    interruptible,
    report,
)

_LOG = logging.getLogger(__name__)

Tree = Any
Loss = Callable[[Tree, jax.Array, Tree], tuple[jax.Array, dict[str, jax.Array]]]


@flax.struct.dataclass
class State:
    """The variables of a run and the state of its optimiser.

    Attributes:
        step: updates done, int32.
        variables: the loss is differentiated by them.
        opt_state: of the optimiser.
        average: moving average of `variables`; `None` when `Settings.ema` is 0.
        best: the evaluated variables of the best validation value so far.
        best_value: that value, float32, negated where the highest is best; infinite before the
            first evaluation.
        key: constant; the key of a step is this one folded with the step's number.
    """

    step: jax.Array
    variables: Tree
    opt_state: Tree
    average: Tree | None
    best: Tree
    best_value: jax.Array
    key: jax.Array

    __repr__ = summary

    @property
    def evaluated(self) -> Tree:
        """The variables to evaluate: their average if there is one."""
        return self.variables if self.average is None else self.average


@dataclasses.dataclass(frozen=True)
class FitResult:
    """The variables that `fit` arrived at, and their cost.

    Attributes:
        variables_best: of the best validation value.
        best_value: that value.
        variables: after the last step (their average, if one is kept).
        history: the file of JSON lines, see `wsjax.training.log.JsonLines`.
        seconds: of training, evaluations and compilation, over all resumed parts.
        steps: updates done.
        resumed: the step this call started from; 0 for a fresh run.
    """

    variables_best: Tree
    best_value: float
    variables: Tree
    history: pathlib.Path
    seconds: float
    steps: int
    resumed: int

    __repr__ = summary


def init_state(variables: Tree, settings: Settings) -> State:
    """The state before the first step."""
    return State(
        step=jnp.zeros((), jnp.int32),
        variables=variables,
        opt_state=make_optimizer(settings).init(variables),
        # copies: the step donates its state, and no buffer can be given away twice
        average=jax.tree.map(jnp.copy, variables) if settings.ema else None,
        best=jax.tree.map(jnp.copy, variables),
        best_value=jnp.full((), jnp.inf, jnp.float32),
        key=_keys(settings)[1],
    )


def data_mesh(settings: Settings | None = None) -> Mesh:
    """The devices of this process along one axis, "data".

    All of them; or, with settings, as many as the pieces of a batch can be shared out to.
    """
    devices = jax.local_devices()
    if settings:
        piece, count = settings.microbatch or settings.batch, len(devices)
        devices = devices[: max(n for n in range(1, count + 1) if piece % n == 0)]
        if len(devices) < count:
            _LOG.warning("%d of %d devices share a piece of %d", len(devices), count, piece)
    return jax.make_mesh((len(devices),), ("data",), (AxisType.Auto,), devices=devices)


def make_step(loss: Loss, settings: Settings, mesh: Mesh) -> Callable:
    """Compiles one update, with the batch spread over the devices.

    The numbers equal those of one device, up to the order of sums: the program is written for
    one, and XLA adds the gradients across devices.

    Args:
        loss: `(variables, key, batch)` -> the mean over the batch's examples, and a dict of
            scalars that are means too. It must treat examples alike, one by one: it is called
            on pieces of `settings.microbatch`, each with a key of its own.
        settings: of the optimiser and the sizes.
        mesh: one axis, "data".

    Returns:
        `step(state, batch) -> (state, metrics)`, the state donated, the batch a tree of
        arrays [settings.batch, ...]; metrics are the loss's scalars, "loss",
        "gradient_norm" (before clipping) and "learning_rate".

    Raises:
        ValueError: the batch is not divisible by devices times pieces.
    """
    pieces = settings.batch // (settings.microbatch or settings.batch)
    if settings.batch % (mesh.size * pieces):
        raise ValueError(
            f"expected a batch divisible by devices x microbatches = {mesh.size} x {pieces} "
            f"= {mesh.size * pieces}, got {settings.batch}"
        )
    optimizer, rate = make_optimizer(settings), make_schedule(settings)
    everywhere, spread = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))

    def one(variables, key, batch):
        slope = jax.value_and_grad(loss, has_aux=True)
        (value, scalars), gradient = slope(variables, key, batch)
        return gradient, {**scalars, "loss": value}

    def cut(x):
        # Piece i is every `pieces`-th example from i on. Contiguous pieces would each lie on
        # one device, and XLA would move the whole batch to spread them again.
        x = x.reshape(settings.batch // pieces, pieces, *x.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P(None, "data")))

    def gradients(variables, key, batch):
        if pieces == 1:
            return one(variables, jax.random.fold_in(key, 0), batch)

        def add(total, piece):
            i, examples = piece
            new = one(variables, jax.random.fold_in(key, i), examples)
            return jax.tree.map(jnp.add, total, new), None

        cuts = (jnp.arange(pieces), jax.tree.map(cut, batch))
        shapes = jax.eval_shape(one, variables, key, jax.tree.map(lambda x: x[0], cuts[1]))
        zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        total, _ = jax.lax.scan(add, zero, cuts)
        return jax.tree.map(lambda x: x / pieces, total)

    @functools.partial(
        jax.jit,
        donate_argnums=0,
        in_shardings=(everywhere, spread),
        out_shardings=(everywhere, everywhere),
    )
    def step(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        gradient, metrics = gradients(state.variables, key, batch)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.variables)
        variables, average = optax.apply_updates(state.variables, updates), state.average
        if average is not None:
            # The average of few steps leans on recent ones, not on the initial variables.
            count = state.step.astype(jnp.float32)
            keep = jnp.minimum(settings.ema, (1 + count) / (10 + count))
            average = optax.incremental_update(variables, average, 1 - keep)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        metrics["learning_rate"] = rate(state.step)
        state = state.replace(
            step=state.step + 1, variables=variables, opt_state=opt_state, average=average
        )
        return state, metrics

    return step


def batches(n: int, size: int, seed: int) -> Callable[[int], np.ndarray]:
    """The examples of each step, as a function of the step's number alone.

    Every epoch is a new permutation; the `n % size` examples at its end are left out.

    Args:
        n: how many examples there are.
        size: how many a step takes.
        seed: of the permutations.

    Returns:
        step, from 0 -> positions of its examples [size], int.

    Raises:
        ValueError: there are fewer examples than a batch takes.
    """
    if n < size:
        raise ValueError(f"expected at least a batch of {size} examples, got {n}")

    @functools.lru_cache(maxsize=1)
    def order(epoch):
        return np.random.default_rng([seed, epoch]).permutation(n)

    def examples(step):
        epoch, i = divmod(step, n // size)
        return order(epoch)[i * size : (i + 1) * size]

    return examples


def fit(
    init: Callable[[jax.Array], Tree],
    loss: Loss,
    data: Mapping[str, np.ndarray],
    evaluate: Callable[[Tree], Mapping[str, float]],
    settings: Settings,
    folder: str | pathlib.Path,
    config: Mapping,
    *,
    select: str = "mse",
    highest: bool = False,
    progress: bool = True,
) -> FitResult:
    """Trains, or goes on training where the folder's newest checkpoint stopped.

    Each line of `metrics.jsonl` has the means over the steps since the line before (since
    the start, in a resumed run's first). Ctrl-C or SIGTERM ends the step, saves, and raises.

    Args:
        init: key -> variables; traceable by JAX.
        loss: see `make_step`.
        data: name -> [example, ...]; a batch has the same examples of each.
        evaluate: variables -> validation metrics, logged as "val_NAME".
        settings: see `Settings`.
        folder: where checkpoints and metrics go; created.
        config: JSON values, stored in each checkpoint with the settings as "training". It
            must be the same when resuming, so it should hold what determines the run, no more.
        select: the metric of `evaluate` that is lowest at the best variables.
        highest: it is highest there; of equal values the first counts.
        progress: show a bar on a terminal, or print a line at each evaluation elsewhere.

    Raises:
        ValueError: the arrays' lengths differ or are below a batch, `evaluate` gives no
            `select`, or the folder holds a run of another config; the differences are named.
        DamagedError: no checkpoint can be read, or metrics were altered or are missing.
        LockedError: another process trains in the folder.
        SaveError: nothing can be written there, it has less space than the checkpoints need,
            or the disk was full later; the checkpoint before stays.
        FloatingPointError: the loss, the gradient or a validation metric is NaN or infinite;
            names which, and the step. The checkpoint before stays.
        Interrupted: after Ctrl-C or SIGTERM, with the checkpoint saved; a KeyboardInterrupt.
    """
    lengths = {name: len(x) for name, x in data.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"expected arrays of one number of examples, got {lengths}")
    examples = batches(next(iter(lengths.values())), settings.batch, settings.seed)
    sign = -1.0 if highest else 1.0
    folder, mesh = pathlib.Path(folder), data_mesh(settings)
    config = {**config, "training": dataclasses.asdict(settings)}
    step, everywhere = make_step(loss, settings, mesh), NamedSharding(mesh, P())

    def first():
        return init_state(init(_keys(settings)[0]), settings)

    with contextlib.ExitStack() as stack:
        saved = stack.enter_context(Checkpoints(folder, config))
        if saved.latest is not None:
            _expect_config(folder, saved.config)
        abstract = abstract_like(jax.eval_shape(lambda: _items(first(), 0.0)), everywhere)
        restored = saved.restore_latest(abstract)
        if restored is None:
            resumed, spent = 0, 0.0
            state = jax.jit(first, out_shardings=everywhere)()
        else:
            resumed, items = restored
            state, spent = _state(items), float(items["train"]["seconds"])
        if resumed < settings.steps:
            saved.expect_space(abstract)
        history = JsonLines(folder / "metrics.jsonl")
        every = settings.evaluate_every
        logged = {*range(every, resumed + 1, every)} | {settings.steps} & {resumed}
        history.truncate_after(resumed, logged)
        record = stack.enter_context(
            board(folder / "tensorboard" if settings.tensorboard else None, resumed)
        )
        show = stack.enter_context(
            report(settings.steps, settings.batch, select, resumed, quiet=not progress)
        )
        stop = stack.enter_context(interruptible())
        recent, began = Recent(settings.batch), time.monotonic() - spent

        for done in range(resumed + 1, settings.steps + 1):
            pick = examples(done - 1)
            state, metrics = step(state, {name: x[pick] for name, x in data.items()})
            show(done, recent.add(done, metrics))
            last = done == settings.steps
            if last or done % settings.evaluate_every == 0:
                means, values = recent.take(), _values(evaluate(state.evaluated), select, done)
                state = _keep_best(state, sign * values[select], everywhere)
                line = {"step": done, **means, **{f"val_{k}": v for k, v in values.items()}}
                line["seconds"] = round(time.monotonic() - began, 3)
                try:
                    history.write(line)
                except OSError as error:
                    raise saved.failure(f"the line of step {done}", error) from error
                record(line)
                show(done, line, finished=True)
                recent.restart()
            if last or stop or done % settings.checkpoint_every == 0:
                recent.flush()  # what is not finite must not be saved
                saved.save(done, _items(state, time.monotonic() - began))
            if stop.signal and not last:
                saved.close()
                raise Interrupted(
                    f"stopped after step {done} of {settings.steps} with a checkpoint in "
                    f"{folder}; the same command continues from there",
                    stop.signal,
                )
        seconds = time.monotonic() - began if resumed < settings.steps else spent
    return FitResult(
        variables_best=state.best,
        best_value=sign * float(state.best_value),
        variables=state.evaluated,
        history=history.path,
        seconds=seconds,
        steps=settings.steps,
        resumed=resumed,
    )


def compilation_cache(folder: str | pathlib.Path) -> None:
    """Keeps compiled programs in a folder, where the next process finds them."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _keys(settings):
    """One key for the initial variables, one for the steps."""
    return jax.random.split(jax.random.key(settings.seed))


def _items(state, seconds):
    """A state as checkpoint items; `_state` undoes it."""
    train = {
        "step": state.step,
        "opt_state": state.opt_state,
        "best_value": state.best_value,
        "key": state.key,
        "seconds": jnp.asarray(seconds, jnp.float32),
    }
    if state.average is not None:
        train["variables"] = state.variables
    return {"variables": state.evaluated, "best": state.best, "train": train}


def _state(items):
    train = items["train"]
    averaged = "variables" in train
    return State(
        step=train["step"],
        variables=train["variables"] if averaged else items["variables"],
        opt_state=train["opt_state"],
        average=items["variables"] if averaged else None,
        best=items["best"],
        best_value=train["best_value"],
        key=train["key"],
    )


def _keep_best(state, value, sharding):
    """The state with the variables it evaluates as the best, if their value is the lowest."""
    if not np.float32(value) < np.float32(state.best_value):
        return state
    best = jax.tree.map(jnp.copy, state.evaluated)
    return state.replace(best=best, best_value=jax.device_put(np.float32(value), sharding))


def _expect_config(folder, now):
    then = read_config(folder)
    wrong = []

    def compare(path, a, b):
        if isinstance(a, dict) and isinstance(b, dict):
            for k in sorted(a.keys() | b.keys()):
                compare(f"{path}.{k}" if path else k, a.get(k), b.get(k))
        elif a != b:
            wrong.append(f"{path}: {json.dumps(a)} in the folder, {json.dumps(b)} now")

    compare("", then, now)
    checks.raise_all(f"{folder} holds a run of another config; take another folder", wrong)


def _values(values, select, step):
    values = {name: float(v) for name, v in values.items()}
    if select not in values:
        raise ValueError(f"expected evaluate to give {select!r}, got {sorted(values)}")
    for name, v in values.items():
        expect_finite(f"validation {name}", v, step)
    return values
