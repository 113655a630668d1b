"""The factory's blocks, on a zoo of which no network takes any training."""

import dataclasses
import json
import os
import signal
from typing import NamedTuple

import jax
import numpy as np
import pytest

from wsjax import architectures, storage
from wsjax.storage import DamagedError
from wsjax.training.progress import Interrupted
from wsjax.zoos import Zoo, factory, store
from wsjax.zoos.factory import Job, UnfinishedError

SPEC = architectures.mlp([1, 2, 1], "tanh")


@dataclasses.dataclass(frozen=True)
class Recipe:
    networks: int = 10
    seed: int = 0
    scale: float = 1.0


class Block(NamedTuple):
    numbers: tuple[int, ...]

    @property
    def name(self):
        return factory.block_name(f"{self.numbers[0]:06d}", self.numbers)

    @property
    def size(self):
        return len(self.numbers)


def job(recipe=Recipe(), made=None, images=None):
    """Blocks of three networks; `made` receives the numbers of those that are made."""

    def start(devices):
        def one(block):
            def run():
                (made if made is not None else []).append(block.numbers)
                draws = [np.random.default_rng((recipe.seed, i)) for i in block.numbers]
                vectors = [recipe.scale * draw.normal(size=SPEC.count) for draw in draws]
                return {"vectors": np.array(vectors, np.float32)}

            return 0.25, run, {"networks": list(block.numbers), "route": "none"}

        return one

    def collect(blocks):
        numbers = np.concatenate([b.numbers for b, _ in blocks])
        vectors = np.concatenate([arrays["vectors"] for _, arrays in blocks])
        zoo = Zoo.of_spec(vectors, SPEC, {"number": numbers.astype(np.float32)})
        return zoo, {"excluded": {"count": 0}}

    numbers = range(recipe.networks)
    blocks = [Block(tuple(numbers[i : i + 3])) for i in numbers[::3]]
    return Job("toy", recipe, ("networks",), blocks, start, collect, "MIT", images)


@pytest.fixture
def made(tmp_path):
    """A folder of a cache, the zoo in it and its manifest."""
    cache = tmp_path / "made"
    zoo, manifest = factory.make(job(), cache)
    (folder,) = cache.iterdir()
    return folder, zoo, manifest


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob("block-*.safetensors"))}


def test_the_manifest_describes_the_zoo(made):
    folder, zoo, manifest = made
    np.testing.assert_array_equal(zoo.labels["number"], np.arange(10))
    assert manifest == storage.read_sealed(folder / "manifest.json")
    assert manifest["recipe"] == {"networks": 10, "seed": 0, "scale": 1.0}
    assert (manifest["networks"], manifest["runs"], manifest["labels"]) == (10, 10, ["number"])
    assert manifest["made_on"] == [f"{jax.device_count()} x {jax.devices()[0].device_kind}"]
    assert manifest["versions"] == [storage.versions(*factory.PACKAGES)]
    assert (manifest["routes"], manifest["compile_seconds"]) == (["none"], 0.25)
    assert manifest["excluded"] == {"count": 0}
    assert set(manifest["files"]) == set(contents(folder))
    for name, data in contents(folder).items():
        assert manifest["files"][name] == storage.fingerprint(data)


def test_a_zoo_is_found_again_and_reused_by_a_larger_one(made):
    folder, zoo, manifest = made
    again = []
    found, same = factory.make(job(made=again), folder.parent)
    assert (again, same) == ([], manifest)
    np.testing.assert_array_equal(found.vectors, zoo.vectors)
    large, _ = factory.make(job(Recipe(networks=13), again), folder.parent)
    assert again == [(9, 10, 11), (12,)]  # the last block of ten networks was no whole one
    np.testing.assert_array_equal(large.vectors[:10], zoo.vectors)
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    other, _ = factory.make(job(Recipe(seed=1)), folder.parent)
    assert not np.intersect1d(other.vectors, zoo.vectors).size


def test_without_a_cache_nothing_is_kept(made):
    zoo, manifest = factory.make(job())
    np.testing.assert_array_equal(zoo.vectors, made[1].vectors)
    assert manifest["files"] == made[2]["files"]


