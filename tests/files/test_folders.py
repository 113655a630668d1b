"""Weights in several files: the index is followed, what contradicts it is reported."""

import json
import os

import numpy as np
import pytest
from cases import weight_files
from cases.weight_files import ARRAYS, outcome, safetensors_bytes

from wsjax.files.checkpoint import FileFormatError
from wsjax.files.detection import opened

W = np.arange(6, dtype="f4").reshape(2, 3)


def shard(folder, name, **arrays):
    (folder / name).write_bytes(safetensors_bytes(arrays))


def index(folder, places, name="model.safetensors.index.json", **metadata):
    path = folder / name
    path.write_text(json.dumps({"metadata": metadata, "weight_map": places}))
    return path


def findings(checkpoint):
    return {(f.kind, f.severity): f.text for f in checkpoint.findings}


@pytest.mark.parametrize("whole_folder", [False, True])
def test_an_index_is_followed_by_its_own_path_or_its_folders(whole_folder, tmp_path):
    path = weight_files.safetensors_index(tmp_path)
    with opened(tmp_path if whole_folder else path) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert {a.name for a in checkpoint.arrays} == set(ARRAYS)
        for a in checkpoint.arrays:
            np.testing.assert_array_equal(a.read(), ARRAYS[a.name])
        total = sum(a.nbytes for a in ARRAYS.values())
        assert findings(checkpoint) == {
            ("total", "note"): f"the index states 1 bytes in all, its arrays have {total}; the "
            "statement is not used"
        }


def test_a_stray_file_beside_an_index_is_reported_and_not_read(tmp_path):
    shard(tmp_path, "s1.safetensors", a=W, extra=W)
    shard(tmp_path, "model.safetensors", a=W.astype("u1"))
    index(tmp_path, {"a": "s1.safetensors"}, total_size=24)
    with opened(tmp_path) as checkpoint:
        (a,) = checkpoint.arrays
        np.testing.assert_array_equal(a.read(), W)
        texts = [f.text for f in checkpoint.findings]
    assert "model.safetensors lies beside and is not read" in texts
    assert "s1.safetensors has 1 arrays that the index does not place there (extra)" in texts
    assert len(texts) == 2


def test_missing_shards_and_arrays_are_errors_by_name(tmp_path):
    shard(tmp_path, "s1.safetensors", a=W)
    places = {"a": "s1.safetensors", "b": "s1.safetensors", "c": "s2.safetensors"}
    with opened(index(tmp_path, places)) as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["a"]
        texts = [f.text for f in checkpoint.findings if f.severity == "error"]
    assert texts == [
        "shard s2.safetensors is missing: 1 arrays",
        "1 arrays of the index are not in their shards (b)",
    ]
    (tmp_path / "s1.safetensors").unlink()
    assert "none of its 2 shards is there" in outcome(tmp_path)[1][0]


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "sub/x", "..", ".", "", "a\0b"])
def test_shards_lie_beside_their_index(place, tmp_path):
    (tmp_path / "in").mkdir()
    shard(tmp_path, "secret", a=W)
    path = index(tmp_path / "in", {"a": place})
    assert "expected shards as files beside the index" in outcome(path)[1][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "names of files in its weight_map"),
        ('{"weight_map": {}}', "names of files in its weight_map"),
        ('{"weight_map": {"a": 1}}', "names of files in its weight_map"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "unique keys"),
        ('{"weight_map": {"a": "self.json"}}', "shard self.json: expected a file of"),
        ("{", "the index is not JSON"),
    ],
)
def test_a_damaged_index_is_one_error(text, message, tmp_path):
    (tmp_path / "self.json").write_text(text)
    arrays, (error,) = outcome(tmp_path / "self.json")
    assert message in error
    assert not arrays


