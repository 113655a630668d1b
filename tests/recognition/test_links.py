"""Chains of kernels by shape, and the norms between them."""

import time

import pytest

from wsjax.recognition import links, names


def kernels(**shapes):
    return names.leaves({f"{n}.weight": s for n, s in shapes.items()})


def described(chain):
    return [(x.kernel.module[0], x.reads, x.writes, x.positions) for x in chain]


def test_shapes_settle_the_order_that_names_do_not():
    found = links.chain(kernels(fc=(2, 36), conv2=(4, 8, 3, 3), conv1=(8, 3, 3, 3)), ())
    assert described(found) == [("conv1", 3, 8, 1), ("conv2", 8, 4, 1), ("fc", 4, 2, 9)]


def test_a_thousand_layers_are_no_recursion():
    found = links.chain(kernels(**{f"l{i}": (3, 3) for i in range(1500)}), ())
    assert [x.kernel.module[0] for x in found] == [f"l{i}" for i in range(1500)]


def test_the_order_of_a_file_counts_if_it_is_not_sorted():
    shapes = {"in": (4, 2), "b": (4, 4), "a": (4, 4), "out": (1, 4)}
    assert [x.kernel.module[0] for x in links.chain(kernels(**shapes), ())] == list(shapes)
    with pytest.raises(names.UnfitError, match="several orders of the layers fit"):
        links.chain(kernels(**dict(sorted(shapes.items()))), ())


def test_transposed_and_grouped_convolutions_explain_shapes():
    transposed = kernels(a=(16, 8, 2, 2), b=(8, 3, 2, 2))
    allowed = ("grouped", "transposed")
    biases = {("a",): 8, ("b",): 3}
    found = links.chain(transposed, allowed, (), biases)
    assert [(x.reads, x.writes) for x in found] == [(16, 8), (8, 3)]
    widths = {("a",): 6, ("b",): 9}
    grouped = links.chain(kernels(a=(6, 2, 1), b=(9, 2, 1)), allowed, (), widths)
    assert [x.groups for x in grouped] == [1, 3]
    open_ = kernels(n0=(4, 8, 2, 2), n1=(4, 2, 2, 2), n2=(2, 4, 2, 2))
    with pytest.raises(names.UnfitError, match="both fit"):
        links.chain(open_, allowed)
    assert links.chain(open_, ("grouped",))[1].groups == 2


def test_a_gap_is_named():
    with pytest.raises(names.UnfitError, match=r"a.weight \[8, 4\], b.weight \[2, 9\]"):
        links.chain(kernels(a=(8, 4), b=(2, 9)), ())


def paired(shapes, ordered=True):
    modules = names.by_module(names.leaves(shapes))
    chain = links.chain([p["kernel"] for p in modules.values() if "kernel" in p], ())
    return {".".join(n.module): (n.after, n.direct) for n in links.norms(modules, chain, ordered)}


def test_norms_follow_by_number_and_know_whether_an_activation_is_between():
    shapes = {"0.weight": (4, 2), "1.weight": (4,), "3.weight": (4, 4), "5.weight": (4,)}
    assert paired(shapes | {"6.weight": (1, 4)}) == {"1": ((0,), True), "5": ((1,), False)}


def test_norms_follow_the_kernel_of_their_number():
    shapes = {"bn1.weight": (8,), "bn2.weight": (8,), "conv1.weight": (8, 3, 3, 3)}
    shapes |= {"conv2.weight": (8, 8, 3, 3), "fc.weight": (2, 8)}
    assert paired(shapes, ordered=False) == {"bn1": ((0,), None), "bn2": ((1,), None)}


def test_the_norm_of_the_input_comes_first():
    shapes = {"norm.weight": (3,), "a.weight": (5, 3), "b.weight": (2, 5)}
    assert paired(shapes) == {"norm": ((-1,), None)}


def test_norms_that_fit_before_and_after_stay_open():
    shapes = {f"LayerNorm_{i}/scale": (4,) for i in range(2)}
    shapes |= {f"Dense_{i}/kernel": (4, 4) for i in range(3)}
    assert paired(shapes, ordered=False) == {
        "LayerNorm_0": ((-1, 0), None),
        "LayerNorm_1": ((0, 1), None),
    }


