import logging
import random
import resource
import shutil
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax import storage
from wsjax.storage import DamagedError, LockedError
from wsjax.training import checkpoints
from wsjax.training.checkpoints import (
    Checkpoints,
    SaveError,
    abstract_like,
    load,
    read_config,
)

CONFIG = {"width": 4, "omega": 30.0, "normalisation": {"mean": [0.1, 0.2], "std": None}}


def items(step, width=4):
    variables = {"params": {"Dense_0": {"kernel": jnp.full((3, width), step, jnp.float32)}}}
    train = {
        "opt_state": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1)).init(variables),
        "key": jax.random.key(step),
        "half": jnp.full(2, step, jnp.bfloat16),
    }
    return {"variables": variables, "best": jax.tree.map(lambda x: -x, variables), "train": train}


def write(root, *steps, keep=2, **shape):
    with Checkpoints(root, CONFIG, keep) as saved:
        for step in steps:
            saved.save(step, items(step, **shape))


def truncate(root, step, item="*"):
    """Cuts every data file of a step in half, as a full disk would."""
    files = [p for p in (root / str(step)).glob(f"{item}/**/d/*") if p.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    raw = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(raw(x), raw(y)), a, b)


def test_what_was_saved_comes_back(tmp_path):
    write(tmp_path, 1, 2, 3)
    with Checkpoints(tmp_path, CONFIG) as saved:
        assert saved.latest == 3
        step, got = saved.restore_latest(jax.eval_shape(lambda: items(0)))
    assert step == 3
    assert_same(got, items(3))
    assert read_config(tmp_path) == CONFIG
    assert_same(load(tmp_path, items(0)["best"]), items(3)["best"])
    assert_same(load(tmp_path, lambda: items(0)["train"], "train"), items(3)["train"])
    assert not (tmp_path / "1").exists()  # keep=2


def test_donated_arrays_are_saved_as_they_were(tmp_path):
    double = jax.jit(lambda x: jax.tree.map(lambda a: 2 * a, x), donate_argnums=0)
    x = {"a": jnp.ones(1000)}
    with Checkpoints(tmp_path, {}) as saved:
        saved.save(1, {"variables": x})
        x = double(x)
    np.testing.assert_array_equal(load(tmp_path, x, "variables")["a"], 1)


def test_an_empty_folder_has_nothing_to_resume(tmp_path):
    with Checkpoints(tmp_path / "new", CONFIG) as saved:
        assert saved.latest is None
        assert saved.restore_latest(items(0)) is None


def test_a_step_can_be_saved_again(tmp_path):
    write(tmp_path, 1)
    with Checkpoints(tmp_path, CONFIG) as saved:
        saved.save(1, items(7))
    assert_same(load(tmp_path, items(0)["best"]), items(7)["best"])


def test_a_damaged_newest_step_falls_back_to_the_one_before(tmp_path, caplog):
    write(tmp_path, 1, 2)
    truncate(tmp_path, 2)
    with caplog.at_level(logging.WARNING, checkpoints.__name__):
        assert_same(load(tmp_path, items(0)["best"]), items(1)["best"])
    assert f"checkpoint 2 in {tmp_path} is damaged" in caplog.text
    caplog.clear()
    with Checkpoints(tmp_path, CONFIG, keep=1) as saved:
        step, got = saved.restore_latest(items(0))
        assert step == saved.latest == 1
        saved.save(2, items(2))
    assert_same(got, items(1))
    assert "checkpoint 2" in caplog.text
    assert (tmp_path / "damaged-2").is_dir()
    assert_same(load(tmp_path, items(0)["best"]), items(2)["best"])


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


CHANGES = {
    "flip": flip,
    "cut": lambda path, rng: path.write_bytes(path.read_bytes()[:-1]),
    "removed": lambda path, rng: path.unlink(),
    "folder": lambda path, rng: (path.unlink(), path.mkdir()),
}


def test_a_change_of_any_file_is_noticed(tmp_path, caplog):
    write(tmp_path, 1, 2)
    rng, step, kept = random.Random(0), tmp_path / "2", tmp_path / "kept"
    files = [p for p in sorted(step.rglob("*")) if p.is_file() and p.stat().st_size]
    assert len(files) > 15
    step.rename(kept)
    for i, path in enumerate(files):
        shutil.copytree(kept, step)
        change = list(CHANGES)[i % len(CHANGES)]
        CHANGES[change](path, rng)
        item = path.relative_to(step).parts[0]
        item = item if item in items(0) else "best"
        caplog.clear()
        got = load(tmp_path, abstract_like(lambda item=item: items(0)[item]), item)
        assert_same(got, items(1)[item])
        assert f"checkpoint 2 in {tmp_path} is damaged" in caplog.text, path
        assert path.name in caplog.text, (change, path)
        if path.name == "checkpoint.json":
            assert read_config(tmp_path) == CONFIG
        shutil.rmtree(step)


def test_a_step_under_another_number_is_damage(tmp_path, caplog):
    write(tmp_path, 1, 2)
    (tmp_path / "1").rename(tmp_path / "3")
    assert_same(load(tmp_path, items(0)["best"]), items(2)["best"])
    assert f"checkpoint 3 in {tmp_path} is damaged (it is checkpoint 1, renamed)" in caplog.text


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    names = ("3.partial", "3.partial.orbax-checkpoint-tmp", "12.removed")
    for name in (*names, "notes.partial", "3.mine"):
        (tmp_path / name / "a").mkdir(parents=True)
    write(tmp_path, 3)
    assert {p.name for p in tmp_path.iterdir()} == {"3", "notes.partial", "3.mine"}


