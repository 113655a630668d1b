"""The reader of Schuerholt et al.'s zoos, on small files in the exact published layout."""

import doctest
import json

import jax
import numpy as np
import pytest
from cases.torch_by_hand import Instance, Path, State, conv, draw, max_pool, write
from scipy import special

from third_party import published, schuerholt_zoos
from wsjax import architectures
from wsjax.networks import unravel

FORWARD = jax.jit(architectures.forward, static_argnums=2)
F = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + special.erf(x / np.sqrt(2))) / 2,
}


def torch_network(family="conv3-linear2", channels=1, seed=0, dropout=0.0):
    """A state dict with the authors' names: every module counts, the dropouts too."""
    shapes = published.torch_shapes(schuerholt_zoos.spec(family, channels, "relu"))
    numbers = (0, 4, 8, 11, 14) if dropout else (0, 3, 6, 9, 11)
    numbers = (0, 4, 8, 13, 16) if family.endswith("large") else numbers
    names = [f"module_list.{n}.{r}" for n in numbers for r in ("weight", "bias")]
    arrays = [draw(*s, seed=seed) for s in shapes]
    return State(dict(zip(names, arrays, strict=True)), ("", "module_list"))


def theirs(state, x, activation, pool_first=True):
    """conv - pool - activation, flattened, two dense layers; in PyTorch's order throughout."""
    w = list(state.values())
    pools = (2, 2, 2) if len(w[0]) == 16 else (2, 2, 1)
    for i, pool in enumerate(pools):
        x = conv(x, w[2 * i], w[2 * i + 1])
        x = F[activation](max_pool(x, pool)) if pool_first else max_pool(F[activation](x), pool)
    x = F[activation](w[6] @ x.ravel() + w[7])
    return w[8] @ x + w[9]


def zoo_file(path, change=None, **more):
    """{"trainset": ..., ...}: two runs, one, one; epochs 0, 25 and 50 of each."""
    parts, run = {}, 0
    for name, count in (("trainset", 2), ("valset", 1), ("testset", 1)):
        data, paths, epochs = [], [], []
        table = {k: [] for k in ("test_acc", "training_iteration", "ggap", "model::nlin")}
        table |= {k: [] for k in ("model::init_type", "optim::optimizer", "optim::lr")}
        for _ in range(count):
            nlin = ["tanh", "relu", "gelu", "sigmoid"][run]
            for epoch in (0, 25, 50):
                dropout = 0.5 * (run % 2)
                data.append(torch_network(seed=100 * run + epoch, dropout=dropout))
                paths.append(Path(f"/netscratch/zoo/NN_tune_trainable_{run:05d}"))
                epochs.append(epoch)
                gap = 0.01 * run if epoch else -999.1
                facts = (0.1 + epoch / 100, epoch, gap, nlin, "kaiming_normal", "adam", 1e-3)
                for k, v in zip(table, facts, strict=True):
                    table[k].append(v)
            run += 1
        fields = {"mode": "checkpoint", "task": "reconstruction", "weight_threshold": 5.0}
        fields |= {"data_in": data, "data_out": list(data), "paths": paths, "epochs": epochs}
        fields |= {"labels_in": [f"{p}#_#epoch" for p in paths], "properties": table}
        parts[name] = Instance(schuerholt_zoos.RECORDS[0], fields | more)
    if change:
        change(parts)
    write(path, parts)
    return path


@pytest.fixture
def zoo_pt(tmp_path):
    return zoo_file(tmp_path / "dataset_mnist_hyp_fix.pt")


def test_a_preprocessed_zoo(zoo_pt):
    zoo = schuerholt_zoos.read(zoo_pt).zoo()
    activations = [zoo.specs[s].layers[0].activation for s in zoo.which]
    assert activations == ["tanh", "relu", "gelu", "sigmoid"]
    assert {k: v.tolist() for k, v in zoo.splits.items()} == {
        "train": [0, 1],
        "validation": [2],
        "test": [3],
    }
    np.testing.assert_allclose(zoo.labels["test_accuracy"], 0.6, 1e-6)
    np.testing.assert_allclose(zoo.labels["generalization_gap"], 0.01 * np.arange(4), 1e-6)
    np.testing.assert_array_equal(zoo.labels["epoch"], 50)
    np.testing.assert_array_equal(zoo.labels["init_kaiming_normal"], 1)
    both = schuerholt_zoos.read(zoo_pt, (0, 25)).zoo()
    np.testing.assert_array_equal(both.runs, [0, 0, 1, 1, 2, 2, 3, 3])
    assert "generalization_gap" not in both.labels  # epoch 0 has none
    np.testing.assert_array_equal(both.splits["test"], [6, 7])


