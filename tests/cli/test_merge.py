import inspect
import json

import numpy as np
import pytest
from cases.pairs_of_networks import permuted_mlp, saved, torch_mlp
from click.testing import CliRunner

from wsjax.cli import merge  # noqa: F401
from wsjax.cli.main import main
from wsjax.files import load


def outputs(params, x):
    for i in (0, 2):
        x = np.maximum(x @ params[f"{i}.weight"].T + params[f"{i}.bias"], 0)
    return x @ params["4.weight"].T + params["4.bias"]


PROGRAM = f"import numpy as np\n\n{inspect.getsource(outputs)}"


def run(*args):
    return CliRunner().invoke(main, ["merge", *map(str, args)])


@pytest.fixture
def files(tmp_path):
    state = torch_mlp()
    a = saved(tmp_path / "a.safetensors", state)
    b = saved(tmp_path / "b.safetensors", permuted_mlp(state))
    x = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)
    y = outputs(state, x).argmax(-1)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return a, b, tmp_path / "data.npz", tmp_path / "c.safetensors"


def test_the_average_of_a_network_and_its_copy(files):
    a, b, data, out = files
    result = run(a, b, "-o", out, "--data", data, "--set", "activation=relu", "--weight", ".25")
    assert result.exit_code == 0, result.output
    assert "0.75 A + 0.25 B, after matching" in result.output
    assert "loss barrier" in result.output
    found, _ = load(out)
    assert all(np.allclose(found[n], x, atol=1e-6) for n, x in torch_mlp().items())


def test_barriers_with_a_function_of_ones_own(files, tmp_path, monkeypatch):
    a, b, data, out = files
    (tmp_path / "own_network_21.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    result = run(a, b, "-o", out, "--data", data, "--function", "own_network_21:outputs", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["matched_barrier"] < 1e-5 < 0.01 < found["barrier"]
    assert set(found["losses"]) == {"a", "b", "merged"}


def test_as_stored(files):
    a, b, _, out = files
    assert run(a, b, "-o", out, "--no-match").exit_code == 0
    mean = {n: (x + permuted_mlp(torch_mlp())[n]) / 2 for n, x in torch_mlp().items()}
    assert all(np.allclose(load(out)[0][n], x, atol=1e-6) for n, x in mean.items())


def test_mistakes_are_one_sentence(files, tmp_path):
    a, b, data, out = files
    np.savez(tmp_path / "other.npz", x=np.ones(3), z=np.ones(3))
    x = np.zeros((3, 6), np.float32)
    wrong = {"class": (x, [0, 1, 3]), "negative": (x, [0, -1, 2]), "nan": (x + np.nan, [0, 1, 2]),
             "single": (x, 1)}  # fmt: skip
    for name, (x, y) in wrong.items():
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.array(y))
    relu = ["--set", "activation=relu", "--data"]
    for more, text in (
        (["--data", data], "--function"),
        (["--data", tmp_path / "other.npz"], "expected arrays x and y"),
        (["--data", tmp_path / "none.npz"], "found none"),
        (["--data", data, "--function", "no_such_module:f"], "No module named"),
        (["--data", data, "--function", "nothing"], "MODULE:NAME"),
        (["--function", "numpy:sum"], "--data"),
        (["--data", data, "--function", "numpy:pi"], "expected a function"),
        (["--data", data, "--function", "numpy:dot"], "the function raised"),
        ([*relu, tmp_path / "class.npz"], "classes y from 0 to 2"),
        ([*relu, tmp_path / "negative.npz"], "got -1 to 2"),
        ([*relu, tmp_path / "nan.npz"], "finite numbers in x"),
        ([*relu, tmp_path / "single.npz"], "shapes (3, 6) and ()"),
        (["--weight", "2"], "0<=x<=1"),
    ):
        result = run(a, b, "-o", out, *more)
        assert result.exit_code == 2, more
        assert text in result.output, (more, result.output)
        assert not out.exists()