def test_an_interrupted_zoo_resumes(made, tmp_path, monkeypatch):
    write, again = store.write, []

    def interrupted(path, *arguments):
        if len(again) == 3:
            raise KeyboardInterrupt
        write(path, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(store, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            factory.make(job(made=again), tmp_path)
    folder = job().folder(tmp_path)
    assert len(contents(folder)) == 2
    assert factory.unfinished(job(), tmp_path) == 4
    # a process that was killed between the two files of a block
    (next(iter(sorted(folder.glob("block-*.json"))))).unlink()
    again.clear()
    zoo, manifest = factory.make(job(made=again), tmp_path)
    assert again == [(0, 1, 2), (6, 7, 8), (9,)]
    assert contents(folder) == contents(made[0])
    assert factory.unfinished(job(), tmp_path) == 0
    np.testing.assert_array_equal(zoo.vectors, made[1].vectors)
    assert manifest["files"] == made[2]["files"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 3])
def test_a_signal_ends_it_after_the_block_being_made(made, tmp_path, number, at):
    class Interrupting(list):
        def append(self, numbers):
            super().append(numbers)
            if len(self) == at + 1:
                os.kill(os.getpid(), number)

    again = Interrupting()
    left = {1: 4, 3: 0}[at]
    with pytest.raises(Interrupted, match=f"stopped with {left} networks of .*same command"):
        factory.make(job(made=again), tmp_path)
    folder = job().folder(tmp_path)
    assert len(contents(folder)) == len(again) == at + 1
    assert factory.unfinished(job(), tmp_path) == left
    zoo, manifest = factory.make(job(made=again), tmp_path)
    assert len(again) == 4
    assert not list(folder.glob(".*"))
    assert contents(folder) == contents(made[0])
    assert manifest["files"] == made[2]["files"]
    np.testing.assert_array_equal(zoo.vectors, made[1].vectors)


def test_two_shards_are_one_zoo(made, tmp_path):
    with pytest.raises(UnfinishedError, match=r"2 of 4 blocks in .* are not finished, such as"):
        factory.make(job(), tmp_path / "two", (0, 2))
    folder = job().folder(tmp_path / "two")
    assert not (folder / "manifest.json").exists()
    zoo, manifest = factory.make(job(), tmp_path / "two", (1, 2))
    assert contents(folder) == contents(made[0])
    assert manifest["files"] == made[2]["files"]
    np.testing.assert_array_equal(zoo.vectors, made[1].vectors)
    for shard in ((2, 2), (-1, 2)):
        with pytest.raises(ValueError, match=rf"expected a shard .* got \({shard[0]}, 2\)"):
            factory.make(job(), tmp_path / "two", shard)


def cut(path, about):
    path.write_bytes(path.read_bytes()[:-5])


def alter(path, about):
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def forge(path, about):
    text = json.loads(about.read_text())
    about.write_text(json.dumps(text | {"bytes": text["bytes"] + 1}))


def link(path, about):
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


HARMS = {
    "cut": (cut, r"safetensors has \d+ bytes, expected"),
    "alter": (alter, "safetensors was altered"),
    "forge": (forge, "json was altered"),
    "no JSON": (lambda path, about: about.write_text("{"), "json is not JSON"),
    "lose": (lambda path, about: path.unlink(), "safetensors is missing or no plain file"),
    "link": (link, "safetensors is missing or no plain file"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_block_is_named_set_aside_and_made_again(made, harm):
    folder, zoo, _ = made
    whole = contents(folder)
    path = sorted(folder.glob("block-*.safetensors"))[1]
    for n in (1, 2):
        do, message = HARMS[harm]
        do(path, path.with_suffix(".json"))
        with pytest.raises(DamagedError, match=f"{path.stem}.{message}"):
            factory.read(job(), folder)
        again = []
        words = rf"(?s){message}.*kept as {path.stem}\*\.damaged-{n}, and made again"
        with pytest.warns(UserWarning, match=words):
            found, _ = factory.make(job(made=again), folder.parent)
        assert again == [(3, 4, 5)]
        assert contents(folder) == whole
        assert list(folder.glob(f"{path.stem}.json.damaged-{n}"))
        np.testing.assert_array_equal(found.vectors, zoo.vectors)


def test_a_folder_of_other_images_or_of_another_recipe_is_not_used(tmp_path):
    images = {"sha256": "a", "source": "one place"}
    factory.make(job(images=images), tmp_path)
    with pytest.raises(DamagedError, match=r"other images: expected sha256 a \(one place\), got b"):
        factory.make(job(images={**images, "sha256": "b"}), tmp_path)
    other = job(Recipe(scale=2.0), images=images)
    job(images=images).folder(tmp_path).rename(other.folder(tmp_path))
    with pytest.raises(DamagedError, match=r"another recipe: scale is 1\.0, expected 2\.0"):
        factory.make(other, tmp_path)
    begun = other.folder(tmp_path) / "begun.json"
    begun.write_text(begun.read_text().replace("1.0", "2.0"))
    with pytest.raises(DamagedError, match=r"begun\.json was altered"):
        factory.make(other, tmp_path)


def test_an_array_beyond_the_limit_is_not_read(made, monkeypatch):
    monkeypatch.setattr(store, "FILE_BYTES", 50)
    with pytest.raises(DamagedError, match=r"has \d+ bytes, expected 50"):
        factory.read(job(), made[0])
