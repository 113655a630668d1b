"""Checkpoints: the variables of a run, and the config that made them, in one folder.

    run/
      400/  500/            one folder a step; the newest `keep` stay
        variables/          for evaluation
        best/               the same tree, at the best validation value so far
        train/              for resuming alone: optimiser state, key, step, ...
        checkpoint.json     sealed: step, config, shape and type of every leaf, and the
                            sha256 of every file
      .lock                 while a process writes here

Items are stored apart, so that evaluation reads `best` and `read_config` and nothing else.
Every restore states on which devices the arrays shall live: Orbax would otherwise expect
the devices that saved them, and a run of four devices could not be evaluated on one.

Orbax has no checksum of the values. So it writes to `500.partial`, which is read back into
the sums, sealed, and renamed to `500` when it is complete; `400` is renamed before it is
deleted. A kill at any moment leaves whole steps alone. Restoring compares the files with
their sums before Orbax parses them, goes from the newest step to the oldest, and skips
those that are damaged.
"""

import concurrent.futures
import contextlib
import json
import logging
import os
import pathlib
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from wsjax import checks, storage
from wsjax.storage import DamagedError

Tree = Any

_LOG = logging.getLogger(__name__)
_OVERHEAD = 64_000  # bytes of an item beside its arrays: some ten files, in blocks of 4 KiB
_ABOUT, _PARTIAL, _REMOVED = "checkpoint.json", ".partial", ".removed"

# Orbax's threads wait, 20 minutes each, for a folder that another thread failed to create.
_DIRECTORIES_FIRST = ocp.Context()
_DIRECTORIES_FIRST.asynchronous.create_directories_asynchronously = False
# Orbax logs an error, with its traceback, in each of its threads before it raises it.
logging.getLogger("absl").addFilter(
    lambda record: record.levelno < logging.ERROR or "orbax" not in record.pathname
)


class SaveError(OSError):
    """A checkpoint cannot be written, or could not; those before it are as they were."""


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

    Leaving the context waits for the last save to be on disk. Until then no other process
    can open the folder so; reading needs no permission.

    Attributes:
        root: the folder.
        config: JSON values, stored with every step.
        keep: how many steps stay.

    Raises:
        ValueError: `config` is not JSON, or `keep` is below 1.
        storage.LockedError: the folder is open already, here or in another process.
        SaveError: nothing can be written there.
    """

    def __init__(self, root: str | pathlib.Path, config: Mapping, keep: int = 2):
        if keep < 1:
            raise ValueError(f"expected to keep at least 1 checkpoint, got {keep}")
        try:
            self.config = json.loads(json.dumps(dict(config)))
        except TypeError as error:
            raise ValueError(f"expected a config of JSON values: {error}") from error
        self.root, self.keep = pathlib.Path(root).absolute(), keep
        self._saving: tuple[int, concurrent.futures.Future] | None = None
        with contextlib.ExitStack() as stack:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                stack.enter_context(storage.locked(self.root))
                with tempfile.TemporaryFile(dir=self.root) as file:
                    file.write(b"0")
                for left in self.root.glob("*.*"):  # by a kill
                    if re.match(rf"\d+({_PARTIAL}|{_REMOVED})", left.name):
                        shutil.rmtree(left)
            except OSError as error:
                raise SaveError(f"cannot write to {self.root}: {_reason(error)}") from error
            # One thread for all of Orbax: an exception in ours, Ctrl-C above all, must not leave
            # a save of its own half started, which the interpreter would wait for for ever.
            self._pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
            self._open = stack.pop_all()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Waits for the save under way, and unlocks the folder.

        Raises:
            SaveError: that save failed.
        """
        with self._open:
            self.wait()

    def wait(self) -> None:
        """Waits for the save under way; raises as `close`."""
        if self._saving is not None:
            step, saving = self._saving
            try:
                saving.result()
            except Exception as error:
                self._saving = None
                raise self.failure(f"checkpoint {step}", error) from error
            self._saving = None

    def failure(self, what: str, error: Exception) -> SaveError:
        """The error that says why something was not written, and where the run continues."""
        return SaveError(
            f"{what} could not be written to {self.root}: {_reason(error)}; once that is mended, "
            f"the same command continues from {self._before}"
        )

    @property
    def _before(self):
        return "the start" if self.latest is None else f"checkpoint {self.latest}"

    @property
    def latest(self) -> int | None:
        """The newest step, saved or being saved; `None` if there is none."""
        steps = _steps(self.root) + ([self._saving[0]] if self._saving else [])
        return max(steps, default=None)

    def expect_space(self, items: Mapping[str, Tree]) -> None:
        """Compares the free space with what the checkpoints of such a run will need.

        Args:
            items: as `save` will receive them; abstract ones will do.

        Raises:
            SaveError: there is less than they need.
        """
        # the one being written is complete before the oldest goes
        self._expect_space(items, max(1, self.keep + 1 - len(_steps(self.root))))

    def _expect_space(self, items, count):
        size = sum(x.dtype.itemsize * x.size for x in jax.tree.leaves(items))
        size = count * (size + _OVERHEAD * len(items))
        free = shutil.disk_usage(self.root).free
        if free < size:
            raise SaveError(
                f"expected {-(-size // 1000):,} kB free in {self.root} for {count} of its "
                f"checkpoints, got {free // 1000:,} kB; once there is more, the same command "
                f"continues from {self._before}"
            )

    def save(self, step: int, items: Mapping[str, Tree]) -> None:
        """Writes a step in the background; an earlier one of the same number is replaced.

        The arrays are copied before this returns, so donating them next is safe.

        Args:
            step: how many training steps made it.
            items: name -> tree of arrays.

        Raises:
            SaveError: the save before failed, or there is no space for this one.
        """
        self.wait()
        self._expect_space(items, 1)
        copied = threading.Event()
        self._saving = step, self._pool.submit(self._write, step, dict(items), copied)
        copied.wait()

    def _write(self, step, items, copied):
        partial, running = self.root / f"{step}{_PARTIAL}", threading.enumerate()
        try:
            try:
                with _DIRECTORIES_FIRST:
                    writing = ocp.save_checkpointables_async(str(partial), items)
            finally:
                copied.set()
            writing.result()
            about = {
                "step": step,
                "config": self.config,
                "leaves": {k: _leaves(v) for k, v in items.items()},
                "files": {
                    path.relative_to(partial).as_posix(): storage.fingerprint(path)
                    for path in sorted(partial.glob("**/*"))
                    if path.is_file()
                },
            }
            storage.write_sealed(partial / _ABOUT, about)
            _remove(self.root / str(step))
            partial.rename(self.root / str(step))
            for old in _steps(self.root)[: -self.keep]:
                _remove(self.root / str(old))
        except BaseException:
            for thread in set(threading.enumerate()).difference(running):
                thread.join(10)  # Orbax raises the first failure while others still write
            for left in self.root.glob(f"{step}{_PARTIAL}*"):
                shutil.rmtree(left, ignore_errors=True)  # takes space, where that is short
            raise

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
        self.wait()
        if self.latest is None:
            return None
        damaged = []
        step, items = _newest(self.root, lambda s: _load(self.root, s, abstract), damaged)
        for bad in damaged:
            (self.root / str(bad)).rename(_unused(self.root / f"damaged-{bad}"))
        return step, items


