"""Which part of a file is the network: words at the levels of its tree, never an optimiser."""

import numpy as np
import pytest
from cases.checkpoints import stored

from wsjax.files import branches

W, B = np.zeros((4, 3), "f4"), np.zeros(4, "f4")


def found(*paths, **shapes):
    """{branch: (kind, names)} of a file with these arrays."""
    every = branches.branches([stored(p, np.zeros(shapes.get(p, (4, 3)), "f4")) for p in paths])
    return {b.name: (b.kind, ["/".join(k) for k, _ in b.arrays]) for b in every}


def default(*paths, branch=None):
    every = branches.branches([stored(p, W) for p in paths])
    return branches.chosen(every, branch).name


def test_state_dict_beside_an_optimiser():
    assert found("state_dict/model.fc.weight", "optimizer_states/0/state/0/exp_avg") == {
        "state_dict": ("model", ["model.fc.weight"]),
        "optimizer_states": ("optimiser", ["0/state/0/exp_avg"]),
    }


@pytest.mark.parametrize(
    "optimiser",
    ["opt_state/0/mu/fc/kernel", "optimizer/state/0/momentum_buffer", "optim/x", "rng/key"],
)
def test_optimisers_are_never_the_model(optimiser):
    every = branches.branches([stored("params/fc/kernel", W), stored(optimiser, W)])
    assert branches.chosen(every, None).name == "params"
    with pytest.raises(ValueError, match=r"expected a branch of a network, got .*params \(model"):
        branches.chosen(every, optimiser.split("/")[0])


def test_an_optimisers_array_beside_the_weights_is_not_one_of_them():
    every = branches.branches([stored("fc.weight", W), stored("fc.exp_avg", W)])
    assert [(b.kind, b.parameters) for b in every] == [("model", 12), ("optimiser", 12)]


@pytest.mark.parametrize("paths", [("optimizer/0/x",), ("state/0/exp_avg", "state/0/step")])
def test_a_file_with_optimisers_alone_has_no_network(paths):
    every = branches.branches([stored(p, W) for p in paths])
    with pytest.raises(ValueError, match=r"expected arrays of a network, found (opt|state \(opt)"):
        branches.chosen(every, None)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("model/fc.weight", "ema/fc.weight", "optimizer/x"), "ema"),
        (("ema/module.fc.weight", "model/fc.weight"), "ema"),  # wrappers do not matter
        (("model/fc.weight", "ema/other.weight"), "model"),  # not the same arrays
        (("params/fc.weight", "params_ema/fc.weight"), "params_ema"),
        (("ema_model.module.fc.weight", "model.fc.weight"), "ema_model"),
        (("state_dict/ema_model.fc.weight", "state_dict/model.fc.weight"), "state_dict/ema_model"),
        (("online_model.fc.weight", "ema_model.fc.weight"), "ema_model"),
        (("student/fc.weight", "teacher/fc.weight"), "teacher"),
        (("generator/fc.weight", "discriminator/fc.weight"), "generator"),
        (("critic/fc.weight", "actor/fc.weight", "optimizer/x"), "actor"),
        (("actor/fc.weight", "critic/fc.weight"), ""),  # modules of one network
        (("params/actor/kernel", "params/critic/kernel", "opt_state/mu"), "params"),
        (("model/fc.weight", "target_model/fc.weight", "optimizer/x"), "model"),
        (("target/fc/kernel", "state/step", "optimizer/target/fc/kernel"), "target"),
        (("train_state/params/fc/kernel", "train_state/opt_state/0/mu"), "train_state/params"),
        (("params/params/fc/kernel", "params/batch_stats/bn/mean"), "params/params"),
        (("model/model/fc.weight",), "model/model"),
        (("model/params/fc.weight", "model/opt_state/mu", "model/step"), "model/params"),
        (("model/fc.weight", "ema/shadow/fc.weight"), "ema/shadow"),
        (("fc.weight",), ""),
        (("encoder/fc.weight", "decoder/fc.weight"), ""),
        (("Dense_0/kernel", "model/kernel", "loss/kernel"), ""),  # modules of one network
        (("params/model/kernel", "params/head/kernel"), "params"),
        (("layers/dense/vars/0", "optimizer/vars/0"), ""),
    ],
)
def test_defaults(paths, expected):
    assert default(*paths) == expected


def test_a_branch_is_chosen_by_its_name_or_its_last_key():
    paths = ("state_dict/ema_model.fc.weight", "state_dict/model.fc.weight")
    assert default(*paths, branch="state_dict/model") == "state_dict/model"
    assert default(*paths, branch="model") == "state_dict/model"
    with pytest.raises(ValueError, match=r"got 'raw'; found state_dict/model \(model, 1 array"):
        default(*paths, branch="raw")


def test_flaxs_collections_belong_to_every_copy_of_the_network():
    got = found("params/fc/kernel", "ema_params/fc/kernel", "batch_stats/bn/mean", "step")
    both = ["fc/kernel", "bn/mean"]
    assert got["params"] == ("model", both)
    assert got["ema_params"] == ("average", both)
    assert "batch_stats" not in got
    assert found("params/bn/w", "batch_stats/bn/w")["params"][1] == ["bn/w", "batch_stats/bn/w"]


def test_an_optimiser_within_a_collection_is_one():
    got = found("params/fc/kernel", "state/opt/0/mu", "state/bn/mean", "state/0/exp_avg")
    assert got["params"] == ("model", ["fc/kernel", "bn/mean"])
    assert got["state"] == ("optimiser", ["opt/0/mu", "0/exp_avg"])


def test_an_average_alone_is_a_wrapper_of_names():
    assert found("ema_model.fc.weight", "initted", initted=()) == {
        "": ("model", ["ema_model.fc.weight", "initted"])
    }


def test_flat_averages_beside_several_modules():
    got = found("model.unet.w", "first_stage.w", "model_ema.unetw")
    assert got == {
        "raw": ("model", ["model.unet.w", "first_stage.w"]),
        "model_ema": ("average", ["unetw"]),
    }


def test_hostile_depth_is_no_recursion():
    assert default("/".join(["model"] * 5000)) == "/".join(["model"] * 8)


def test_tied_arrays_count_once():
    tied = [stored(f"model/{n}", W, storage="same") for n in ("embed.weight", "head.weight")]
    (branch,) = branches.branches([*tied, stored("model/bias", B)])
    assert branch.parameters == 16
    assert str(branch) == "model (model, 3 arrays, 16 numbers)"
