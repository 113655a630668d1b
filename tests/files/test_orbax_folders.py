"""Orbax's folders: read from metadata alone, on fewer devices than wrote them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cases import weight_files
from cases.weight_files import ARRAYS, outcome
from orbax import checkpoint as orbax

from wsjax.files import orbax_folders
from wsjax.files.checkpoint import FileFormatError, Limits
from wsjax.files.detection import opened

WHOLE = {k: v for k, v in ARRAYS.items() if v.size}
W = np.arange(48, dtype="f4").reshape(8, 6)
FOUR_DEVICES = """
import sys, jax, numpy as np
from orbax import checkpoint
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(4), ("d",))
place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
w = jax.device_put(np.arange(48, dtype="f4").reshape(8, 6), place)
tree = {"params": {"w": w, "half": w.astype("bfloat16")}, "opt": [w[0], (3.5,)], "step": 7}
with checkpoint.CheckpointManager(sys.argv[1]) as manager:
    for step in (9, 10):
        state = checkpoint.args.StandardSave({**tree, "step": step})
        manager.save(step, args=checkpoint.args.Composite(
            state=state, notes=checkpoint.args.JsonSave({"a": 1})))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orbax") / "run"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    program = [sys.executable, "-W", "ignore", "-c", FOUR_DEVICES, str(folder)]
    subprocess.run(program, env=environment, check=True, capture_output=True)
    return folder


def test_what_four_devices_wrote_is_read_on_one(run):
    with opened(run) as checkpoint:
        assert checkpoint.format == "orbax"
        assert {a.path: (a.shape, a.dtype, a.nbytes) for a in checkpoint.arrays} == {
            ("params", "w"): ((8, 6), "float32", 192),
            ("params", "half"): ((8, 6), "bfloat16", 96),
            ("opt", "0"): ((6,), "float32", 24),
            ("opt", "1", "0"): ((), "float64", 8),
            ("step",): ((), "int64", 8),
        }
        read = {a.name: a.read() for a in checkpoint.arrays}
        assert [f.text for f in checkpoint.findings] == ["10 is read, the last of 2 steps"]
        assert checkpoint.metadata == {"notes": {"a": 1}}
    np.testing.assert_array_equal(read["params/w"], W)
    np.testing.assert_array_equal(read["params/half"].astype("f4"), W)
    assert (read["step"], read["opt/1/0"]) == (10, 3.5)
    with opened(run / "9") as checkpoint:
        assert next(a for a in checkpoint.arrays if a.name == "step").read() == 9


def test_a_tree_without_its_description_has_dotted_names(run, tmp_path):
    item = run / "9" / "state"
    about = (item / "_METADATA").read_bytes()
    (item / "_METADATA").unlink()
    try:
        with opened(item) as checkpoint:
            assert ("params", "w") in {a.path for a in checkpoint.arrays}
    finally:
        (item / "_METADATA").write_bytes(about)


@pytest.mark.parametrize("zarr3", [False, True])
def test_each_way_that_orbax_stores_arrays(zarr3, tmp_path):
    tree = {"a.b": {"c": W}, "texts": {"name": "hello"}, "none": None}
    orbax.PyTreeCheckpointer(use_ocdbt=zarr3, use_zarr3=zarr3).save(tmp_path / "net", tree)
    with opened(tmp_path / "net") as checkpoint:
        (a,) = checkpoint.arrays
        assert a.path == ("a.b", "c")
        np.testing.assert_array_equal(a.read(), W)
        assert checkpoint.metadata == {"texts.name": "hello"}
    orbax.PyTreeCheckpointer().save(tmp_path / "items" / "ema", tree)
    orbax.PyTreeCheckpointer().save(tmp_path / "items" / "params", tree)
    with opened(tmp_path / "items") as checkpoint:
        assert [a.path[0] for a in checkpoint.arrays] == ["ema", "params"]
        assert checkpoint.metadata["ema"] == {"texts.name": "hello"}


