"""Cases of names, branches, shards and damage: the first half of the catalogue."""

import json
import pathlib

import ml_dtypes
import numpy as np

from experiments.foreign_files.answers import Answer, loaded, normal, same, written
from experiments.foreign_files.writers import Function, Instance, Raw, safetensors, torch
from wsjax.files import opened
from wsjax.recognition import recognize

W = normal(4, 3)


def twelve_layers(folder: pathlib.Path) -> Answer:
    """Twelve layers of one width, written in the order of text (0, 1, 10, 11, 2)."""
    names = [f"net.{i}.weight" for i in range(12)]
    arrays = {n: normal(32, 32 if i else 2, seed=i) for i, n in enumerate(names)}
    found = loaded(written(folder, "net", safetensors({n: arrays[n] for n in sorted(names)})))
    structure = recognize(found.params)
    right = same(found.params, arrays) and not found.kinds and len(structure.spec.hidden) == 11
    return Answer(f"{found.facts}; {structure}", right)


def training_run(folder: pathlib.Path) -> Answer:
    """A state dict beside an optimiser's states, an epoch and hyperparameters."""
    weight = normal(64, 32)
    tree = {
        "state_dict": {"model.enc.0.weight": weight},
        "optimizer_states": [{"state": {"0": {"exp_avg": normal(64, 32, seed=1)}}}],
        "epoch": 3,
        "hyper_parameters": {"lr": 0.1},
    }
    found = loaded(written(folder, "last.ckpt", torch(tree)))
    right = found.facts.branch == "state_dict" and found.facts.parameters == weight.size
    return Answer(str(found.facts), right and found.holds(enc__0__weight=weight))


def _wrapped(folder, *names):
    files = [written(folder, f"{i}", safetensors({n: W})) for i, n in enumerate(names)]
    found = [loaded(path) for path in files]
    return Answer(
        " | ".join(f"{next(iter(f.params))}: {f.facts}" for f in found),
        all(same(f.params, found[0].params) and len(f.params) == 1 for f in found),
    )


def module_in_two_places(folder: pathlib.Path) -> Answer:
    """`module.features.0.weight` in one file, `features.module.0.weight` in another."""
    return _wrapped(folder, "module.features.0.weight", "features.module.0.weight")


def two_wrappers(folder: pathlib.Path) -> Answer:
    """`_orig_mod.module.stem.conv.weight` and `module._orig_mod.stem.conv.weight`."""
    return _wrapped(
        folder, "_orig_mod.module.stem.conv.weight", "module._orig_mod.stem.conv.weight"
    )


def name_within_a_name(folder: pathlib.Path) -> Answer:
    """`fc1.weight` [10, 5] and `fc1.weight.extra` [1]."""
    arrays = {"fc1.weight": normal(10, 5), "fc1.weight.extra": np.float32([7])}
    found = loaded(written(folder, "net", safetensors(arrays)))
    return Answer(str(found.facts), same(found.params, arrays) and found.facts.parameters == 51)


def no_arrays(folder: pathlib.Path) -> Answer:
    """Arguments and a loss, and no array."""
    found = loaded(written(folder, "net.pt", torch({"args": {"lr": 0.1}, "loss": 0.3})))
    right = found.errors == ["empty"] and "loss = 0.3" in found.refused
    return Answer(str(found.facts), right and not found.params)


def objects_beside(folder: pathlib.Path) -> Answer:
    """A pickled `argparse.Namespace` and a function reference beside the weights."""
    args, function = Instance("argparse.Namespace", {"lr": 0.1}), Function("os.system")
    tree = {"model": {"fc.weight": W}, "args": args, "hook": function}
    found = loaded(written(folder, "net.pt", torch(tree)))
    named = [f.text for f in found.facts.findings if f.kind == "refused"]
    right = any("argparse.Namespace" in t for t in named) and any("os.system" in t for t in named)
    return Answer(str(found.facts), right and found.holds(fc__weight=W))