def test_a_pipe_or_too_many_shards_do_not_hold_up(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "it is neither" in outcome(index(tmp_path, {"a": "pipe"}))[1][0]
    many = {str(i): f"{i}.safetensors" for i in range(901)}
    assert "901 shards, expected at most 900" in outcome(index(tmp_path, many))[1][0]


def test_shards_without_an_index(tmp_path):
    for i in (1, 2, 10):
        shard(tmp_path, f"model-{i}-of-12.safetensors", **{f"layers.{i}.w": W + i})
    with opened(tmp_path) as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["layers.1.w", "layers.2.w", "layers.10.w"]
        np.testing.assert_array_equal(checkpoint.arrays[2].read(), W + 10)
        (finding,) = checkpoint.findings
        assert (finding.kind, finding.severity) == ("missing", "error")
        assert finding.text == "9 of 12 shards are missing (3, 4, 5, ...)"


def test_names_that_restart_in_each_shard_are_kept_apart(tmp_path):
    for i in (1, 2):
        shard(tmp_path, f"model-{i}-of-2.safetensors", **{"layers.0.w": W + i})
    with opened(tmp_path) as checkpoint:
        a, b = checkpoint.arrays
        assert (a.path, b.path) == (
            ("model-1-of-2.safetensors", "layers.0.w"),
            ("model-2-of-2.safetensors", "layers.0.w"),
        )
        np.testing.assert_array_equal(b.read() - a.read(), np.ones((2, 3)))
        assert findings(checkpoint).keys() == {("repeated", "warning")}


def test_the_one_weights_file_of_a_folder(tmp_path):
    with pytest.raises(FileFormatError, match="expected a folder with weights, it is empty"):
        opened(tmp_path).__enter__()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileFormatError, match=r"it holds config\.json"):
        opened(tmp_path).__enter__()
    shard(tmp_path, "first.safetensors", a=W)
    shard(tmp_path, "optimizer.bin", m=W)
    with opened(tmp_path) as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["a"]
        assert findings(checkpoint).keys() == {("stray", "note")}
    shard(tmp_path, "second.safetensors", b=W)
    with pytest.raises(FileFormatError, match=r"several weights files \(first\.s.*: give the path"):
        opened(tmp_path).__enter__()
    shard(tmp_path, "model.safetensors", c=W)
    with opened(tmp_path) as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["c"]
        assert [f.severity for f in checkpoint.findings] == ["warning", "note", "warning"]


def test_a_damaged_index_is_right_or_one_error(tmp_path):
    path = weight_files.safetensors_index(tmp_path)
    good, errors = path.read_bytes(), 0
    for bad in weight_files.mutations(good, 0, 24):
        path.write_bytes(bad)
        errors += bool(outcome(path)[1])
    assert errors > 5


def test_the_usual_name_comes_before_its_variants(tmp_path):
    name = "diffusion_pytorch_model"
    shard(tmp_path, f"{name}.fp16.safetensors", a=W.astype("f2"))
    shard(tmp_path, f"{name}.non_ema.safetensors", a=W)
    with pytest.raises(FileFormatError, match="several weights files"):
        opened(tmp_path).__enter__()
    shard(tmp_path, f"{name}.safetensors", a=W)
    with opened(tmp_path) as checkpoint:
        assert [a.dtype for a in checkpoint.arrays] == ["float32"]
        texts = [f.text for f in checkpoint.findings if f.kind == "stray"]
    assert texts[0] == f"{name}.fp16.safetensors lies beside and is not read"
    assert len(texts) == 2


def test_shards_may_be_links_within_a_cache_alone(tmp_path):
    cache, elsewhere = tmp_path / "models--net", tmp_path / "elsewhere"
    folder, blobs = cache / "snapshots" / "0a1b" / "unet", cache / "blobs"
    for made in (folder, blobs, elsewhere):
        made.mkdir(parents=True)
    shard(blobs, "77", a=W)
    (folder / "s.safetensors").symlink_to(blobs / "77")
    path = index(folder, {"a": "s.safetensors"})
    with opened(path) as checkpoint:
        np.testing.assert_array_equal(checkpoint.arrays[0].read(), W)
    (folder / "s.safetensors").unlink()
    shard(elsewhere, "s.safetensors", a=W)
    (folder / "s.safetensors").symlink_to(elsewhere / "s.safetensors")
    with pytest.raises(FileFormatError, match=r"shard s\.safetensors is a link to elsewhere"):
        opened(path).__enter__()
    path.rename(elsewhere / "index")  # an index that is a link too: both are kept together
    path.symlink_to(elsewhere / "index")
    with opened(path) as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["a"]
    path.unlink()
    (folder / "s.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    with pytest.raises(FileFormatError, match="is a link to elsewhere"):
        opened(folder).__enter__()
