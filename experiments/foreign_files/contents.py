"""Cases of types, layouts and other formats: the second half of the catalogue."""

import json
import os
import pathlib
import subprocess
import sys

import ml_dtypes
import numpy as np

from experiments.foreign_files import sizes
from experiments.foreign_files.answers import Answer, loaded, normal, same, written
from experiments.foreign_files.writers import Raw, constant, onnx, safetensors, tensor, torch
from wsjax.files import effective, opened
from wsjax.recognition import recognize

W = normal(4, 3)
F8 = ml_dtypes.float8_e4m3fn
FOUR_DEVICES = """
import sys, jax, numpy as np
from orbax import checkpoint
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("d",))
place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
kernel = jax.device_put(np.arange(48, dtype="f4").reshape(8, 6), place)
bias = jax.device_put(np.arange(8, dtype="f4").astype("bfloat16"), place)
tree = {"params": {"Dense_0": {"kernel": kernel, "bias": bias}}}
checkpoint.PyTreeCheckpointer().save(sys.argv[1], tree)
"""


def _of_file(folder, arrays, tied=None):
    return loaded(written(folder, "net", safetensors(arrays, tied or {})))


def two_layouts(folder: pathlib.Path) -> Answer:
    """q, k and v [d, d] apart, and fused [3d, d]; split here by hand, no diff yet."""
    apart = {f"h.0.attn.{n}.weight": normal(8, 8, seed=i) for i, n in enumerate("qkv")}
    fused = {"h.0.attn.qkv.weight": np.concatenate(list(apart.values()))}
    one = loaded(written(folder, "one", safetensors(apart)))
    other = loaded(written(folder, "other", safetensors(fused)))
    parts = np.split(other.params["h.0.attn.qkv.weight"], 3)
    equal = all(map(np.array_equal, one.params.values(), parts))
    line = f"{one.facts} | {other.facts} | parts of the fused one {'equal' if equal else 'differ'}"
    return Answer(line, equal and one.facts.parameters == other.facts.parameters == 192)


def blocks_of_eight_bits(folder: pathlib.Path) -> Answer:
    """F8_E4M3 with `weight_scale_inv` of each block of 128; and without it."""
    weight, scale = normal(256, 128).astype(F8), np.float32([[0.5], [2]])
    name = "gate_proj.weight"
    found = _of_file(folder, {name: weight, f"{name}_scale_inv": scale})
    expected = weight.astype("f4") * scale.repeat(128, 0)
    bare = _of_file(folder, {name: weight})
    right = same(found.params, {name: expected}) and bare.errors == ["refused"]
    return Answer(f"{found.facts} | without: {bare.facts}", right and name in bare.refused)


def spellings_of_scales(folder: pathlib.Path) -> Answer:
    """`X.scale_weight`, `X.weight_scale` and `X.scale`, each with `X.input_scale` beside."""
    weight, lines, right = normal(16, 8).astype(F8), [], True
    for spelling in ("scale_weight", "weight_scale", "scale"):
        beside = {f"fc.{spelling}": np.float32([0.5]), "fc.input_scale": np.float32([3])}
        found = _of_file(folder, {"fc.weight": weight} | beside)
        right &= found.holds(fc__weight=weight.astype("f4") / 2)
        lines.append(str(found.facts))
    return Answer(" | ".join(lines), right)


def exponents(folder: pathlib.Path) -> Answer:
    """F8 weights with U8 scales [n, m/32], which are exponents."""
    weight = normal(4, 64).astype(F8)
    scale = np.array([[126, 127], [128, 127], [127, 127], [130, 120]], "u1")
    found = _of_file(folder, {"fc.weight": weight, "fc.weight_scale": scale})
    factors = np.exp2(scale.astype("f4") - 127).repeat(32, 1)
    return Answer(str(found.facts), found.holds(fc__weight=weight.astype("f4") * factors))