def read_config(root: str | pathlib.Path) -> dict:
    """The config in a folder of checkpoints, of the newest step that can be read.

    Raises:
        FileNotFoundError: there is no such folder, or no checkpoint in it.
        DamagedError: none can be read.
    """
    root = _existing(root)
    return _newest(root, lambda step: _about(root, step)["config"], [])[1]


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
    root = _existing(root)
    return _newest(root, lambda step: _load(root, step, {name: abstract})[name], [])[1]


def _steps(root):
    names = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))


def _existing(root):
    root = pathlib.Path(root).absolute()
    if not root.is_dir():
        raise FileNotFoundError(f"expected a folder of checkpoints, there is no {root}")
    if not _steps(root):
        raise FileNotFoundError(f"expected a checkpoint in {root}, got a folder without one")
    return root


def _newest(root, read, damaged: list[int]):
    """(step, `read(step)`) of the newest step that is not damaged; fills in those that are."""
    for step in reversed(_steps(root)):
        try:
            return step, read(step)
        except DamagedError as error:
            _LOG.warning("%s; trying the one before", error)
            damaged.append(step)
    raise DamagedError(
        f"none of the checkpoints in {root} can be read: steps {damaged}; "
        "start again in another folder"
    )


def _about(root, step):
    """The description that `save` wrote beside the arrays."""
    try:
        about = storage.read_sealed(root / str(step) / _ABOUT)
    except FileNotFoundError:
        raise _damage(root, step, DamagedError(f"it has no {_ABOUT}")) from None
    except (DamagedError, OSError) as error:
        raise _damage(root, step, error) from error
    if about["step"] != step:
        raise _damage(root, step, DamagedError(f"it is checkpoint {about['step']}, renamed"))
    return about


def _load(root, step, abstract):
    about, folder = _about(root, step), root / str(step)
    saved = about["leaves"]
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
    checks.raise_all(f"checkpoint {step} in {root} is of another tree", wrong)
    try:
        for name, expected in about["files"].items():
            item, *rest = name.split("/")
            if (item in abstract or not rest) and not _same(folder / name, expected):
                raise DamagedError(f"{name} is missing or was altered")
        return ocp.load_checkpointables(folder, abstract)
    except Exception as error:
        raise _damage(root, step, error) from error


def _same(path, fingerprint):
    try:
        return storage.fingerprint(path) == fingerprint
    except OSError:
        return False


def _leaves(tree):
    """Path -> shape and type, as text: JSON, and what an error prints."""
    flat, _ = jax.tree_util.tree_flatten_with_path(abstract_like(tree))
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in flat}


def _damage(root, step, error):
    return DamagedError(f"checkpoint {step} in {root} is damaged ({_reason(error)})")


def _reason(error):
    """One line on an exception; where Orbax quotes an error of the system, that alone."""
    if isinstance(error, DamagedError):
        return str(error)
    while error.__cause__ is not None:  # Orbax wraps the reason in "incompatible handler"
        error = error.__cause__
    number = re.search(r"os_error_code='(\d+)'", str(error))
    if number or isinstance(error, OSError):
        return os.strerror(int(number[1])) if number else error.strerror or str(error)
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:200]


def _remove(folder):
    """Deletes a folder, if there is one, so that a kill never leaves half under its name."""
    if folder.exists():
        folder = folder.rename(folder.with_name(folder.name + _REMOVED))
        shutil.rmtree(folder)


def _unused(path):
    """The path, or with a number behind it if something has that name."""
    taken = (path.with_name(f"{path.name}-{i}") for i in range(1, 1000))
    return path if not path.exists() else next(p for p in taken if not p.exists())
