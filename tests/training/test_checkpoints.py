import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax.storage import DamagedError
from wsjax.training import checkpoints
from wsjax.training.checkpoints import Checkpoints, abstract_like, load, read_config

# When one array of a damaged item fails, Orbax closes its event loop on the others, which say so
# from a background thread at some later time.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

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


def test_unreadable_metadata_is_damage_too(tmp_path, caplog):
    write(tmp_path, 1, 2)
    (tmp_path / "2" / "_CHECKPOINT_METADATA").write_text('{"item_hand')
    assert read_config(tmp_path) == CONFIG
    assert "checkpoint 2" in caplog.text


def test_damage_everywhere_is_an_error_and_changes_nothing(tmp_path):
    write(tmp_path, 1, 2)
    truncate(tmp_path, 1), truncate(tmp_path, 2)
    with (
        Checkpoints(tmp_path, CONFIG) as saved,
        pytest.raises(DamagedError, match=r"none of the .* can be read: steps \[2, 1\]; remove"),
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
