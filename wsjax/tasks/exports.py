"""Trained models as small folders for others, and `restore`, which reads these and training runs.

    export(trained, "models/first")
      config.json           task, encoder, head, scales, specs, constants; versions; facts; the
                            sha256 of the other files; sealed
      model.safetensors     the parameters, "encoder/Dense_0/kernel" -> array
      README.md             the model card

    restore("models/first")    restore("runs/first")    restore("mnist-inr-classes")

A path that exists is read. Another text is the name of a pretrained model: of a folder in
`experiments/pretrained` of this checkout, or in the folder that the environment variable
WSJAX_PRETRAINED names, which an installed package needs. An export is read as it was written or
not at all, and nothing that it names is run: an encoder of your own must be imported before.
"""

import os
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import traverse_util
from safetensors import SafetensorError

from wsjax import checks, encoders, networks, storage, summaries
from wsjax.storage import DamagedError
from wsjax.tasks.base import Result, Task, Trained
from wsjax.tasks.fitting import OURS, describe, rebuild
from wsjax.training import checkpoints

FORMAT = 1
CONFIG, MODEL, CARD = "config.json", "model.safetensors", "README.md"
PREDICTOR = "predictor.json"  # of a folder that `wsjax.predictors.load` reads
DTYPES = ("float32", "float16")
CONFIG_BYTES = 16 << 20
FILE_BYTES = 1 << 30  # of a file beside it: 270 million parameters
LAYERS = 100  # which any model may have
WEIGHTS = 1 << 28  # of a network that the model reads, as its index maps are made on opening
VARIABLE = "WSJAX_PRETRAINED"
NAME = re.compile(r"\w[\w.+-]*")