def before_version_1_6(folder: pathlib.Path) -> Answer:
    """The format before PyTorch 1.6."""
    data = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + bytes(99)
    found = loaded(written(folder, "net.pth", data))
    return Answer(str(found.facts), found.errors == ["refused"] and "1.6" in found.refused)


def whole_module(folder: pathlib.Path) -> Answer:
    """A whole pickled module."""
    fields = {"_parameters": {"weight": W}, "training": True}
    found = loaded(written(folder, "net.pth", torch(Instance("torch.nn.Linear", fields))))
    right = bool(found.errors) and not found.params and "state_dict()" in found.refused
    return Answer(str(found.facts), right)


def average_beside(folder: pathlib.Path) -> Answer:
    """`model` and `ema` of the same shapes, and an optimiser."""
    tree = {"model": {"fc.weight": W}, "ema": {"fc.weight": 2 * W}, "optimizer": {"m": 3 * W}}
    path = written(folder, "net.pt", torch(tree))
    default, other = loaded(path), loaded(path, "model")
    right = default.facts.branch == "ema" and "branch" in default.kinds
    right = right and default.holds(fc__weight=2 * W) and other.holds(fc__weight=W)
    return Answer(f"{default.facts} | branch='model': {other.facts}", right)


def flat_average(folder: pathlib.Path) -> Answer:
    """`model.*` and `ema_model.module.*` in one flat file."""
    arrays = {"model.fc.weight": W, "ema_model.module.fc.weight": 2 * W}
    path = written(folder, "net", safetensors(arrays))
    default, other = loaded(path), loaded(path, "model")
    right = default.holds(fc__weight=2 * W) and other.holds(fc__weight=W)
    return Answer(str(default.facts), right and default.facts.branch == "ema_model")


def average_of_nan(folder: pathlib.Path) -> Answer:
    """The averaged copy NaN in half precision, the raw one finite."""
    raw, nan = W.astype("f2"), np.full(W.shape, np.nan, "f2")
    path = written(folder, "net", safetensors({"model.fc.weight": raw, "ema.fc.weight": nan}))
    default, other = loaded(path), loaded(path, "model")
    right = default.errors == ["nonfinite"] and "branch='model'" in default.refused
    return Answer(str(default.facts), right and other.holds(fc__weight=raw))


def stray_beside_an_index(folder: pathlib.Path) -> Answer:
    """An index, two shards, and a stray quantised `model.safetensors` beside them."""
    arrays = {f"layers.{i}.weight": normal(4, 3, seed=i) for i in range(2)}
    where = {n: f"model-0000{i + 1}-of-00002.safetensors" for i, n in enumerate(arrays)}
    for name, shard in where.items():
        written(folder, shard, safetensors({name: arrays[name]}))
    written(folder, "model.safetensors", safetensors({"layers.0.weight": W.astype("u1")}))
    index = json.dumps({"metadata": {}, "weight_map": where})
    (folder / "model.safetensors.index.json").write_text(index)
    found = loaded(folder)
    return Answer(str(found.facts), found.kinds == {"stray"} and same(found.params, arrays))


def restarting_shards(folder: pathlib.Path) -> Answer:
    """Three shards whose layer numbers restart in each."""
    arrays = {f"layers.{i}.weight": normal(4, 3, seed=i) for i in range(6)}
    for i in range(3):
        inside = {f"layers.{j}.weight": normal(4, 3, seed=2 * i + j) for j in range(2)}
        written(folder, f"net-0000{i + 1}-of-00003.safetensors", safetensors(inside))
    found = loaded(folder)
    return Answer(str(found.facts), same(found.params, arrays) and found.kinds == {"shards"})


def half_a_file(folder: pathlib.Path) -> Answer:
    """A header that promises twice what the file has."""
    data = safetensors({f"{i}.weight": normal(16, 16, seed=i) for i in range(4)})
    found = loaded(written(folder, "net", data[: len(data) - 2048 - 512]))
    right = "truncated" in found.errors and not found.params
    cut = [f"{i}.weight" in found.refused for i in range(4)]
    return Answer(str(found.facts), right and cut == [False, True, True, True])


