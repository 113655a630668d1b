"""`wsjax edit`: edited weights beside their pictures, and nothing replaced unasked."""

import io
import json
import pathlib

import numpy as np
import PIL.Image
import pytest
import safetensors.numpy
from cases import inrs
from click.testing import CliRunner

from wsjax import networks, tasks
from wsjax.cli.edit import edit
from wsjax.cli.main import main


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """The name of a pretrained model."""
    monkeypatch.setattr(tasks, "restore", {"wider": inrs.editor()}.__getitem__)


@pytest.fixture
def sources(tmp_path):
    return [str(p) for p in sorted(inrs.write(tmp_path / "inrs", inrs.vectors(2)).iterdir())]


def test_edited_weights_are_written_by_their_names(sources, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(
        edit, [*sources, "--with", "wider", "-o", str(out), "--png", "--json"]
    )
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert list(data) == ["files", "convention"]
    want = inrs.editor().edit(inrs.vectors(2))
    for i, row in enumerate(data["files"]):
        assert list(row) == ["file", "output", "change", "domain", "reason"]
        assert (row["file"], row["output"]) == (sources[i], str(out / f"net_{i}.safetensors"))
        arrays = safetensors.numpy.load_file(row["output"])
        assert set(arrays) == set(safetensors.numpy.load_file(sources[i]))
        kernel = networks.unravel(want[i], inrs.SPEC)["Dense_0/kernel"]
        np.testing.assert_allclose(arrays["net.0.linear.weight"], kernel.T, atol=1e-5)
        with PIL.Image.open(io.BytesIO((out / f"net_{i}.png").read_bytes())) as image:
            assert image.size == (8 + 2 * (168 + 8), 8 + 144 + 16 + 8)
        assert row["change"] > 0


def test_nothing_is_replaced_unless_asked(sources, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "net_1.safetensors").write_bytes(b"mine")
    command = ["edit", *sources, "--with", "wider", "-o", str(out)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert result.stderr.endswith("net_1.safetensors exists: expected another folder as --out, or "
                                  "--force\n")  # fmt: skip
    assert [p.name for p in out.iterdir()] == ["net_1.safetensors"]
    assert CliRunner().invoke(main, [*command, "--force"]).exit_code == 0
    assert (out / "net_1.safetensors").read_bytes() != b"mine"


def test_what_is_edited_is_never_overwritten(sources, tmp_path):
    place = pathlib.Path(sources[0]).parent
    before = pathlib.Path(sources[0]).read_bytes()
    result = CliRunner().invoke(
        main, ["edit", *sources, "--with", "wider", "-o", str(place), "--force"]
    )
    assert result.exit_code == 2
    assert "is an input, and never overwritten" in result.stderr
    assert pathlib.Path(sources[0]).read_bytes() == before


def test_two_files_of_one_name_are_not_written_into_one(sources, tmp_path):
    twice = [sources[0], *sources]
    result = CliRunner().invoke(
        main, ["edit", *twice, "--with", "wider", "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 2
    assert "different names, two would be written as" in result.stderr
    assert not (tmp_path / "o").exists()


def test_inrs_unlike_those_of_training_are_refused(sources, tmp_path):
    arrays = safetensors.numpy.load_file(sources[1])
    safetensors.numpy.save_file({k: 5 * a for k, a in arrays.items()}, sources[1])
    command = ["edit", *sources, "--with", "wider", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 3
    assert f"1 of 2 INRs are unlike those that the editor was trained on, so nothing is written; " \
           f"{sources[1]}: Dense_" in result.stderr  # fmt: skip
    assert not (tmp_path / "out").exists()
    assert CliRunner().invoke(main, [*command, "--anyway"]).exit_code == 0