def test_a_folder_is_written_by_one_and_read_by_all(tmp_path):
    write(tmp_path, 1)
    with Checkpoints(tmp_path, CONFIG) as saved:
        with pytest.raises(LockedError, match=f"{tmp_path} is in use by process"):
            Checkpoints(tmp_path, CONFIG)
        assert read_config(tmp_path) == CONFIG
        saved.close()
        write(tmp_path, 2)
    assert not (tmp_path / ".lock").exists()


def test_a_failed_save_says_why_and_leaves_no_thread(tmp_path):
    write(tmp_path, 1)
    sizes = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = {"best": jax.random.normal(jax.random.key(0), (100_000,))}
    words = (
        rf"^checkpoint 2 could not be written to {tmp_path}: File too large; once that is "
        "mended, the same command continues from checkpoint 1$"
    )
    before = set(threading.enumerate())
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, sizes[1]))  # as a full disk
    try:
        with pytest.raises(SaveError, match=words), Checkpoints(tmp_path, CONFIG) as saved:
            saved.save(2, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, sizes)
    assert not [t for t in threading.enumerate() if t not in before and not t.daemon]
    assert {p.name for p in tmp_path.iterdir()} == {"1"}
    write(tmp_path, 2)
    assert_same(load(tmp_path, items(0)["best"]), items(2)["best"])


def test_space_is_counted_for_one_more_than_stay(tmp_path, monkeypatch):
    write(tmp_path, 1, keep=3)
    x = {"a": jnp.ones((1000, 1000)), "key": jax.random.key(0)}
    free = lambda n: monkeypatch.setattr(
        shutil, "disk_usage", lambda path: types.SimpleNamespace(free=n)
    )
    with Checkpoints(tmp_path, CONFIG, keep=3) as saved:
        need = 3 * (4_000_000 + 8 + 2 * 64_000)
        free(need)
        saved.expect_space(jax.eval_shape(lambda: x))
        free(need - 1)
        words = rf"^expected 12,385 kB free in {tmp_path} for 3 of its checkpoints, got 12,384 kB; "
        with pytest.raises(SaveError, match=words + "once there is .* continues from checkpoint 1"):
            saved.expect_space(jax.eval_shape(lambda: x))
        free(need // 3 - 1)
        with pytest.raises(SaveError, match=r"expected 4,129 kB .* for 1 of its checkpoints"):
            saved.save(2, x)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=f"^cannot write to {tmp_path}/file: File exists$"):
        Checkpoints(tmp_path / "file", CONFIG)

    def fail(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(checkpoints.tempfile, "TemporaryFile", fail)
    with pytest.raises(SaveError, match=f"^cannot write to {tmp_path}: Read-only file system$"):
        Checkpoints(tmp_path, CONFIG)
    with storage.locked(tmp_path):  # given free again
        pass


def test_damage_everywhere_is_an_error_and_changes_nothing(tmp_path):
    write(tmp_path, 1, 2)
    truncate(tmp_path, 1), truncate(tmp_path, 2)
    with (
        Checkpoints(tmp_path, CONFIG) as saved,
        pytest.raises(DamagedError, match=r"none of the .* can be read: steps \[2, 1\]; start"),
    ):
        saved.restore_latest(items(0))
    assert {p.name for p in tmp_path.iterdir()} == {"1", "2"}


def test_evaluation_needs_only_its_item(tmp_path):
    write(tmp_path, 1)
    truncate(tmp_path, 1, "train")
    assert_same(load(tmp_path, items(0)["best"]), items(1)["best"])


def test_another_tree_is_named_leaf_by_leaf(tmp_path):
    write(tmp_path, 1)
    other = {"params": {"Dense_0": {"kernel": jnp.zeros((3, 5)), "bias": jnp.zeros(5)}}}
    words = (
        r"(?s)checkpoint 1 in .* is of another tree:\n"
        r"  best\['params'\]\['Dense_0'\]\['bias'\]: expected float32\[5\], got nothing\n"
        r"  best\['params'\]\['Dense_0'\]\['kernel'\]: expected float32\[3, 5\], "
        r"got float32\[3, 4\]"
    )
    with pytest.raises(ValueError, match=words):
        load(tmp_path, other)
    with Checkpoints(tmp_path, CONFIG) as saved, pytest.raises(ValueError, match=words):
        saved.restore_latest({"best": other})
    assert (tmp_path / "1").is_dir()  # it is not damaged
    with pytest.raises(ValueError, match=r"expected nothing, got float32\[3, 4\]"):
        load(tmp_path, {"params": {}})


def test_errors_of_place(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there is no {tmp_path}/typo"):
        load(tmp_path / "typo", items(0)["best"])
    assert not (tmp_path / "typo").exists()
    with pytest.raises(FileNotFoundError, match="a folder without one"):
        read_config(tmp_path)
    write(tmp_path, 1, 2)
    with pytest.raises(ValueError, match=r"expected an item of .*'best'.*, got \['bets'\]"):
        load(tmp_path, items(0)["best"], "bets")


def test_errors_of_arguments(tmp_path):
    with pytest.raises(ValueError, match=r"config of JSON values: .*ndarray"):
        Checkpoints(tmp_path, {"mean": np.zeros(2)})
    with pytest.raises(ValueError, match="keep at least 1 checkpoint, got 0"):
        Checkpoints(tmp_path, {}, keep=0)


def test_abstract_like_always_has_shardings():
    for tree in (items(0), lambda: items(0), jax.eval_shape(lambda: items(0))):
        leaves = jax.tree.leaves(abstract_like(tree))
        assert leaves
        assert all(x.sharding is not None for x in leaves)
