"""Runs packed into files of limited size, and unpacked elsewhere."""

import io
import json
import tarfile

import numpy as np
import pytest

from experiments.lib import exports, runs
from wsjax import storage
from wsjax.storage import DamagedError, LockedError
from wsjax.training.log import read_records


def make(folder, name, step, size=100, done=True):
    """A run with one checkpoint, as `fit` leaves it, and one older."""
    home = folder / "x" / "smoke" / name
    for number in (step - 1, step):
        for item in ("best", "train"):
            (home / str(number) / item).mkdir(parents=True)
            bits = np.random.default_rng([number, len(item)]).bytes(size)
            (home / str(number) / item / "array").write_bytes(bits)
        (home / str(number) / "checkpoint.json").write_text("{}")
    (home / "metrics.jsonl").write_text(f"{name}\n")
    (home / ".lock").touch()
    if done:
        storage.write_sealed(
            home / "record.json", {"records": [{"experiment": "x", "row": name, "seed": 0}]}
        )
    return home


def files(home):
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def test_what_is_packed_is_unpacked_elsewhere(tmp_path):
    there, here, out = (tmp_path / k for k in ("there", "here", "out"))
    done, stopped = make(there, "done", 5), make(there, "stopped", 3, done=False)
    (begun := there / "x" / "smoke" / "begun").mkdir()
    exports.write([done, stopped, begun, done], there, out, {"measured": [1.5]})
    about, names = exports.read(out, here)
    assert about == {"measured": [1.5]}
    assert names == ["x/smoke/done", "x/smoke/stopped"]
    best = {"metrics.jsonl", "record.json", "5/best/array", "5/checkpoint.json"}
    assert set(files(here / names[0])) == best
    resumes = {"metrics.jsonl", "3/best/array", "3/train/array", "3/checkpoint.json"}
    assert set(files(here / names[1])) == resumes
    for name in names:
        assert files(here / name).items() <= files(there / name).items()
    assert runs.finished(here / names[0]) == runs.finished(done)
    assert read_records(out / "records-1.jsonl") == runs.finished(done)
    assert {p.name for p in here.iterdir()} == {"x"}


def test_trials_of_learning_rates_are_packed(tmp_path):
    sweep = tmp_path / "x" / "smoke" / "a-rates-1f2e3d4c"
    make(tmp_path, f"{sweep.name}/0.01", 4, done=False)
    (sweep / "rates.json").write_text("{}")
    exports.write([sweep], tmp_path, tmp_path / "out", {})
    exports.read(tmp_path / "out", tmp_path / "here")
    kept = {"rates.json", "0.01/metrics.jsonl"}
    kept |= {f"0.01/4/{k}" for k in ("best/array", "train/array", "checkpoint.json")}
    assert set(files(tmp_path / "here" / "x" / "smoke" / sweep.name)) == kept


def test_no_file_is_over_the_cap(tmp_path):
    """Small runs share a file, a large one is in parts; records go on in a second file."""
    out, cap = tmp_path / "out", 25_000
    homes = [make(tmp_path, f"small{i}", 2) for i in range(3)]
    homes.append(make(tmp_path, "large", 2, size=3 * cap))
    exports.write(homes, tmp_path, out, {}, cap)
    sizes = {p.name: p.stat().st_size for p in out.iterdir()}
    assert max(sizes.values()) <= cap
    packed = storage.read_sealed(out / exports.MANIFEST)["archives"]
    assert [len(a["runs"]) for a in packed] == [1, 2, 1]
    assert [len(a["files"]) for a in packed] == [4, 1, 1]
    exports.read(out, elsewhere := tmp_path / "elsewhere")
    assert len(files(elsewhere / "x" / "smoke" / "large")["2/best/array"]) == 3 * cap
    (other := tmp_path / "few").mkdir()
    for _ in range(2):  # those that are there are not added again
        exports._add_records([{"n": i, "text": "a" * 60} for i in range(5)], other, 400)
        lines = [len(read_records(path)) for path in exports.record_files(other)]
        assert len(lines) > 1
        assert sum(lines) == 5
    assert all(path.stat().st_size <= 400 for path in exports.record_files(other))


def test_an_export_is_brought_up_to_date(tmp_path):
    out = tmp_path / "out"
    home, other = make(tmp_path, "a", 2, done=False), make(tmp_path, "b", 2, size=9000)
    exports.write([home, other], tmp_path, out, {}, 25_000)
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("runs-*")}
    (home / "2").rename(home / "7")
    exports.write([home, other], tmp_path, out, {}, 25_000)
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("runs-*")}
    assert len(before) == len(after) == 2
    assert len(before.items() & after.items()) == 1  # that of `b` is as it was
    exports.read(out, tmp_path / "new")
    assert (tmp_path / "new" / "x" / "smoke" / "a" / "7").exists()
    assert exports.read(tmp_path / "none", tmp_path) == ({}, [])


