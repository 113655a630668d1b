"""Hostile files of every format through the front door: a result, or one of the two errors.

A thousand mutations of each format with fixed seeds, 500 of each of the two kinds of Orbax's
folders and of Keras's files, which are slow; and in the place of each file a folder, a pipe, a
device, links, a hole of 8 GiB. All in one process whose memory is capped, see
`cases.hostile_weights`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import types
import zipfile

import numpy as np
import pytest
from cases import hostile_weights, torch_by_hand, weight_files
from flax import serialization

from wsjax.files import ContentError, FileFormatError, describe, load
from wsjax.files.keras_files import WEIGHTS

TESTS = pathlib.Path(__file__).parents[1]
W = np.arange(6, dtype="f4").reshape(2, 3)
ODD = "\x1b]0;x\x07\x1b[31m\u202e\n"  # sets a terminal's title and colour, turns text around


def test_a_thousand_mutations_of_every_format(tmp_path):
    pytest.importorskip("h5py")
    places = [str(TESTS.parent), str(TESTS)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(places)}
    program = [sys.executable, "-W", "ignore", hostile_weights.__file__, str(tmp_path), "1000"]
    ran = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(ran.stdout)
    control = found.pop("control")
    assert list(found) == list(hostile_weights.FORMATS)
    for name, figures in found.items():
        assert figures["faults"] == 0, (name, figures["messages"])
        assert figures["events"] == [], name
        assert min(figures["sound"], figures["errors"]) > 20, name  # both happen
        assert figures["sound"] + figures["errors"] > (
            500 if name in hostile_weights.SLOW else 1000
        )
        assert figures["slowest"] < hostile_weights.SECONDS
        assert figures["intact"], name
    assert control["megabytes"] < 1000
    assert len(control["events"]) == 1, "a file beside was opened, and nobody saw it"


def refused(path):
    raise FileFormatError("\x1b")


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        (lambda path: {}["x"], "KeyError"),
        (lambda path: hostile_weights.time.sleep(1), "Slow"),
        (refused, "unprintable"),
        (lambda path: np.zeros(1 << 50), "MemoryError"),
    ],
)
def test_the_battery_sees_what_is_wrong(reads, message, tmp_path, monkeypatch):
    monkeypatch.setattr(hostile_weights, "SECONDS", 0.1)
    watch = types.SimpleNamespace(on=False)
    path = weight_files.npy(tmp_path)
    assert hostile_weights.wrong(path, watch) == (None, True)
    monkeypatch.setattr(hostile_weights, "load", reads)
    fault, _ = hostile_weights.wrong(path, watch)
    assert message in fault


def named(folder, kind, name):
    """A file of a format with an array of this name."""
    if kind == "safetensors":
        (folder / "net").write_bytes(weight_files.safetensors_bytes({name: W}))
    elif kind == "torch":
        torch_by_hand.write(folder / "net", {name: W, "loss": name})
    elif kind == "npz":
        np.savez(folder / "net.npz", **{name: W})
        (folder / "net.npz").rename(folder / "net")
    elif kind == "msgpack":
        (folder / "net").write_bytes(serialization.msgpack_serialize({name: W, "x": name}))
    elif kind == "onnx":
        tensor = weight_files.onnx_tensor(name, W)
        (folder / "net").write_bytes(weight_files.onnx_model((5, tensor)))
    elif kind == "gguf":
        (folder / "net").write_bytes(weight_files.gguf_bytes([(name, (2, 3), 0, W.tobytes())]))
    elif kind == "hdf5":
        pytest.importorskip("h5py")
        weight_files.hdf5(folder / "net", {name: W})
    return folder / "net"


KINDS = ("safetensors", "torch", "npz", "msgpack", "onnx", "gguf", "hdf5")


@pytest.mark.parametrize("kind", KINDS)
def test_names_do_not_reach_the_terminal_as_they_are(kind, tmp_path):
    path = named(tmp_path, kind, f"{ODD}fc.weight")
    params, facts = load(path)
    (name,) = params
    assert ODD in name  # as it is stored: only what is printed is escaped
    bad = np.full((2, 3), np.nan, "f4")
    data = path.read_bytes()
    texts = [str(facts), *(f.text for f in facts.findings)]
    path.write_bytes(data.replace(W.tobytes(), bad.tobytes()))
    with pytest.raises((ContentError, FileFormatError)) as error:
        load(path)
    assert all(c.isprintable() for text in [*texts, str(describe(path))] for c in text)
    assert all(c.isprintable() or c == "\n" for c in str(error.value))


@pytest.mark.parametrize("kind", ["torch", "npz", "keras"])
def test_members_named_outside_are_read_where_they_are(kind, tmp_path):
    """A zip is never unpacked to disk, whatever its members are called."""
    if kind == "keras":
        pytest.importorskip("h5py")
    folder = tmp_path / "inside"
    folder.mkdir()
    path = weight_files.FORMATS[kind](folder)
    with zipfile.ZipFile(path) as file:
        members = {m.filename: file.read(m) for m in file.infolist()}
    root = "../../" if kind == "npz" else ""
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(f"{root}{name}", data)
        file.writestr("../../outside", b"x")
        file.writestr("/outside", b"x")
    before = sorted(tmp_path.rglob("*"))
    params, _ = load(path)
    assert len(params) >= 3
    assert sorted(tmp_path.rglob("*")) == before


BOMB = bytes(300 << 20)  # zeros: 300 kB as a zip has them


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """Zips whose one large member unpacks to a thousand times the file's size."""
    folder = tmp_path_factory.mktemp("bombs")
    head = weight_files.npy(folder).read_bytes()[:128]
    shape = b"(78643200, 1), }".ljust(len(b"(4, 3), }") + 8)
    inside = {
        "torch": ("net/data.pkl", b"\x80\x02" + BOMB[: 32 << 20]),
        "npz": ("w.npy", head.replace(b"(4, 3), }        ", shape[:17]) + BOMB),
        "keras": (WEIGHTS, b"\x89HDF\r\n\x1a\n" + BOMB),
    }
    for kind, (name, data) in inside.items():
        with zipfile.ZipFile(folder / kind, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            file.writestr(name, data)
    return folder


@pytest.mark.parametrize("kind", ["torch", "npz", "keras"])
def test_bombs_are_refused_before_they_are_unpacked(kind, bombs):
    assert (bombs / kind).stat().st_size < 2 << 20
    tracemalloc.start()
    facts = describe(bombs / kind)
    with pytest.raises(
        (ContentError, FileFormatError), match=r"expected at most|has compressed members"
    ):
        load(bombs / kind)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert any(f.severity == "error" for f in facts.findings)


def test_a_file_without_permission_is_an_error_of_the_disk():
    if not hasattr(os, "seteuid"):
        pytest.skip("no users here")
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        path = weight_files.safetensors(folder)
        path.chmod(0)
        user = os.geteuid()
        if not user:
            os.seteuid(65534)
        try:
            for read in (load, describe):
                with pytest.raises(PermissionError, match=r"net\.safetensors"):
                    read(path)
        finally:
            os.seteuid(user)
    finally:
        shutil.rmtree(folder)


def test_links_to_themselves_are_no_files(tmp_path):
    path = tmp_path / "loop"
    path.symlink_to("loop")
    for read in (load, describe):
        with pytest.raises(FileNotFoundError, match="expected a file or folder of weights"):
            read(path)
    index = weight_files.safetensors_index(tmp_path)
    shard = tmp_path / "net-00001-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(shard.name)
    with pytest.raises(FileFormatError, match="expected a file or a folder of weights"):
        load(index)
    (tmp_path / "again").symlink_to(".")  # a folder within itself
    assert [f.kind for f in describe(tmp_path / "again" / "again" / index.name).findings]


def test_large_lists_in_folders_of_orbax_are_not_read(tmp_path):
    """TensorStore takes memory for a file whole, and ends the process where it gets none."""
    path = weight_files.orbax(tmp_path)
    for name, message in {
        "_METADATA": "_METADATA has 8589934592 bytes",
        "params.enc.0.weight/.zarray": "zarray has 8589934592 bytes",
        "params.enc.0.weight/0.0": "a chunk has 8589934592 bytes, expected 48 at most",
    }.items():
        data = (path / name).read_bytes()
        os.truncate(path / name, 8 << 30)
        with pytest.raises((ContentError, FileFormatError), match=message):
            load(path)
        (path / name).write_bytes(data)
    (path / "params.enc.0.weight/0.0").unlink()
    os.mkfifo(path / "params.enc.0.weight/0.0")
    with pytest.raises(FileFormatError, match=r"0\.0 is no file"):
        load(path)
