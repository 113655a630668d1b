"""Zoos on disk, in either precision: loaded as they were saved, or an error that names the file."""

import dataclasses
import json

import numpy as np
import pytest

from wsjax import architectures, storage
from wsjax.storage import DamagedError
from wsjax.zoos import Zoo, concatenate, split, store

SPECS = architectures.mlp([1, 4, 1], "tanh"), architectures.cnn([1, 2], [2])


def zoo(seed=0):
    rng, parts = np.random.default_rng(seed), []
    for i, spec in enumerate(SPECS):
        vectors = rng.normal(size=(3, spec.count)).astype(np.float32)
        labels = {k: rng.uniform(size=3).astype(np.float32) for k in ("test_accuracy", "rate")}
        labels["rate"] = labels["rate"] * 1e-7
        parts.append(Zoo.of_spec(vectors, spec, labels, runs=np.array([0, 0, 1]) + 10 * i))
    whole = concatenate(parts)
    return whole.select(rng.permutation(6))


@pytest.fixture
def half(tmp_path):
    path = tmp_path / "zoos" / "conv3.mnist"
    store.save(path, zoo(), {"recipe": {"seed": 3}}, "float16")
    return path


def equal(one, two):
    assert one.specs == two.specs
    for name in ("vectors", "which", "runs"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in ("labels", "splits"):
        before, after = getattr(one, name), getattr(two, name)
        assert set(before) == set(after)
        for key, values in before.items():
            np.testing.assert_array_equal(values, after[key])


def test_a_zoo_comes_back_bit_for_bit(tmp_path):
    want = split(zoo(), {"train": 2, "test": 1}, 0)
    manifest = store.save(tmp_path / "mine", want, {"note": "made here"})
    loaded, same = store.load(tmp_path / "mine")
    assert manifest == same
    assert manifest["facts"] == {"note": "made here"}
    equal(loaded, want)
    assert loaded.vectors.dtype == loaded.labels["rate"].dtype == np.float32


def test_half_precision_rounds_weights_and_nothing_else(half):
    found, manifest = store.load(half)
    assert manifest["facts"] == {"recipe": {"seed": 3}}
    equal(found, store.rounded(zoo()))
    error = np.abs(found.vectors - zoo().vectors).max()
    assert 0 < error < 2e-3
    size = sum(p.stat().st_size for p in half.parent.glob("*.safetensors"))
    assert size < 2 * sum(3 * s.count for s in SPECS) + 400


def test_saving_again_replaces(half):
    store.save(half, zoo(1))
    equal(store.load(half)[0], zoo(1))
    assert sorted(p.suffix for p in half.parent.iterdir()) == [".csv", ".json", ".safetensors"]


def test_a_zoo_that_cannot_be_written_leaves_the_old_one(half, monkeypatch):
    with pytest.raises(ValueError, match="expected facts that are JSON values"):
        store.save(half, zoo(1), {"made": object()})
    monkeypatch.setattr(store, "FILE_BYTES", 100)
    with pytest.raises(ValueError, match="expected files of at most 100 bytes, got"):
        store.save(half, zoo(1))
    monkeypatch.undo()
    equal(store.load(half)[0], store.rounded(zoo()))


@pytest.mark.parametrize("ending", [".safetensors", ".csv", ".json"])
def test_nothing_half_written_is_a_zoo(half, monkeypatch, ending):
    write = storage.write_bytes

    def fail(path, data):
        if path.suffix == ending:
            raise OSError("disk full")
        write(path, data)

    monkeypatch.setattr(storage, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        store.save(half, zoo(1))
    with pytest.raises(FileNotFoundError, match="expected a stored zoo at"):
        store.load(half)
    monkeypatch.undo()
    store.save(half, zoo(1))
    equal(store.load(half)[0], zoo(1))


def test_damage_is_named(half):
    for ending in (".safetensors", ".csv"):
        file = half.parent / (half.name + ending)
        whole = file.read_bytes()
        for data in (whole[:40] + b"?" + whole[41:], whole[:-1] + bytes([whole[-1] ^ 1])):
            file.write_bytes(data)
            with pytest.raises(DamagedError, match=rf"{half.name}{ending} was altered"):
                store.load(half)
        for data in (whole[:-1], whole + b"x", b""):
            file.write_bytes(data)
            with pytest.raises(DamagedError, match=rf"{half.name}{ending} has {len(data)} bytes"):
                store.load(half)
        file.unlink()
        for _ in range(2):
            with pytest.raises(DamagedError, match=f"{ending} is missing or no plain file"):
                store.load(half)
            elsewhere = half.parent / "elsewhere"
            elsewhere.write_bytes(whole)
            file.unlink(missing_ok=True)
            file.symlink_to(elsewhere)
        file.unlink()
        file.write_bytes(whole)


def test_a_damaged_manifest_is_named(half, monkeypatch):
    manifest = half.parent / (half.name + ".json")
    whole = manifest.read_text()
    for text, message in (
        ("", "is not JSON"),
        ("[]", "was altered"),
        (whole.replace('"seed": 3', '"seed": 4'), "was altered"),
        (whole.replace('"relu"', '"tanh"'), "was altered"),
    ):
        manifest.write_text(text)
        with pytest.raises(DamagedError, match=rf"json {message}"):
            store.load(half)
    good = json.loads(whole)
    for change, message in (
        ({"format": 9}, "expected format 1, got 9"),
        ({"specs": None}, "json is damaged"),
        ({"files": {}}, "json is damaged"),
    ):
        storage.write_sealed(manifest, {**good, **change})
        with pytest.raises(DamagedError, match=message):
            store.load(half)
    manifest.write_text(whole)
    with monkeypatch.context() as small:
        small.setattr(store, "MANIFEST_BYTES", 100)
        with pytest.raises(DamagedError, match=r"json has \d+ bytes, expected at most 100"):
            store.load(half)
    manifest.rename(half.parent / "elsewhere")
    with pytest.raises(FileNotFoundError, match="expected a stored zoo at"):
        store.load(half)
    manifest.symlink_to(half.parent / "elsewhere")
    with pytest.raises(DamagedError, match="json is missing or no plain file"):
        store.load(half)


def test_files_that_agree_with_their_sums_but_not_with_each_other(half):
    manifest = half.parent / (half.name + ".json")
    good = json.loads(manifest.read_text())
    table = half.parent / (half.name + ".csv")
    lines = table.read_text().splitlines()
    for text, message in (
        ("\n".join(lines[:-1]), "expected 6 lines"),
        ("\n".join(["spec,run,a,b", *lines[1:]]), "expected 6 lines"),
        ("\n".join([lines[0], "0" + lines[1][1:], "0" + lines[2][1:], *lines[3:]]), "float16"),
        ("\n".join([lines[0], "x" + lines[1][1:], *lines[2:]]), "invalid literal"),
    ):
        table.write_text(text)
        files = {**good["files"], table.name: storage.fingerprint(text.encode())}
        storage.write_sealed(manifest, {**good, "files": files})
        with pytest.raises(DamagedError, match=message):
            store.load(half)


def test_what_cannot_be_stored_is_an_error(tmp_path):
    good = zoo()
    large = good.vectors.copy()
    large[2, 0] = 1e5
    with pytest.raises(ValueError, match="expected weights of at most 65504, 1 networks"):
        store.save(tmp_path / "a", dataclasses.replace(good, vectors=large), dtype="float16")
    labels = {**good.labels, "rate": np.full(6, np.nan, np.float32)}
    with pytest.raises(ValueError, match=r"NaN or infinity in \['rate'\]"):
        store.save(tmp_path / "a", dataclasses.replace(good, labels=labels))
    labels = {"a rate": good.labels["rate"]}
    with pytest.raises(ValueError, match=r"named as identifiers, got \['a rate'\]"):
        store.save(tmp_path / "a", dataclasses.replace(good, labels=labels))
    with pytest.raises(ValueError, match=r"a dtype of .*, got 'int8'"):
        store.save(tmp_path / "a", good, dtype="int8")
    assert not list(tmp_path.iterdir())
