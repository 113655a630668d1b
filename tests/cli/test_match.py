import json

import numpy as np
from cases.pairs_of_networks import permuted_mlp, saved, torch_mlp
from click.testing import CliRunner

from wsjax.cli import match  # noqa: F401
from wsjax.cli.main import main
from wsjax.files import load


def run(*args):
    return CliRunner().invoke(main, ["match", *map(str, args)])


def test_the_aligned_copy_is_written(tmp_path):
    state = torch_mlp()
    a = saved(tmp_path / "a.safetensors", state)
    b = saved(tmp_path / "b.safetensors", permuted_mlp(state))
    out = tmp_path / "c.safetensors"
    result = run(a, b, "-o", out, "--json", "--set", "activation=relu")
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    assert data["matched"]["relative"] < 1e-6 < 0.5 < data["raw"]["relative"]
    assert data["moved"] > 40
    assert data["function_error"] < 1e-5
    found, _ = load(out)
    assert all(np.allclose(found[n], x) for n, x in state.items())


def test_files_are_not_overwritten(tmp_path):
    a, b = (saved(tmp_path / f"{n}.safetensors", torch_mlp(i)) for i, n in enumerate("ab"))
    out = tmp_path / "c.npz"
    assert run(a, b, "-o", out).exit_code == 0
    before = out.read_bytes()
    result = run(a, b, "-o", out)
    assert result.exit_code == 2
    assert "--force" in result.output
    assert run(b, a, "-o", out, "--force").exit_code == 0
    assert out.read_bytes() != before
    link = tmp_path / "link.safetensors"
    link.symlink_to(a)
    for target in (a, b, link):
        assert "never overwritten" in run(a, b, "-o", target, "--force").output
    assert "ends in" in run(a, b, "-o", tmp_path / "c.pt").output
    assert "folder" in run(a, b, "-o", tmp_path / "none" / "c.npz").output


def test_other_architectures_are_refused(tmp_path):
    a = saved(tmp_path / "a.safetensors", torch_mlp())
    b = saved(tmp_path / "b.safetensors", torch_mlp(widths=(6, 16, 3)))
    result = run(a, b, "-o", tmp_path / "c.npz")
    assert result.exit_code == 3
    assert "A has 3 layers, B 2" in result.output
    assert not (tmp_path / "c.npz").exists()