@pytest.mark.parametrize(
    ("run", "activation"), [(0, "tanh"), (1, "relu"), (2, "gelu"), (3, "sigmoid")]
)
def test_pooling_first_is_the_same_function_unless_the_activation_falls(zoo_pt, run, activation):
    zoo, x = schuerholt_zoos.read(zoo_pt).zoo(), draw(1, 28, 28, scale=1.0)
    spec = zoo.specs[zoo.which[run]]
    params = unravel(zoo.vectors[run, : spec.count], spec)
    state = torch_network(seed=100 * run + 50, dropout=0.5 * (run % 2))
    want = theirs(state, x, activation)
    ours = np.asarray(FORWARD(params, np.moveaxis(x, 0, -1), spec))
    assert np.ptp(want) > 0.1
    np.testing.assert_allclose(ours, theirs(state, x, activation, pool_first=False), atol=1e-4)
    error = np.abs(ours - want).max()
    assert (error < 1e-4) == (activation in schuerholt_zoos.MONOTONE)


@pytest.mark.parametrize(("family", "channels"), list(schuerholt_zoos._SPECS))
def test_every_family_is_known_by_its_shapes_and_converted(family, channels, tmp_path):
    run = tmp_path / "NN_tune_trainable_1"
    state = torch_network(family, channels)
    write(run / "checkpoint_000050" / "checkpoints", state)
    (run / "result.json").write_text(result_lines(50))
    zoo = schuerholt_zoos.read_raw(tmp_path).zoo()
    spec = schuerholt_zoos.spec(family, channels, "tanh")
    assert zoo.specs == (spec,)
    size = 32 if family.endswith("large") else 28
    if (family, channels) == ("conv3-linear2-large", 3):
        x = draw(channels, size, size, scale=1.0)
        ours = FORWARD(unravel(zoo.vectors[0], spec), np.moveaxis(x, 0, -1), spec)
        np.testing.assert_allclose(ours, theirs(state, x, "tanh"), rtol=1e-4, atol=1e-4)
    params = unravel(zoo.vectors[0], spec)
    weights = list(state.values())
    np.testing.assert_array_equal(params["Conv_1/kernel"][2, 1, 3, 5], weights[2][5, 3, 2, 1])
    rows, _, channels_last, _ = params["Dense_0/kernel"].shape
    flat = weights[6].reshape(20, channels_last, rows, rows)
    np.testing.assert_array_equal(params["Dense_0/kernel"][1, 0, 2, 7], flat[7, 2, 1, 0])


def test_vectors_instead_of_state_dicts(tmp_path):
    """The authors' mode "vector": one tensor, of each layer the weight before the bias."""

    def change(parts):
        for part in parts.values():
            rows = [np.concatenate([a.ravel() for a in s.values()]) for s in part.fields["data_in"]]
            part.fields["data_in"] = np.stack(rows)

    want = schuerholt_zoos.read(zoo_file(tmp_path / "a.pt")).zoo()
    found = schuerholt_zoos.read(zoo_file(tmp_path / "b.pt", change)).zoo()
    np.testing.assert_array_equal(found.vectors, want.vectors)


def test_a_seed_zoo_needs_its_activation(tmp_path):
    def change(parts):
        for part in parts.values():
            del part.fields["properties"]["model::nlin"]

    path = zoo_file(tmp_path / "dataset_mnist_seed.pt", change)
    with pytest.raises(ValueError, match="does not state the activation; give it: 'tanh'"):
        schuerholt_zoos.read(path).zoo()
    assert [
        s.layers[0].activation for s in schuerholt_zoos.read(path, (50,), "tanh").zoo().specs
    ] == ["tanh"]


def part_of(name, change):
    return lambda parts: change(parts[name].fields)


def weight(change):
    return lambda parts: change(parts["valset"].fields["data_in"][2])


def first_conv(value):
    def change(state):
        state["module_list.0.weight"] = value(state["module_list.0.weight"])

    return weight(change)


def swap_runs(parts):
    parts["testset"].fields["paths"][2] = parts["trainset"].fields["paths"][0]


