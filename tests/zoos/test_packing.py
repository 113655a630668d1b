"""Zoos packed into half precision and a table: back as they went, or refused by name."""

import dataclasses
import json

import numpy as np
import pytest

from wsjax import architectures
from wsjax.zoos import Zoo, concatenate, packing

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
def packed(tmp_path):
    path = tmp_path / "zoos" / "conv3.mnist"
    packing.pack(path, zoo(), {"recipe": {"seed": 3}})
    return path


def test_a_packed_zoo_comes_back_rounded_and_its_labels_exact(packed):
    want = packing.halved(zoo())
    found, manifest = packing.unpack(packed)
    assert manifest["facts"] == {"recipe": {"seed": 3}}
    assert found.specs == want.specs
    for name in ("vectors", "which", "runs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(want, name))
    for name, values in want.labels.items():
        np.testing.assert_array_equal(found.labels[name], values)
    error = np.abs(found.vectors - zoo().vectors).max()
    assert 0 < error < 2e-3
    size = sum(p.stat().st_size for p in packed.parent.glob("*.safetensors"))
    assert size < 2 * sum(3 * s.count for s in SPECS) + 400


def test_packing_again_replaces(packed):
    other = zoo(1)
    packing.pack(packed, other, {})
    found, _ = packing.unpack(packed)
    np.testing.assert_array_equal(found.vectors, packing.halved(other).vectors)
    assert sorted(p.suffix for p in packed.parent.iterdir()) == [".csv", ".json", ".safetensors"]


def test_a_zoo_that_cannot_be_written_leaves_the_old_one(packed):
    with pytest.raises(TypeError):
        packing.pack(packed, zoo(1), {"made": object()})
    found, _ = packing.unpack(packed)
    np.testing.assert_array_equal(found.vectors, packing.halved(zoo()).vectors)


def test_damage_is_named(packed):
    for ending in (".safetensors", ".csv"):
        file = packed.parent / (packed.name + ending)
        whole = file.read_bytes()
        for data in (whole[:-1], whole[:40] + b"?" + whole[41:], b""):
            file.write_bytes(data)
            with pytest.raises(ValueError, match=rf"{packed.name}{ending} was altered"):
                packing.unpack(packed)
        file.unlink()
        with pytest.raises(ValueError, match=f"{ending} is missing or no plain file"):
            packing.unpack(packed)
        file.write_bytes(whole)
    manifest = packed.parent / (packed.name + ".json")
    for text in ("", "[]", '{"format": 9}', '{"format": 1}'):
        manifest.write_text(text)
        with pytest.raises(ValueError, match="json is damaged"):
            packing.unpack(packed)
    manifest.unlink()
    with pytest.raises(FileNotFoundError, match="expected a packed zoo at"):
        packing.unpack(packed)


def test_files_that_agree_with_their_sums_but_not_with_each_other(packed):
    manifest = packed.parent / (packed.name + ".json")
    good = json.loads(manifest.read_text())
    table = packed.parent / (packed.name + ".csv")
    lines = table.read_text().splitlines()
    for text, message in (
        ("\n".join(lines[:-1]), "expected 6 lines"),
        ("\n".join(["spec,run,a,b", *lines[1:]]), "expected 6 lines"),
        ("\n".join([lines[0], "0" + lines[1][1:], "0" + lines[2][1:], *lines[3:]]), "float16"),
        ("\n".join([lines[0], "x" + lines[1][1:], *lines[2:]]), "invalid literal"),
    ):
        table.write_text(text)
        files = {**good["files"], table.name: packing._fingerprint(text.encode())}
        manifest.write_text(json.dumps({**good, "files": files}))
        with pytest.raises(ValueError, match=message):
            packing.unpack(packed)


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    good = zoo()
    large = good.vectors.copy()
    large[2, 0] = 1e5
    with pytest.raises(ValueError, match="expected weights of at most 65504, 1 networks"):
        packing.pack(tmp_path / "a", dataclasses.replace(good, vectors=large), {})
    labels = {**good.labels, "rate": np.full(6, np.nan, np.float32)}
    with pytest.raises(ValueError, match=r"NaN or infinity in \['rate'\]"):
        packing.pack(tmp_path / "a", dataclasses.replace(good, labels=labels), {})
    assert not list(tmp_path.iterdir())