def packed_integers(folder: pathlib.Path) -> Answer:
    """I32 of eight values each; an index whose total is wrong."""
    arrays = {"layers.0.q.qweight": Raw("I32", (8, 64), bytes(2048)),
              "layers.0.q.scales": np.ones((1, 64), "f2") + W[0, 0].astype("f2"),
              "layers.0.q.qzeros": Raw("I32", (1, 8), bytes(32)),
              "norm.weight": normal(64)}  # fmt: skip
    shard = "model-00001-of-00001.safetensors"
    written(folder, shard, safetensors(arrays))
    index = {"metadata": {"total_parameters": 333312}, "weight_map": dict.fromkeys(arrays, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = loaded(folder)
    right = dict(found.facts.packed) == {"layers.0.q.qweight": 64 * 64} and "total" in found.kinds
    return Answer(str(found.facts), right and set(found.params) == {"norm.weight"})


def four_bits(folder: pathlib.Path) -> Answer:
    """F4, whose shape counts elements, with F8_E8M0 scales."""
    arrays = {"w": Raw("F4", (4, 64), bytes(128)), "n.weight": W}
    arrays["w_scales"] = Raw("F8_E8M0", (4, 2), bytes([127] * 8))
    found = _of_file(folder, arrays)
    named = [f.text for f in found.facts.findings if f.kind == "packed"]
    right = dict(found.facts.packed) == {"w": 256} and any("F4" in text for text in named)
    return Answer(str(found.facts), right and found.holds(n__weight=W))


def empty_and_single(folder: pathlib.Path) -> Answer:
    """Arrays [2, 0] and []; an int64 `num_batches_tracked`."""
    arrays = {"a.weight": np.zeros((2, 0), "f4"), "logit_scale": np.array(2, "f4")}
    arrays |= {"bn.num_batches_tracked": np.array(5), "fc.weight": W}
    found = _of_file(folder, arrays)
    right = set(found.facts.buffers) == {"a.weight", "bn.num_batches_tracked"}
    right &= set(found.params) == {"logit_scale", "fc.weight"} and found.facts.parameters == 13
    return Answer(str(found.facts), right and not found.kinds)


def complex_numbers(folder: pathlib.Path) -> Answer:
    """Spectral weights in complex64."""
    weight = (normal(3, 4) * (1 + 2j)).astype("c8")
    found = _of_file(folder, {"spectral.weight": weight, "fc.weight": W})
    structure = recognize(found.params)
    right = found.holds(spectral__weight=weight, fc__weight=W)
    return Answer(f"{found.facts}; {structure}", right and "spectral.weight" in structure.beside)


def _embeddings(found, said):
    right = found.facts.parameters == 24 and said(found.facts) and len(found.params) == 2
    return Answer(str(found.facts), right)


EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight")


def tied_by_storage(folder: pathlib.Path) -> Answer:
    """`lm_head.weight` and `embed_tokens.weight` of one storage, in a PyTorch file."""
    weight = normal(6, 4)
    path = written(folder, "net.pt", torch(dict.fromkeys(EMBEDDINGS, weight)))
    return _embeddings(loaded(path), lambda facts: facts.tied == (EMBEDDINGS,))


def tied_by_value(folder: pathlib.Path) -> Answer:
    """The same, equal by value only."""
    found = _of_file(folder, dict.fromkeys(EMBEDDINGS, normal(6, 4)))
    return _embeddings(found, lambda facts: (facts.tied, facts.copies) == ((), (EMBEDDINGS,)))


def tied_by_offsets(folder: pathlib.Path) -> Answer:
    """The same, two names at the same offsets."""
    found = _of_file(folder, {EMBEDDINGS[0]: normal(6, 4)}, {EMBEDDINGS[1]: EMBEDDINGS[0]})
    return _embeddings(found, lambda facts: facts.tied == (EMBEDDINGS,))


def weight_norms(folder: pathlib.Path) -> Answer:
    """`weight_g` and `weight_v`; `parametrizations.weight.original0` and `1`."""
    g = np.abs(normal(4, 1, seed=1))
    expected, lines, right = g * W / np.linalg.norm(W, axis=1, keepdims=True), [], True
    for names in (
        ("weight_g", "weight_v"),
        tuple(f"parametrizations.weight.original{i}" for i in (0, 1)),
    ):
        found = _of_file(folder, {f"fc.{n}": a for n, a in zip(names, (g, W), strict=True)})
        right &= set(found.params) == {"fc.weight"} and found.facts.parameters == 12
        right &= bool(np.allclose(found.params["fc.weight"], expected, rtol=1e-5))
        lines.append(str(found.facts))
    return Answer(" | ".join(lines), right)


def spectral_norm(folder: pathlib.Path) -> Answer:
    """`weight_orig` with `weight_u` and `weight_v`, after one step of power iteration."""
    u, values, v = np.linalg.svd(W)
    arrays = {"fc.weight_orig": W, "fc.weight_u": u[:, 0].copy(), "fc.weight_v": v[0].copy()}
    found = _of_file(folder, arrays)
    right = set(found.params) == {"fc.weight"} and found.facts.parameters == 12
    right = right and np.allclose(found.params["fc.weight"], W / values[0], rtol=1e-5)
    return Answer(str(found.facts), bool(right))


def grouped_convolutions(folder: pathlib.Path) -> Answer:
    """A grouped `Conv1d` [768, 48, 128] of 16 groups, after a first one [768, 1, 10]."""
    arrays = {"conv.0.weight": normal(768, 1, 10), "conv.1.weight": normal(768, 48, 128)}
    found = _of_file(folder, arrays)
    structure = recognize(found.params)
    notes = "; ".join(structure.notes)
    right = same(found.params, arrays) and ("group" in notes or structure.level == "chained")
    return Answer(f"{found.facts}; {structure}; {notes}", right)


def lstm(folder: pathlib.Path) -> Answer:
    """An LSTM's `weight_ih_l0` [4h, d]: gates as four parts, coverage in per cent."""
    shapes = {
        "weight_ih_l0": (32, 5),
        "weight_hh_l0": (32, 8),
        "bias_ih_l0": (32,),
        "bias_hh_l0": (32,),
    }
    arrays = {f"rnn.{n}": normal(*s, seed=len(n)) for n, s in shapes.items()}
    found = _of_file(folder, arrays | {"fc.weight": normal(2, 8)})
    structure = recognize(found.params)
    right = structure.family == "PyTorch LSTM" and structure.coverage == 1
    hidden = [dict(structure.spec.sizes)[h] for h in structure.spec.hidden]
    return Answer(f"{found.facts}; {structure}", right and hidden == [8])


def adapter(folder: pathlib.Path) -> Answer:
    """A LoRA adapter of 32,004 rows, and a base of 32,000."""
    names = [f"base_model.model.lm_head.lora_{x}.weight" for x in "AB"]
    arrays = dict(zip(names, (normal(8, 64), normal(32004, 8, seed=1)), strict=True))
    path = written(folder, "adapter_model.safetensors", safetensors(arrays))
    (folder / "adapter_config.json").write_text('{"lora_alpha": 16, "r": 8}')
    found, error = loaded(path), ""
    try:
        effective(found.facts.adapter, {"lm_head.weight": np.zeros((32000, 64), "f4")})
    except ValueError as came:
        error = " ".join(str(came).split())
    base = np.zeros((32004, 64), "f4")
    changed = effective(found.facts.adapter, {"lm_head.weight": base})["lm_head.weight"]
    expected = 2 * arrays[names[1]] @ arrays[names[0]]
    right = np.allclose(changed, expected, atol=1e-4) and "32004" in error and "32000" in error
    return Answer(f"{found.facts} | with the base: {error}", bool(right))


def four_devices(folder: pathlib.Path) -> Answer:
    """A folder saved from four devices, read on one without its tree."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    program = [sys.executable, "-W", "ignore", "-c", FOUR_DEVICES, str(folder / "saved")]
    subprocess.run(program, env=environment, check=True, capture_output=True)
    found = loaded(folder / "saved")
    kernel = np.arange(48, dtype="f4").reshape(8, 6)
    bias = np.arange(8, dtype="f4").astype("bfloat16")
    arrays = {n.rpartition("/")[2]: a for n, a in found.params.items()}
    right = set(arrays) == {"kernel", "bias"} and np.array_equal(arrays["kernel"], kernel)
    return Answer(str(found.facts), bool(right and np.array_equal(arrays["bias"], bias)))


def onnx_constants(folder: pathlib.Path) -> Answer:
    """ONNX with weights in Constant nodes."""
    data = onnx([tensor("fc.bias", W[:, 0])], [constant("fc.weight", W)])
    found = loaded(written(folder, "net.onnx", data))
    right = set(found.params) == {"fc.weight", "fc.bias"}
    return Answer(str(found.facts), right and np.array_equal(found.params["fc.weight"], W))


def onnx_external(folder: pathlib.Path) -> Answer:
    """ONNX with external data."""
    written(folder, "net.data", W.tobytes())
    found = loaded(written(folder, "net.onnx", onnx([tensor("fc.weight", W, "net.data")])))
    return Answer(str(found.facts), found.holds(fc__weight=W))


def onnx_missing(folder: pathlib.Path) -> Answer:
    """ONNX whose external data are missing."""
    found = loaded(written(folder, "net.onnx", onnx([tensor("fc.weight", W, "net.data")])))
    right = not found.params and bool(found.errors) and "net.data" in found.refused
    return Answer(str(found.facts), right)


def another_recipe(folder: pathlib.Path) -> Answer:
    """INRs of another recipe; read and recognised, whether they fit a classifier is not said."""
    shapes = {"net.0.linear": (16, 2), "net.1.linear": (16, 16), "net.2": (1, 16)}
    arrays = {f"{n}.weight": normal(*s, seed=len(n)) / s[1] for n, s in shapes.items()}
    arrays |= {f"{n}.bias": normal(s[0], seed=len(n) + 1) for n, s in shapes.items()}
    found = _of_file(folder, arrays)
    structure = recognize(found.params, {"activation": "sin", "omega": 30.0})
    return Answer(f"{found.facts}; {structure}", structure.coverage == 1 and not found.errors)


def estimate(folder: pathlib.Path) -> Answer:
    """Two networks of 1e9 parameters to match: size known from headers, no estimate yet."""
    path = folder / "net"
    sizes.sparse_safetensors(path, 4 << 30, 8)
    with opened(path) as checkpoint:
        count = sum(a.size for a in checkpoint.arrays)
    line = f"{checkpoint.format}: {count:,} parameters, from the header alone"
    return Answer(f"{line}; an estimate of matching is not made yet", count == 1 << 30)
