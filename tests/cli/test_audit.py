"""`wsjax audit` as it is typed; the audit itself is replaced by one that is known."""

import json

import pytest
from click.testing import CliRunner

from wsjax import architectures, auditing
from wsjax.auditing import ModelAudit
from wsjax.cli.audit import SYMMETRIES
from wsjax.cli.main import main
from wsjax.symmetries import audit as symmetry_audit
from wsjax.symmetries.audit import Audit, Finding

FINDINGS = (
    Finding("permutation", "exact", 1e-7, 0.5, 2e-7, 0.25, 1e-5),
    Finding("sign", "broken", 0.4, 0.5, 1e-7, 0.25, 1e-5),
    Finding("scale", "not applicable", reason="the network admits no scale"),
    Finding("phase", "not applicable", reason="the network admits no phase"),
    Finding("widening", "broken", 0.3, 0.5),
)


@pytest.fixture
def calls(monkeypatch):
    received = []

    def audit_model(model, file, **settings):
        received.append((model, file, settings))
        spec = architectures.mlp([1, 2, 1])
        audit = Audit(FINDINGS, "float32", "float32", settings["samples"])
        return ModelAudit(model, "TrainedRegressor(...)", "SNE", "a network", spec, audit)

    monkeypatch.setattr(auditing, "audit_model", audit_model)
    return received


def run(*arguments):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_a_table_of_verdicts(calls):
    result = run("runs/first", "net.pt", "--samples", 2, "--set", "activation=relu")
    assert result.exit_code == 0
    ((model, file, settings),) = calls
    assert (model, str(file)) == ("runs/first", "net.pt")
    assert settings == {
        "samples": 2, "seed": 0, "branch": None, "config": {"activation": "relu"},
    }  # fmt: skip
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[0] == "SNE, exact: permutation; broken: sign, widening"
    assert "permutation exact 1e-07 0.5 2e-07 0.25 1e-05" in lines
    assert "scale: the network admits no scale" in lines


def test_a_required_symmetry_is_a_gate(calls):
    assert run("m", "--require", "permutation").exit_code == 0
    result = run("m", "--require", "permutation", "--require", "sign")
    assert result.exit_code == 1
    assert "required, but not exact: sign" in result.output


def test_json(calls):
    data = json.loads(run("m", "--json").stdout)
    assert data["encoder"] == "SNE"
    assert [f["symmetry"] for f in data["findings"]] == list(symmetry_audit.SYMMETRIES)
    assert data["findings"][1] == {
        "symmetry": "sign", "verdict": "broken", "change": 0.4, "control": 0.5, "function": 1e-7,
        "function_control": 0.25, "rounding": 1e-5, "reason": "",
    }  # fmt: skip


def test_a_model_that_is_none(tmp_path):
    result = run(tmp_path / "absent")
    assert result.exit_code == 2
    assert result.stderr.startswith("wsjax: ")
    assert "absent" in result.stderr


def test_choices_are_the_symmetries():
    assert SYMMETRIES == symmetry_audit.SYMMETRIES
    assert "\n    wsjax audit runs/first\n" in run("--help").output
