"""Names of stored arrays, and the order of layers that they tell."""

import itertools

import numpy as np
import pytest

from wsjax.recognition import names


def arrays(**shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("name", "module", "role", "writes_first"),
    [
        ("features.0.weight", ("features", "0"), "kernel", True),
        ("params/Conv_0/kernel", ("Conv_0",), "kernel", False),
        ("dense_1/kernel:0", ("dense_1",), "kernel", False),
        ("mlp/~/linear_0/w", ("mlp", "~", "linear_0"), "kernel", False),
        ("mystery", (), "", False),
    ],
)
def test_modules_and_roles(name, module, role, writes_first):
    (leaf,) = names.leaves({name: (3, 4)})
    assert (leaf.module, leaf.role, leaf.writes_first) == (module, role, writes_first)


def test_vectors_of_keras_without_names_are_known_by_their_number():
    shapes = {f"layers/norm/vars/{i}": (4,) for i in range(4)}
    shapes |= {"layers/dense/vars/0": (3, 4), "layers/dense/vars/1": (4,)}
    roles = {leaf.name: leaf.role for leaf in names.leaves(shapes)}
    assert [roles[f"layers/norm/vars/{i}"] for i in range(4)] == [
        *("scale", "bias", "mean", "variance")
    ]
    assert roles["layers/dense/vars/0"] == "kernel"
    assert roles["layers/dense/vars/1"] == "bias"


def test_one_array_more_of_a_module_is_refused():
    leaves = names.leaves({"fc.weight": (3, 4), "fc.kernel": (3, 4)})
    with pytest.raises(names.UnfitError, match=r"fc.kernel \[3, 4\]"):
        names.by_module(leaves)


def test_what_is_no_weight_lies_beside():
    net = {
        "w": np.zeros(3, np.float32),
        "bn.num_batches_tracked": np.zeros((), np.int64),
        "packed": np.zeros(3, np.int32),
        "spectral": np.zeros(3, np.complex64),
        "none": np.zeros((2, 0), np.float32),
        "rotary_emb.inv_freq": np.zeros(4, np.float32),
    }
    weights, beside = names.shapes(net)
    assert weights == {"w": (3,)}
    assert beside == {
        "bn.num_batches_tracked": "buffer",
        "packed": "int32",
        "spectral": "complex64",
        "none": "empty",
        "rotary_emb.inv_freq": "buffer",
    }


def test_layer_ten_comes_after_nine():
    modules = [("net", str(i)) for i in sorted(range(12), key=str)]
    (order,) = names.orders(modules)
    assert [int(modules[i][1]) for i in order] == list(range(12))


def test_other_names_come_in_every_order_that_of_the_file_first():
    modules = [("b", "1"), ("a",), ("b", "0"), ("c",)]
    found = list(names.orders(modules))
    assert found[0] == (2, 0, 1, 3)
    assert sorted(found) == sorted(sum(x, ()) for x in itertools.permutations([(2, 0), (1,), (3,)]))


def test_orders_are_not_counted_without_end():
    modules = [(chr(97 + i) * 3,) for i in range(20)]
    assert sum(1 for _ in names.orders(modules)) == names.TRIES


def test_sorted_names_say_nothing_about_the_order():
    assert names.by_name(["a.10", "a.2", "b"])
    assert names.by_name(["a.2", "a.10", "b"])
    assert not names.by_name(["b", "a"])
