"""Mutations: seeded, and never without effect."""

import functools

import numpy as np
import pytest

from experiments.faults import mutators

TEXT = b'{"step": 10, "loss": 0.25}\n{"step": 20, "loss": 0.125}\n'
BYTES = bytes(range(256))


@pytest.mark.parametrize("data", [TEXT, BYTES, b"0"], ids=["text", "bytes", "one byte"])
def test_every_seed_changes_the_bytes_the_same_way_each_time(data):
    drawn = set()
    for seed in range(300):
        name, mutated = mutators.mutate(np.random.default_rng(seed), data)
        assert mutated != data
        assert (name, mutated) == mutators.mutate(np.random.default_rng(seed), data)
        drawn.add(name)
    kinds = {**mutators.BINARY, **mutators.TEXT} if data == TEXT else mutators.BINARY
    assert drawn == set(kinds) if len(data) > 1 else drawn <= {*mutators.BINARY, *mutators.TEXT}


def test_mutations_of_text_do_what_they_say():
    for seed in range(20):
        draw = functools.partial(np.random.default_rng, seed)
        apply = lambda name, draw=draw: mutators.TEXT[name](draw(), TEXT)
        assert len(apply("change a digit")) == len(TEXT)
        assert any(word in apply("put a word for a number") for word in mutators.WORDS)
        assert apply("drop a line") in TEXT.splitlines(keepends=True)
        assert apply("duplicate a line").count(b"\n") == 3


def test_damage_touches_one_file_or_swaps_two(tmp_path):
    kinds = set()
    for seed in range(100):
        contents = {"a": TEXT, "b": BYTES, "empty": b""}
        for name, data in contents.items():
            (tmp_path / name).write_bytes(data)
        files = sorted(tmp_path.iterdir())
        words = mutators.damage(np.random.default_rng(seed), files)
        after = {p.name: p.read_bytes() if p.exists() else None for p in files}
        changed = {name for name in contents if after[name] != contents[name]}
        kind = words.partition(": ")[2]
        if kind.startswith("swap with"):
            assert after == contents | {"a": BYTES, "b": TEXT}
        else:
            assert changed == {words.partition(":")[0]}
            assert (None in after.values()) == (kind == "delete the file")
        kinds.add(kind.partition(" ")[0])
    assert {"swap", "delete", "flip", "empty"} <= kinds