def test_a_norm_of_a_width_that_no_layer_has():
    with pytest.raises(names.UnfitError, match="acts on 7 neurons"):
        paired({"a.weight": (5, 3), "norm.weight": (7,), "b.weight": (2, 5)})


SEAMS = {
    "generator and discriminator": (
        ("g.0", (8, 3)),
        ("g.2", (5, 8)),
        ("d.0", (8, 5)),
        ("d.2", (1, 8)),
    ),
    "inverted residuals": (
        *(("features.0.0", (4, 3)), ("features.1.conv.0", (6, 4)), ("features.1.conv.1", (4, 6))),
        ("features.2.0", (5, 4)),
    ),
    "a classifier": (
        ("features.0", (4, 3)),
        ("features.2", (4, 4)),
        ("classifier.0", (3, 4)),
        ("classifier.2", (2, 3)),
    ),
    "one part a layer": (("conv1.0", (4, 3)), ("conv2.0", (4, 4)), ("fc", (2, 4))),
    "a sequence": (("net.0.linear", (4, 3)), ("net.1.linear", (4, 4)), ("net.2", (2, 4))),
}


@pytest.mark.parametrize(
    ("name", "want"),
    [*zip(SEAMS, ([1], [0, 2], [], [], []), strict=True)],
)
def test_seams_between_parts_that_may_be_more_than_a_chain(name, want):
    leaves = names.leaves({f"{n}.weight": s for n, s in SEAMS[name]})
    assert links.seams(links.chain(leaves, ())) == want


def test_a_chain_of_transposed_convolutions_has_square_ones_too():
    shapes = [(16, 12, 4, 4), (12, 12, 4, 4), (12, 5, 4, 4)]
    found = links.chain(kernels(**{f"m{i}": s for i, s in enumerate(shapes)}), ("transposed",))
    assert links.swappable(found, {}) == [1]
    shuffled = [*shapes[:2], (12, 3, 4, 4)]  # the last may read 12 channels as 3 of 4 pixels
    some = kernels(**{f"m{i}": s for i, s in enumerate(shuffled)})
    either = links.chain(some, ("transposed",))
    assert links.swappable(either, {}) == [1, 2]
    assert links.swappable(either, {}, given=True) == [1]
    assert links.swappable(either, {("m2",): 3}) == [1]
    named = kernels(**{f"deconv{i}": s for i, s in enumerate(shapes)})
    found = links.chain(named, ())
    assert all(x.transposed for x in found)
    assert links.swappable(found, {}) == []
    keras = {f"conv2d_transpose{x}/kernel": (4, 4, 12, 12) for x in ("", "_1")}
    assert all(x.transposed for x in links.chain(names.leaves(keras), ()))
    flax = names.leaves({"ConvTranspose_0/kernel": (4, 4, 12, 12)})
    assert links.swappable(links.chain(flax, ()), {}) == [0]
    plain = kernels(a=(12, 3, 3, 3), b=(12, 12, 3, 3))
    assert links.swappable(links.chain(plain, ()), {}) == []


def test_norms_of_several_names_follow_as_the_file_lists_them():
    shapes = {"fc_in.weight": (8, 2), "bn_in.weight": (8,), "fc_hidden.weight": (8, 8)}
    shapes |= {"bn_hidden.weight": (8,), "fc_out.weight": (1, 8)}
    assert paired(shapes) == {"bn_in": ((0,), None), "bn_hidden": ((1,), None)}
    behind = sorted(shapes, key=lambda n: n.startswith("bn"))
    assert paired({n: shapes[n] for n in behind}) == {
        "bn_in": ((0, 1), None),
        "bn_hidden": ((0, 1), None),
    }


@pytest.mark.parametrize(("end", "text"), [((8, 4, 3), "both fit"), ((7, 13, 3), "do not fit")])
def test_equal_kernels_are_not_tried_exponentially_often(end, text):
    shapes = [(6, 3, 3), (9, 2, 1), (9, 5, 3), (8, 5, 3), *[(8, 4, 3)] * 50, end]
    many = kernels(**{f"m{i}": s for i, s in enumerate(shapes)})
    start = time.perf_counter()
    with pytest.raises(names.UnfitError, match=text):
        links.chain(many, ("grouped", "transposed"))
    assert time.perf_counter() - start < 2