def test_missing_chunks_and_arrays_are_errors(tmp_path):
    path = weight_files.orbax(tmp_path)
    (path / "params.enc.0.weight" / "0.0").unlink()
    (path / "params.enc.0.bias" / ".zarray").unlink()
    with opened(path) as checkpoint:
        (finding,) = checkpoint.findings
        assert (finding.kind, finding.severity) == ("missing", "error")
        assert "1 arrays of the tree are not stored (params/enc.0.bias)" in finding.text
        arrays = {a.name: a for a in checkpoint.arrays}
        with pytest.raises(FileFormatError, match="1 of its 1 chunks are missing"):
            arrays["params/enc.0.weight"].read()
        np.testing.assert_array_equal(arrays["params/steps"].read(), 7)


def change(path, text):
    path.write_text(json.dumps(json.loads(path.read_text()) | text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"shape": [1 << 40, 3]}, "limits=Limits(unpacked_bytes"),
        ({"chunks": [1 << 40, 3]}, "a chunk of it has"),
        ({"shape": [4]}, "of as many axes"),
        ({"shape": [4, -3]}, "sizes as counts"),
        ({"chunks": [4, 0]}, "of as many axes"),
        ({"dtype": "<f8"}, "the checkpoint is damaged"),
        ({"dtype": [["x", "<f4"]]}, "is listed but not read"),
        ({"compressor": {"id": "none"}}, "the checkpoint is damaged"),
    ],
)
def test_a_description_that_is_not_true_is_an_error(text, message, tmp_path):
    path = weight_files.orbax(tmp_path)
    change(path / "params.enc.0.weight" / ".zarray", text)
    arrays, (error,) = outcome(path)
    assert message in error
    assert len(arrays) < len(WHOLE)


@pytest.mark.parametrize("error", [AttributeError, NameError, TypeError])
def test_an_error_of_the_program_is_no_damage(error, tmp_path, monkeypatch):
    def wrong(*_):
        raise error("wrong")

    path = weight_files.orbax(tmp_path)
    monkeypatch.setattr(orbax_folders, "_described", wrong)
    with pytest.raises(error, match="wrong"):
        outcome(path)


def test_names_stay_within_the_folder(tmp_path):
    path = weight_files.orbax(tmp_path)
    keys = [{"key": "..", "key_type": 2}, {"key": "/secret/w", "key_type": 2}]
    entry = {"key_metadata": keys, "value_metadata": {"value_type": "jax.Array"}}
    for name in ("../w", "/w", "a//w", "./w", "a\0b"):
        keys[:] = [{"key": name, "key_type": 2}]
        change(path / "_METADATA", {"tree_metadata": {"x": entry}})
        with opened(path) as checkpoint:
            assert checkpoint.arrays == ()
            assert [f.kind for f in checkpoint.findings] == ["empty", "missing"]
    for bad in ({"x": 1}, {"x": {"key_metadata": [], "value_metadata": {"value_type": "a"}}}, 3):
        change(path / "_METADATA", {"tree_metadata": bad})
        assert "in _METADATA" in outcome(path)[1][0]
    assert (
        "at most 1; limits" in outcome(weight_files.orbax(tmp_path / "b"), Limits(members=1))[1][0]
    )


def test_steps_are_in_order_of_their_numbers(tmp_path):
    for name in ("9", "10", "checkpoint_11", "notes", "12.orbax-checkpoint-tmp"):
        (tmp_path / name).mkdir()
    assert [p.name for p in orbax_folders.steps(tmp_path)] == ["9", "10", "checkpoint_11"]
    (tmp_path / "file").mkdir()
    for step in (9, 10):
        weight_files.msgpack(tmp_path).rename(tmp_path / "file" / f"checkpoint_{step}")
    with opened(tmp_path / "file") as checkpoint:
        assert checkpoint.format == "msgpack"
        assert checkpoint.findings[0].text == "checkpoint_10 is read, the last of 2 steps"


def test_a_damaged_folder_is_right_or_one_error(tmp_path):
    path = weight_files.orbax(tmp_path)
    errors = 0
    for file in sorted(p for p in path.rglob("*") if p.is_file() and p.stat().st_size):
        good = file.read_bytes()
        for bad in weight_files.mutations(good, 0, 8):
            file.write_bytes(bad)
            errors += bool(outcome(path)[1])
        file.write_bytes(good)
    assert errors > 20