@pytest.mark.parametrize(
    ("here", "there", "replaced"),
    [
        ((2, False), (3, False), True),
        ((3, False), (2, True), True),
        ((3, False), (3, False), False),
        ((3, False), (2, False), False),
        ((2, True), (3, True), False),
        ((2, True), (3, False), False),
    ],
)  # the step, and whether the run is finished
def test_a_run_that_is_there_is_replaced_by_one_that_is_further(tmp_path, here, there, replaced):
    """Back on a machine the run goes on as the other left it, and is packed so."""
    out, folder = tmp_path / "out", tmp_path / "here"
    exports.write([make(tmp_path, "a", there[0], done=there[1])], tmp_path, out, {})
    home = make(folder, "a", here[0], done=here[1])
    before = files(home)
    exports.read(out, folder)
    assert (files(home) != before) is replaced
    assert (exports.newest(home).name, (home / "record.json").exists()) == (
        (str(there[0]), there[1]) if replaced else (str(here[0]), here[1])
    )
    assert {p.name for p in folder.iterdir()} == {"x"}


def test_a_sweep_that_is_further_replaces_ours_unless_it_is_under_way(tmp_path):
    out, folder, name = tmp_path / "out", tmp_path / "here", "a-rates-1f2e3d4c"
    for rate in ("0.01", "0.1"):
        make(tmp_path, f"{name}/{rate}", 4, done=False)
    exports.write([tmp_path / "x" / "smoke" / name], tmp_path, out, {})
    home = make(folder, f"{name}/0.01", 5, done=False).parent
    for path in (home, home / "rates.json"):
        with storage.locked(path), pytest.raises(LockedError):
            exports.read(out, folder)
    exports.read(out, folder)
    assert {p.name: exports.newest(p).name for p in home.iterdir()} == {"0.01": "4", "0.1": "4"}


def repack(out, change):
    """Replaces the archive of an export by another one with a seal and sums that are right."""
    manifest = storage.read_sealed(out / exports.MANIFEST)
    (archive,) = manifest["archives"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        change(tar, archive)
    file = archive["files"][0]
    file |= storage.fingerprint(buffer.getvalue())
    (out / file["name"]).write_bytes(buffer.getvalue())
    storage.write_sealed(out / exports.MANIFEST, manifest)


def member(name, kind=tarfile.REGTYPE, link=""):
    def change(tar, archive):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        tar.addfile(info)

    return change


@pytest.mark.parametrize(
    "change",
    [
        member("../../outside"),
        member("x/smoke/a/../../../../outside"),
        member("/tmp/outside"),
        member("x/smoke/other/file"),
        member("x/smoke/a"),
        member("x/smoke/a/link", tarfile.SYMTYPE, "/etc"),
        member("x/smoke/a/link", tarfile.LNKTYPE, "x/smoke/a/file"),
        member("x/smoke/a/pipe", tarfile.FIFOTYPE),
        lambda tar, archive: tar.fileobj.write(b"not a tar" * 100),
        lambda tar, archive: archive.update(runs=["../x/a"]),
        lambda tar, archive: archive.update(runs=["x/../a"]),
        lambda tar, archive: archive["files"].append({"name": "../a", "sha256": "", "bytes": 0}),
    ],
)
def test_nothing_is_unpacked_outside_of_a_runs_folder(tmp_path, change):
    there, here, out = tmp_path / "there", tmp_path / "deep" / "er" / "here", tmp_path / "out"
    exports.write([make(there, "a", 2)], there, out, {})
    repack(out, change)
    with pytest.raises(DamagedError):
        exports.read(out, here)
    assert not [p for p in (tmp_path / "deep").rglob("*") if p.is_file()]
    assert not (tmp_path / "outside").exists()


def test_altered_and_missing_files_are_named(tmp_path):
    there, here, out = (tmp_path / k for k in ("there", "here", "out"))
    exports.write([make(there, "a", 2)], there, out, {})
    (path,) = out.glob("runs-*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"1")
    with pytest.raises(DamagedError, match=f"{path.name} is missing or was altered"):
        exports.read(out, here)
    path.unlink()
    with pytest.raises(DamagedError, match=f"{path.name} is missing or was altered"):
        exports.read(out, here)
    data = json.loads((out / exports.MANIFEST).read_text())
    (out / exports.MANIFEST).write_text(json.dumps({**data, "about": {"measured": [1]}}))
    with pytest.raises(DamagedError, match="altered"):
        exports.read(out, here)
