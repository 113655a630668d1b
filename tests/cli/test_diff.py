import json

import pytest
from cases.pairs_of_networks import flax_mlp, noisy, permuted_mlp, saved, torch_mlp
from click.testing import CliRunner

from wsjax.cli import diff
from wsjax.cli.main import main


def run(*args):
    return CliRunner().invoke(main, ["diff", *map(str, args)])


@pytest.fixture
def files(tmp_path):
    state = torch_mlp()
    arrays = {
        "a": state, "same": flax_mlp(permuted_mlp(state)), "tuned": noisy(state, 0.2),
        "other": torch_mlp(5), "wide": torch_mlp(6, (6, 20, 24, 3)),
    }  # fmt: skip
    return {name: saved(tmp_path / f"{name}.safetensors", x) for name, x in arrays.items()}


def test_the_verdict_comes_first_with_its_number(files):
    result = run(files["a"], files["same"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("same function up to symmetry: after matching no array")
    assert "transposed: 0.weight = Dense_0/kernel" in result.output
    assert "--set" in result.output  # activations would add scales
    result = run(files["a"], files["same"], "--set", "activation=relu")
    assert "matching changes B's outputs by" in result.output


@pytest.mark.parametrize(
    ("other", "gate", "code"),
    [("same", "same", 0), ("tuned", "same", 1), ("tuned", "related", 0), ("other", "related", 1)],
)
def test_gates(files, other, gate, code):
    assert run(files["a"], files[other], "--gate", gate).exit_code == code


def test_json_has_all_that_was_found(files):
    result = run(files["a"], files["tuned"], "--json")
    data = json.loads(result.output)
    assert data["verdict"]["name"] == "fine-tuned"
    assert data["verdict"]["number"] == data["chance"]["z"] > data["verdict"]["threshold"]
    assert {x["name"] for x in data["arrays"]} == {*data["names"]["same"]}
    assert 0.1 < data["raw"]["relative"] < 0.3


def test_other_architectures_are_named(files):
    result = run(files["a"], files["wide"])
    assert result.exit_code == 0
    assert result.output.startswith("different architectures; ")
    assert "0.weight: [24, 6] in A, [20, 6] in B" in result.output


def test_nothing_comparable(files, tmp_path):
    other = saved(tmp_path / "x.safetensors", {"x": torch_mlp()["0.weight"]})
    assert run(files["a"], other).exit_code == 3
    assert run(files["a"], other, "--gate", "related").exit_code == 3


def test_failures_are_one_sentence(files, tmp_path):
    result = run(files["a"], tmp_path / "none.safetensors")
    assert result.exit_code == 2
    result = run(files["a"], files["other"], "--limit-gb", "0")
    assert result.exit_code == 3
    assert "--no-match" in result.output
    assert run(files["a"], files["other"], "--limit-gb", "0", "--no-match").exit_code == 0


def test_examples_are_in_the_help():
    result = run("--help")
    assert "wsjax diff torch.pt flax.msgpack --set activation=relu" in result.output
    assert diff.ROWS > 10
