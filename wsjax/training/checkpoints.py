"""Checkpoints: the variables of a run, and the config that made them, in one folder.

    run/
      400/  500/            one folder a step; the newest `keep` stay
        variables/          for evaluation
        best/               the same tree, at the best validation value so far
        train/              for resuming alone: optimiser state, key, step, ...
        _CHECKPOINT_METADATA    JSON: {"config": ..., "leaves": shape and type of every leaf}

Items are stored apart, so that evaluation reads `best` and `read_config` and nothing else.
Every restore states on which devices the arrays shall live: Orbax would otherwise expect
the devices that saved them, and a run of four devices could not be evaluated on one.

Orbax renames a step into place when it is complete, so a kill while saving leaves the
previous step. A kill while *deleting* an old step can leave half of it; hence restoring
goes from the newest to the oldest and skips those that do not load.
"""

import json
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from wsjax import checks
from wsjax.storage import DamagedError

Tree = Any

_LOG = logging.getLogger(__name__)


def abstract_like(tree: Tree | Callable[[], Tree], sharding: jax.sharding.Sharding | None = None):
    """Describes a tree by shape, type and the devices its arrays shall live on.

    Args:
        tree: arrays, `ShapeDtypeStruct`s, or a function of no arguments that makes them.
        sharding: for all leaves; `None` keeps each leaf's own, or takes the first device.

    Returns:
        The tree with a `jax.ShapeDtypeStruct` that has a sharding at every leaf.
    """
    tree = jax.eval_shape(tree) if callable(tree) else tree
    first = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def describe(x):
        where = sharding or getattr(x, "sharding", None) or first
        kind = x.dtype if hasattr(x, "dtype") else jnp.result_type(x)
        return jax.ShapeDtypeStruct(np.shape(x), kind, sharding=where)

    return jax.tree.map(describe, tree)