def all_zero_but_one(folder: pathlib.Path) -> Answer:
    """A whole file whose arrays are zero but one."""
    arrays = {f"{i}.weight": np.zeros((8, 8), "f4") for i in range(5)} | {"5.weight": normal(8, 8)}
    found = loaded(written(folder, "net", safetensors(arrays)))
    right = "zeros" in found.errors and "5 of 6 arrays are zero" in found.refused
    return Answer(str(found.facts), right)


def shard_of_noise(folder: pathlib.Path) -> Answer:
    """One shard of random bytes in bfloat16, its header sound."""
    arrays = {f"{i}.weight": normal(8, 8, seed=i).astype(ml_dtypes.bfloat16) for i in range(9)}
    noise = np.random.default_rng(0).integers(0, 1 << 16, (8, 8), np.uint16) & 0xFF7F
    names = {"1": list(arrays)[:8], "2": list(arrays)[8:]}
    arrays["8.weight"] = noise.view(ml_dtypes.bfloat16)
    for shard, inside in names.items():
        data = safetensors({n: arrays[n] for n in inside})
        written(folder, f"net-0000{shard}-of-00002.safetensors", data)
    found = loaded(folder)
    wrong = [(f.kind, f.array) for f in found.facts.findings if f.severity == "error"]
    return Answer(str(found.facts), wrong == [("scale", "8.weight")])


def one_nan(folder: pathlib.Path) -> Answer:
    """One NaN in a convolution [C, C, 3, 3]."""
    kernel = normal(8, 8, 3, 3)
    kernel[3, 5, 1, 2] = np.nan
    found = loaded(written(folder, "net", safetensors({"conv.weight": kernel})))
    right = "1 of 576 numbers are not finite, the first at [3, 5, 1, 2]" in found.refused
    return Answer(str(found.facts), right and found.errors == ["nonfinite"])


def nan_beside_packed(folder: pathlib.Path) -> Answer:
    """NaN in scales, biases and a norm's vector of a packed file."""
    arrays = {
        "q.weight": Raw("U32", (16, 8), bytes(512)),
        "q.scales": np.array([[1], [np.nan]] * 8, "f2"),
        "q.biases": np.full((16, 1), np.inf, "f2"),
        "norm.weight": np.array([1, 1, np.nan], "f2"),
    }
    found = loaded(written(folder, "net", safetensors(arrays)))
    wrong = {f.array for f in found.facts.findings if f.severity == "error"}
    return Answer(str(found.facts), wrong == {"q.scales", "q.biases", "norm.weight"})


def other_norms(folder: pathlib.Path) -> Answer:
    """Two files of one model, norms higher by 1 in one; names compared here, no diff yet."""
    arrays = {f"layers.{i}.mlp.weight": normal(8, 8, seed=i) for i in range(3)}
    arrays |= {f"layers.{i}.norm.weight": 0.1 * normal(8, seed=9 + i) for i in range(3)}
    higher = {n: a + 1 if "norm" in n else a for n, a in arrays.items()}
    one, other = (
        loaded(written(folder, n, safetensors(a))).params
        for n, a in (("one", arrays), ("other", higher))
    )
    differ = [n for n in one if not np.array_equal(one[n], other[n])]
    step = {round(float(np.mean(other[n] - one[n])), 4) for n in differ}
    line = f"differ: {', '.join(differ)}; on average by {max(step)}; no diff says so yet"
    return Answer(line, differ == [f"layers.{i}.norm.weight" for i in range(3)] and step == {1.0})


def listed_one_by_one(folder: pathlib.Path) -> Answer:
    """Arrays of three shards, read one at a time."""
    restarting_shards(folder)
    with opened(folder) as checkpoint:
        sizes = [a.read().size for a in checkpoint.arrays]
        line = f"{checkpoint.format}: {len(sizes)} arrays of {max(sizes)} numbers, one by one"
    return Answer(line, sizes == [12] * 6)