def export(
    trained: Trained,
    folder: str | os.PathLike,
    card: str | None = None,
    facts: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Writes a trained model as a folder that `restore` reads; what is there is replaced.

    Args:
        trained: from `fit` or `restore`.
        folder: created. `config.json` is written last: without it, there is no export.
        card: Markdown; by default a few lines on task, encoder and architectures.
        facts: JSON values that the config is to hold, such as metrics; `about` gives them.
        dtype: of the parameters, "float32" or, rounded, "float16".

    Returns:
        The config.

    Raises:
        TypeError: this is no `Trained`.
        ValueError: a parameter is not finite, or too large for half precision; facts are no
            JSON; or the encoder's class cannot be named.
        OSError: a file cannot be written.
    """
    checks.expect("trained", trained, Trained)
    if dtype not in DTYPES:
        raise ValueError(f"expected a dtype of {DTYPES}, got {dtype!r}")
    try:
        config = {
            "format": FORMAT,
            "facts": storage.plain(dict(facts or {})),
            "config": storage.plain(dict(trained.config)),
            OURS: describe(trained),
            "versions": storage.versions("wsjax", "jax", "flax"),
        }
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected a model and facts that are JSON values: {error}") from error
    data = safetensors.numpy.save(_flat(trained.variables["params"], dtype))
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    storage.write_bytes(folder / MODEL, data)
    storage.write_text(folder / CARD, card or _card(trained))
    names = (MODEL, CARD, *trained.task.keep(trained, folder))
    files = {name: storage.fingerprint(folder / name) for name in names}
    return storage.write_sealed(folder / CONFIG, {**config, "files": files})


def restore(path: str | os.PathLike, kind: type[Task[Result]] | None = None) -> Result:
    """The `Trained` of a training run, of an export, or of a pretrained model by its name.

    Args:
        path: the folder that `fit` or `export` received; else a name, see above.
        kind: the task that it must be of; necessary for a task of your own.

    Raises:
        FileNotFoundError: there is no such folder or name, or nothing to restore in it.
        ValueError: it is of another task or format, its files are damaged (a DamagedError), or
            its encoder is not supported or not imported.
    """
    if not (kind is None or (isinstance(kind, type) and issubclass(kind, Task))):
        raise TypeError(f"kind: expected a class of tasks, such as Regression, got {kind!r}")
    folder = locate(path)
    if os.path.lexists(folder / CONFIG):
        return _restore(folder, kind)
    if (folder / PREDICTOR).is_file():
        raise ValueError(f"{folder} is a predictor with intervals, which predictors.load reads")
    config = checkpoints.read_config(folder)
    if (described := config.pop(OURS, None)) is None:
        raise ValueError(
            f"{folder}: expected a run of `wsjax.tasks.fit`, its config has no {OURS!r}"
        )
    return rebuild(described, config, folder, lambda tree: checkpoints.load(folder, tree), kind)


def about(path: str | os.PathLike) -> dict[str, Any]:
    """The config of an export, by its path or name; its "facts" are those that it was given.

    Raises:
        FileNotFoundError: there is no such folder or name, or no export in it.
        DamagedError: it was altered, is a link or too large.
        ValueError: it is of another format.
    """
    folder = locate(path)
    try:
        config = storage.read_sealed(folder / CONFIG, CONFIG_BYTES)
    except FileNotFoundError:
        raise FileNotFoundError(f"expected an export in {folder}, it has no {CONFIG}") from None
    except DamagedError as error:
        raise DamagedError(f"{folder}: {error}") from error
    if (number := config.get("format")) != FORMAT:
        raise ValueError(
            f"{folder / CONFIG}: expected format {FORMAT}, got {number!r}, of another version of "
            f"wsjax; restore it with that one, {config.get('versions')}, or export it anew"
        )
    return config


def pretrained() -> dict[str, pathlib.Path]:
    """The pretrained models, predictors of `wsjax.predictors` included: name -> folder."""
    home = _home()
    inside = sorted(home.iterdir()) if home.is_dir() else []
    holds = lambda folder: any((folder / name).is_file() for name in (CONFIG, PREDICTOR))
    return {p.name: p for p in inside if NAME.fullmatch(p.name) and holds(p)}


def locate(path: str | os.PathLike) -> pathlib.Path:
    """The folder of a path that exists, or of the name of a pretrained model.

    Raises:
        FileNotFoundError: there is neither; lists the names.
    """
    folder = pathlib.Path(path)
    if os.path.lexists(folder) or not NAME.fullmatch(os.fspath(path)):
        return folder
    models, home = pretrained(), _home()
    if os.fspath(path) in models:
        return models[os.fspath(path)]
    has = f"which has {', '.join(models) or 'none'}"
    if not home.is_dir():
        has = "which does not exist; the models are in the repository, and not in the package"
    raise FileNotFoundError(
        f"there is no folder {os.fspath(path)!r} here, and no pretrained model of that name in "
        f"{home}, {has}; give the folder of a training run or of an export, or set {VARIABLE} to a "
        "folder of models, such as experiments/pretrained of the repository"
    )


def _home():
    """The folder of pretrained models."""
    checkout = pathlib.Path(__file__).parents[2] / "experiments" / "pretrained"
    return pathlib.Path(os.environ.get(VARIABLE) or checkout)


def _flat(params, dtype):
    """The parameters by their names, in a floating dtype; raises for those it cannot hold."""
    arrays = {k: np.asarray(v) for k, v in traverse_util.flatten_dict(params, sep="/").items()}
    if wrong := [k for k, v in arrays.items() if v.dtype != np.float32]:
        raise ValueError(f"expected parameters in float32, got others: {wrong}")
    with np.errstate(over="ignore"):
        arrays = {k: v.astype(dtype, order="C") for k, v in arrays.items()}
    if wrong := [k for k, v in arrays.items() if not np.isfinite(v).all()]:
        raise ValueError(f"expected finite parameters, of {dtype}'s size, got others in {wrong}")
    return arrays


def _restore(folder, kind):
    """The `Trained` of an export."""
    config = about(folder)
    try:
        for name, expected in config["files"].items():
            if len(name) > 99 or not NAME.fullmatch(name):
                raise DamagedError(f"{folder}: expected files beside {CONFIG}, got {name[:99]!r}")
            if name != MODEL:
                storage.read_same(folder / name, expected, FILE_BYTES)
        data = storage.read_same(folder / MODEL, config["files"][MODEL], FILE_BYTES)
        name = config[OURS]["encoder"]["name"]
        if name not in encoders.ENCODERS and name.partition(":")[0] not in sys.modules:
            raise ValueError(
                f"{folder}: its encoder is {name!r}, code of its author's that is not run unasked: "
                "import that module first"
            )
        arrays = _arrays(data, folder)
        _expect_sizes(config[OURS], len(arrays))
        load = lambda tree: _params(arrays, tree, folder)
        return rebuild(config[OURS], config["config"], folder, load, kind)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise DamagedError(f"{folder / CONFIG} makes no sense: {error!r}") from error
    except ValueError as error:
        if str(folder) in str(error):
            raise
        raise DamagedError(f"{folder / CONFIG} makes no sense: {error}") from error


def _arrays(data, folder):
    """The arrays of a file's bytes, floating and finite."""
    try:
        arrays = safetensors.numpy.load(data)
    except SafetensorError as error:
        raise DamagedError(f"{folder / MODEL} is no safetensors file: {error}") from error
    except KeyError as error:  # a dtype that NumPy lacks
        raise DamagedError(
            f"{folder / MODEL}: expected arrays of {DTYPES}, got others: {error.args[0]}"
        ) from error
    if wrong := [k for k, x in sorted(arrays.items()) if x.dtype.name not in DTYPES]:
        raise DamagedError(
            f"{folder / MODEL}: expected arrays of {DTYPES}, got {arrays[wrong[0]].dtype} in "
            f"{wrong[0]!r} and {len(wrong) - 1} more"
        )
    if wrong := [k for k, x in sorted(arrays.items()) if not np.isfinite(x).all()]:
        raise DamagedError(
            f"{folder / MODEL}: expected finite parameters, got NaN or infinity in {wrong[0]!r} "
            f"and {len(wrong) - 1} more"
        )
    return arrays


def _expect_sizes(described, count):
    """Raises for a model that would take hours or all memory before its arrays are compared.

    Args:
        described: see `fitting.describe`.
        count: arrays of the file; no encoder or head of many layers has fewer.
    """
    settings = described["encoder"]["settings"]
    layers = [settings.get("layers", 0), settings.get("depth", 0), len(described["head"])]
    if max(layers) > max(count, LAYERS):
        raise ValueError(f"expected no more layers than its file has arrays, {count}, got {layers}")
    counts = [networks.from_json(spec).count for spec in described["specs"]]
    if max(counts) > WEIGHTS:
        raise ValueError(f"expected networks of at most {WEIGHTS:,} weights, got {max(counts):,}")


def _params(arrays, abstract, folder):
    """Arrays of a file as the tree expected."""
    expected: dict[str, Any] = traverse_util.flatten_dict(abstract, sep="/")
    shapes = lambda tree: {k: tuple(x.shape) for k, x in tree.items()}
    has, wants = shapes(arrays), shapes(expected)
    names = sorted(has.keys() | wants.keys())
    checks.raise_all(
        f"{folder / MODEL} is of another model",
        (
            f"{k}: expected {wants.get(k, 'nothing')}, got {has.get(k, 'nothing')}"
            for k in names
            if has.get(k) != wants.get(k)
        ),
    )
    params = {k: jax.numpy.asarray(x, expected[k].dtype) for k, x in arrays.items()}
    return traverse_util.unflatten_dict(params, sep="/")


def _card(trained):
    """The model card of a model of which nothing else is known."""
    size = sum(x.size for x in jax.tree.leaves(trained.variables["params"]))
    task = " of ".join((trained.task.kind, *trained.task.needs[:1]))
    lines = [
        f"# {type(trained.module.encoder).__name__}: {task}",
        "",
        f"- reads: {summaries.architectures(trained.specs)}",
        f"- parameters: {size:,}",
        f"- trained: {trained.config.get('training', {}).get('steps', 'unknown')} steps",
        "",
        '`wsjax.restore("PATH OF THIS FOLDER")`',
    ]
    return "\n".join(lines) + "\n"
