import numpy as np
from cases.pairs_of_networks import flax_mlp, saved, torch_mlp

from wsjax.comparison.pairs import pairs
from wsjax.comparison.sides import side


def paired(tmp_path, a, b, config=None):
    return pairs(*(side(saved(tmp_path / f"{i}.safetensors", x), config=config)
                   for i, x in enumerate((a, b))))  # fmt: skip


def arrays(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def test_other_frameworks_store_the_transpose(tmp_path):
    state = torch_mlp()
    found = paired(tmp_path, state, flax_mlp(state))
    assert found.by_structure
    assert ("0.weight", "Dense_0/kernel") in found.transposed
    assert ("0.bias", "Dense_0/bias") in found.renamed
    assert (found.only_a, found.only_b, found.differences) == ((), (), ())
    assert all(np.array_equal(found.a[n], found.b[n]) for n in state)


def test_a_convolution_and_what_reads_its_flattened_image(tmp_path):
    state = arrays({"conv1.weight": (4, 1, 3, 3), "conv1.bias": (4,), "conv2.weight": (6, 4, 3, 3),
                    "conv2.bias": (6,), "fc.weight": (5, 24), "fc.bias": (5,)})  # fmt: skip
    hwio = lambda x: x.transpose(2, 3, 1, 0)
    dense = state["fc.weight"].reshape(5, 6, 4).transpose(2, 1, 0).reshape(24, 5)
    other = {
        "Conv_0/kernel": hwio(state["conv1.weight"]), "Conv_0/bias": state["conv1.bias"],
        "Conv_1/kernel": hwio(state["conv2.weight"]), "Conv_1/bias": state["conv2.bias"],
        "Dense_0/kernel": dense, "Dense_0/bias": state["fc.bias"],
    }  # fmt: skip
    found = paired(tmp_path, state, other)
    assert found.by_structure
    assert len(found.transposed) == 3
    assert all(np.array_equal(found.a[n], found.b[n]) for n in found.a)


def test_wrappers_are_no_difference(tmp_path):
    state = torch_mlp()
    found = paired(tmp_path, state, {f"module.{n}": x for n, x in state.items()})
    assert set(found.same) == set(state)
    assert not found.renamed


def test_fused_queries_keys_and_values_are_split(tmp_path):
    d = 4
    fused = arrays({"x.attn.qkv.weight": (3 * d, d), "x.attn.qkv.bias": (3 * d,), "x.w": (d, 2)})
    parts = {"x.w": fused["x.w"]}
    for leaf in ("weight", "bias"):
        for i, q in enumerate("qkv"):
            parts[f"x.attn.{q}.{leaf}"] = fused[f"x.attn.qkv.{leaf}"][i * d : (i + 1) * d]
    for a, b in ((fused, parts), (parts, fused)):
        found = paired(tmp_path, a, b)
        assert len(found.split) == 6
        assert (found.only_a, found.only_b) == ((), ())
        assert all(np.array_equal(found.a[n], found.b[n]) for n in found.a)


def test_another_width_is_named(tmp_path):
    found = paired(tmp_path, torch_mlp(), torch_mlp(widths=(6, 16, 24, 3)))
    assert not found.by_structure
    assert ("0.weight", (24, 6), (16, 6)) in found.reshaped
    assert "0.weight: [24, 6] in A, [16, 6] in B" in found.differences
    assert set(found.a) == {"2.bias", "4.weight", "4.bias"}
    assert found.spec.hidden == ("h1",)  # of h0 they have different numbers


def test_another_depth_is_named(tmp_path):
    found = paired(tmp_path, torch_mlp(), torch_mlp(widths=(6, 24, 3)))
    assert found.differences[0] == "A has 3 layers, B 2"


def test_only_a_part_is_common(tmp_path):
    a = arrays({"enc.w": (5, 3), "left": (2,)})
    b = {"enc.w": a["enc.w"].T, "right": np.ones(2, np.float32)}
    found = paired(tmp_path, a, b)
    assert found.transposed == (("enc.w", "enc.w"),)
    assert (found.only_a, found.only_b) == (("left",), ("right",))
    b["enc.w"] = b["enc.w"][:, ::-1]  # of that shape, but no transpose
    assert paired(tmp_path, a, b).pairs == ()


def test_formats_list_the_arrays_of_a_norm_in_other_orders(tmp_path):
    norm = {f"BatchNorm_0/{role}": (4,) for role in ("scale", "bias", "mean", "var")}
    shapes = {"Conv_0/kernel": (3, 3, 1, 4), **norm, "Dense_0/kernel": (4, 2)}
    state = arrays(shapes)
    state["BatchNorm_0/var"] = abs(state["BatchNorm_0/var"])
    sides = []
    for i, order in enumerate((list(shapes), sorted(shapes))):
        np.savez(tmp_path / f"{i}.npz", **{n: state[n] for n in order})
        sides.append(side(tmp_path / f"{i}.npz"))
    found = pairs(*sides)
    assert found.by_structure
    assert found.differences == ()
    assert all(np.array_equal(x, found.b[n]) for n, x in found.a.items())