ZOO_DAMAGE = {
    "no test set": (lambda p: p.pop("testset"), "expected a dict of"),
    "another class": (
        lambda p: p.update(testset=Instance("evil.Dataset", {})),
        "names 'evil.Dataset'",
    ),
    "no class": (lambda p: p.update(testset=[1]), "testset: expected an instance of"),
    "no properties": (part_of("valset", lambda f: f.update(properties=None)), "and properties"),
    "fewer paths": (part_of("valset", lambda f: f["paths"].pop()), "{'paths': 2}"),
    "fewer labels": (
        part_of("valset", lambda f: f["properties"]["test_acc"].pop()),
        "{'test_acc': 2}",
    ),
    "accuracy in percent": (
        part_of("valset", lambda f: f["properties"]["test_acc"].__setitem__(2, 97.5)),
        "test_accuracy from 0 to 1, got 97.5",
    ),
    "accuracy in words": (
        part_of("valset", lambda f: f["properties"]["test_acc"].__setitem__(2, "good")),
        "test_acc to be numbers, got a str",
    ),
    "an activation": (
        part_of("valset", lambda f: f["properties"]["model::nlin"].__setitem__(2, "elu")),
        "activation of .*, got 'elu'",
    ),
    "a run in two splits": (swap_runs, "run 0 sits in two splits"),
    "another shape": (first_conv(lambda a: a[:4]), r"expected a network of .*\(4, 1, 5, 5\)"),
    "another name": (weight(lambda s: s.update(extra=s["module_list.0.bias"])), "got 'extra'"),
    "two networks": (
        weight(lambda s: s.update({k.replace("module_list", "ema"): -v for k, v in s.items()})),
        r"one network, got 'module_list\.0\.weight' and 'ema\.0\.weight'.* save one of them alone",
    ),
    "a layer of another": (
        weight(lambda s: s.update({"ema.11.bias": s.pop("module_list.11.bias")})),
        r"got 'module_list\.0\.weight' and 'ema\.11\.bias', which may be of two",
    ),
    "a layer missing": (weight(lambda s: s.pop("module_list.0.bias")), "got shapes"),
    "nan": (first_conv(lambda a: a * np.nan), "1 of 4 .*\n  Conv_0/kernel: 1$"),
    "whole numbers": (first_conv(lambda a: a.astype("i8")), "'int64'"),
    "no such epoch": (
        lambda p: [q.fields.update(epochs=[1] * len(q.fields["paths"])) for q in p.values()],
        r"no network of epochs \[50\]",
    ),
}


@pytest.mark.parametrize("damage", ZOO_DAMAGE)
def test_damage_to_a_preprocessed_zoo_is_one_clear_error(damage, tmp_path):
    change, message = ZOO_DAMAGE[damage]
    path = zoo_file(tmp_path / "dataset.pt", change)
    with pytest.raises(ValueError, match=message):
        schuerholt_zoos.read(path).zoo()


def result_lines(last, accuracy=0.5, **more):
    config = {"model::nlin": "tanh", "optim::lr": 1e-3, "optim::optimizer": "adam", "seed": 3}
    lines = []
    for epoch in range(last + 1):
        facts = {"training_iteration": epoch, "test_acc": accuracy, "test_loss": 1.5}
        facts |= {"train_acc": 0.7 if epoch else -999, "train_loss": 1.2 if epoch else -999}
        lines.append(json.dumps(facts | {"config": config} | more) + "\n")
    return "".join(lines)


@pytest.fixture
def raw(tmp_path):
    for i, name in enumerate("ab"):
        run = tmp_path / "zoo" / f"NN_tune_trainable_{name}"
        write(run / "checkpoint_0" / "checkpoints", torch_network(seed=i))
        write(run / "checkpoint_50" / "checkpoints", torch_network(seed=10 + i))
        (run / "result.json").write_text(result_lines(50))
    (tmp_path / "zoo" / "config.json").write_text("{}")
    return tmp_path / "zoo"


def test_a_raw_zoo(raw):
    zoo = schuerholt_zoos.read_raw(raw).zoo()
    assert (len(zoo), zoo.splits) == (2, {})
    np.testing.assert_allclose(zoo.labels["generalization_gap"], 0.2, rtol=1e-5)
    every = schuerholt_zoos.read_raw(raw, (0, 50)).zoo()
    np.testing.assert_array_equal(every.runs, [0, 0, 1, 1])
    assert "train_accuracy" not in every.labels
    (raw / "NN_tune_trainable_a" / "checkpoint_50" / "checkpoints").unlink()
    with pytest.raises(FileNotFoundError, match="checkpoint_50"):
        schuerholt_zoos.read_raw(raw).zoo()
    assert len(schuerholt_zoos.read_raw(raw, missing="exclude").zoo()) == 1
    write(raw / "NN_tune_trainable_a" / "checkpoint_50" / "checkpoints", torch_network())
    result = raw / "NN_tune_trainable_b" / "result.json"
    result.write_text(result_lines(40))
    with pytest.raises(FileNotFoundError, match=r"\[50\] are missing"):
        schuerholt_zoos.read_raw(raw).zoo()
    result.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="lines of JSON"):
        schuerholt_zoos.read_raw(raw, missing="exclude").zoo()
    with pytest.raises(FileNotFoundError, match="a folder of runs"):
        schuerholt_zoos.read_raw(raw / "absent").zoo()


def test_the_sizes_that_the_paper_prints():
    assert doctest.testmod(schuerholt_zoos) == (0, 1)
    assert schuerholt_zoos.spec("conv3-linear2", 3, "relu").count == 2864