class Checkpoints:
    """The checkpoints of one run, to write and to resume from; a context manager.

    Leaving the context waits for the last save to be on disk.

    Attributes:
        root: the folder.
        config: JSON values, stored with every step.

    Raises:
        ValueError: `config` is not JSON, or `keep` is below 1.
    """

    def __init__(self, root: str | pathlib.Path, config: Mapping, keep: int = 2):
        if keep < 1:
            raise ValueError(f"expected to keep at least 1 checkpoint, got {keep}")
        try:
            self.config = json.loads(json.dumps(dict(config)))
        except TypeError as error:
            raise ValueError(f"expected a config of JSON values: {error}") from error
        self.root = pathlib.Path(root).absolute()
        self._orbax = _open(self.root, ocp.training.preservation_policies.LatestN(keep))

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Waits for the save under way; raises if it failed."""
        self._orbax.close()

    @property
    def latest(self) -> int | None:
        """The newest step, saved or being saved; `None` if there is none."""
        return self._orbax.latest.step if self._orbax.latest else None

    def save(self, step: int, items: Mapping[str, Tree]) -> None:
        """Writes a step in the background; an earlier one of the same number is replaced.

        The arrays are copied before this returns, so donating them next is safe.

        Args:
            step: how many training steps made it.
            items: name -> tree of arrays.
        """
        about: dict[str, Any] = {
            "config": self.config,
            "leaves": {k: _leaves(v) for k, v in items.items()},
        }
        # Without `force`, Orbax skips a save in silence while another is under way.
        self._orbax.save_checkpointables_async(
            step, dict(items), force=True, overwrite=True, custom_metadata=about
        )

    def restore_latest(self, abstract: Mapping[str, Tree]) -> tuple[int, dict[str, Tree]] | None:
        """Reads the newest step that loads; the log names each one skipped.

        Damaged steps newer than it are renamed `damaged-STEP`: under their own name they
        would count as the newest and push out the checkpoints the run saves from here on.

        Args:
            abstract: the items wanted, as `abstract_like` describes them.

        Returns:
            The step and its items, or `None` if there is no checkpoint at all.

        Raises:
            ValueError: the newest step that can be read holds other leaves than expected.
            DamagedError: there are checkpoints and none of them loads.
        """
        self._orbax.wait()
        if self.latest is None:
            return None
        damaged = []
        step, items = _newest(self._orbax, lambda s: _load(self._orbax, s, abstract), damaged)
        for bad in damaged:
            (self.root / str(bad)).rename(_unused(self.root / f"damaged-{bad}"))
        if damaged:
            self._orbax.reload()
        return step, items


def read_config(root: str | pathlib.Path) -> dict:
    """The config in a folder of checkpoints, of the newest step that can be read.

    Raises:
        FileNotFoundError: there is no such folder, or no checkpoint in it.
        DamagedError: none can be read.
    """
    with _existing(root) as orbax:
        return _newest(orbax, lambda step: _about(orbax, step)["config"], [])[1]


def load(root: str | pathlib.Path, abstract: Tree, name: str = "best"):
    """Reads one item, such as the variables to evaluate, of the newest step that loads.

    Args:
        root: a folder that `Checkpoints` wrote.
        abstract: the tree expected: arrays, `ShapeDtypeStruct`s or a function that makes
            them, see `abstract_like`. Without shardings the first device receives it all.
        name: which item.

    Returns:
        The tree, as arrays.

    Raises:
        FileNotFoundError: there is no such folder, or no checkpoint in it.
        ValueError: the checkpoint has no such item, or other leaves; all are listed.
        DamagedError: none can be read.
    """
    with _existing(root) as orbax:
        return _newest(orbax, lambda step: _load(orbax, step, {name: abstract})[name], [])[1]


def _open(root, preservation=None):
    return ocp.training.Checkpointer(root.as_posix(), preservation_policy=preservation)


def _existing(root):
    """Opens a folder to read; Orbax itself would create a mistyped one."""
    root = pathlib.Path(root).absolute()
    if not root.is_dir():
        raise FileNotFoundError(f"expected a folder of checkpoints, there is no {root}")
    orbax = _open(root)
    if not orbax.checkpoints:
        raise FileNotFoundError(f"expected a checkpoint in {root}, got a folder without one")
    return orbax


def _newest(orbax, read, damaged: list[int]):
    """(step, `read(step)`) of the newest step that is not damaged; fills in those that are."""
    for step in reversed([c.step for c in orbax.checkpoints]):
        try:
            return step, read(step)
        except DamagedError as error:
            _LOG.warning("%s; trying the one before", error)
            damaged.append(step)
    raise DamagedError(
        f"none of the checkpoints in {orbax.directory} can be read: steps {damaged}; "
        "remove the folder to start again"
    )


def _about(orbax, step):
    """The metadata that `save` wrote beside the arrays: {"config", "leaves"}."""
    # Read directly: Orbax's own reader opens every array of every item too.
    path = pathlib.Path(orbax.directory) / str(step) / "_CHECKPOINT_METADATA"
    try:
        about = json.loads(path.read_text())["custom_metadata"]
        return {"config": about["config"], "leaves": about["leaves"]}
    except Exception as error:
        raise _damage(orbax, step, error) from error


def _load(orbax, step, abstract):
    saved = _about(orbax, step)["leaves"]
    abstract = {name: abstract_like(tree) for name, tree in abstract.items()}
    unknown = [name for name in abstract if name not in saved]
    if unknown:
        raise ValueError(f"expected an item of {sorted(saved)} at step {step}, got {unknown}")
    wrong = []
    for name, tree in abstract.items():
        want, have = _leaves(tree), saved[name]
        for leaf in sorted(want.keys() | have.keys()):
            if want.get(leaf) != have.get(leaf):
                wrong.append(
                    f"{name}{leaf}: expected {want.get(leaf, 'nothing')}, "
                    f"got {have.get(leaf, 'nothing')}"
                )
    checks.raise_all(f"checkpoint {step} in {orbax.directory} is of another tree", wrong)
    items = {}
    for name, tree in abstract.items():
        # One by one: where one of several fails, Orbax leaves the others as coroutines that
        # are never awaited, and Python warns of each.
        try:
            items |= orbax.load_checkpointables(step, abstract_checkpointables={name: tree})
        except Exception as error:  # a truncated file surfaces as one of many types
            raise _damage(orbax, step, error) from error
    return items


def _leaves(tree):
    """Path -> shape and type, as text: JSON, and what an error prints."""
    flat, _ = jax.tree_util.tree_flatten_with_path(abstract_like(tree))
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in flat}


def _damage(orbax, step, error):
    while error.__cause__ is not None:  # Orbax wraps the reason in "incompatible handler"
        error = error.__cause__
    reason = next(iter(str(error).splitlines()), "")[:200]
    return DamagedError(
        f"checkpoint {step} in {orbax.directory} is damaged ({type(error).__name__}: {reason})"
    )


def _unused(path):
    """The path, or with a number behind it if something has that name."""
    taken = (path.with_name(f"{path.name}-{i}") for i in range(1, 1000))
    return path if not path.exists() else next(p for p in taken if not p.exists())
