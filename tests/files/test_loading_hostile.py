"""Whatever names, types and bytes a file has, `describe` gives facts, and no array is lost."""

import random

import ml_dtypes
import numpy as np
import pytest
from cases import weight_files
from cases.checkpoints import checkpoint, stored

from wsjax.files import describe, load, names
from wsjax.files.branches import branches
from wsjax.files.loading import contents

WORDS = (
    *("module", "_orig_mod", "model", "ema", "ema_model", "params", "state_dict", "optimizer"),
    *("batch_stats", "state", "0", "10", "fc", "weight", "bias", "step", "exp_avg", "shadow", ""),
)
ROLES = (
    *("weight", "weight_g", "weight_v", "weight_orig", "weight_u", "weight_mask", "kernel"),
    *(f"parametrizations.weight.{x}" for x in ("original", "original0", "original1", "0._u")),
    *("weight_scale", "weight_scale_inv", "scale", "scales", "biases", "qzeros", "qweight"),
    *("input_scale", "lora_A.weight", "lora_B.weight", "lora_a", "lora_b", "alpha"),
)
TYPES = ("f2", "f4", "f8", "i4", "i8", "u1", "c8", "bool", ml_dtypes.float8_e4m3fn)


def trees(seed, count):
    """Dicts of arrays whose names are made of the words above."""
    rnd = random.Random(seed)
    for _ in range(count):
        arrays = {}
        for _ in range(rnd.randint(0, 8)):
            words = [rnd.choice(WORDS) for _ in range(rnd.randint(1, 4))]
            name = "".join(word + rnd.choice("./") for word in words)[:-1]
            if rnd.random() < 0.7:
                name = rnd.choice(["fc.", "module.fc.", "ema/fc.", "params/fc/"]) + rnd.choice(
                    ROLES
                )
            shape = [rnd.choice([0, 1, 1, 2, 2, 4, 32]) for _ in range(rnd.randint(0, 3))]
            arrays[name] = np.ones(shape, rnd.choice(TYPES))
        yield arrays


@pytest.mark.parametrize("seed", range(4))
def test_names_of_any_kind(seed):
    for arrays in trees(seed, 300):
        all_stored = [stored(n, a) for n, a in arrays.items()]
        sorted_out = {id(s) for b in branches(all_stored) for _, s in b.arrays}
        assert sorted_out == set(map(id, all_stored)), list(arrays)
        params, facts = contents(checkpoint(all_stored))
        assert str(facts).startswith("test: ")
        assert len(params) <= facts.arrays
        assert all(a.dtype.kind not in "biu" for a in params.values()), list(arrays)
        loaded = sum(a.size for n, a in params.items() if not any(n in t[1:] for t in facts.copies))
        assert loaded <= facts.parameters, list(arrays)


@pytest.mark.parametrize("seed", range(2))
def test_new_names_are_different_and_orders_permutations(seed):
    for arrays in trees(seed, 300):
        new, taken = names.unwrapped(list(arrays))
        assert len(set(new)) == len(arrays), list(arrays)
        assert set(taken) <= {*names.ANYWHERE, *names.WRAPPERS, *names.ENDS}
        assert sorted(names.natural(new)) == list(range(len(new)))


@pytest.mark.parametrize("kind", weight_files.FORMATS)
def test_every_format_gives_the_same_network(kind, tmp_path):
    params, facts = load(weight_files.FORMATS[kind](tmp_path))
    known = weight_files.ARRAYS.values()
    assert params
    for name, array in params.items():
        assert any(a.dtype == array.dtype and np.array_equal(a, array) for a in known), name
    assert not any(f.severity == "error" for f in facts.findings)


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_files_with_any_damage(kind, tmp_path):
    path = weight_files.FORMATS[kind](tmp_path)
    data, outcomes = path.read_bytes(), set()
    assert "ERROR" not in str(describe(path))
    for bad in weight_files.mutations(data, 0, 100):
        path.write_bytes(bad)
        outcomes.add(str(describe(path)))
    assert any("ERROR" in text for text in outcomes)
