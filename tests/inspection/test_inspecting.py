"""`inspect` and `verify` on files of all kinds, whole and damaged."""

import json

import numpy as np
import pytest
from cases import weight_files

import wsjax
from wsjax.files import Finding
from wsjax.inspection import certainty, inspecting, reports

FORMATS = [n for n in weight_files.FORMATS if n not in ("hdf5", "keras")]
RNG = np.random.default_rng(0)
MLP = {
    "net.0.weight": RNG.standard_normal((5, 3)).astype("f4"),
    "net.0.bias": RNG.standard_normal(5).astype("f4"),
    "net.2.weight": RNG.standard_normal((2, 5)).astype("f4"),
    "net.2.bias": RNG.standard_normal(2).astype("f4"),
}


def written(folder, arrays=MLP, cut=0, name="net.safetensors"):
    data = weight_files.safetensors_bytes(arrays)
    (folder / name).write_bytes(data[: len(data) - cut])
    return folder / name


def facts(report):
    return {f.name: (f.value, f.certainty) for f in report.facts}


def kinds(report, severity="error"):
    return [f.kind for f in report.findings if f.severity == severity]


def test_a_network_is_described(tmp_path):
    report = wsjax.inspect(written(tmp_path), config={"activation": "tanh"})
    assert report.level == "exact"
    assert facts(report)["format"] == ("safetensors", "read")
    assert facts(report)["parameters"] == (32, "read")
    assert facts(report)["activations"] == ("tanh", "inferred")
    assert facts(report)["config"] == ("activation", "read")
    assert facts(report)["not finite"] == (0, "derived")
    whole = np.concatenate([a.ravel() for a in MLP.values()])
    assert facts(report)["norm"][0] == pytest.approx(float(np.linalg.norm(whole)))
    assert not report.findings
    (axis,) = report.axes
    assert (axis.neurons, axis.sign, axis.scale, axis.phases) == (5, True, False, False)
    assert axis.log10 == pytest.approx(np.log10(120))
    first = report.arrays[0]
    assert (first.name, first.part, first.shape, first.layer) == (
        *("net.0.weight", "", (5, 3)),
        report.recognition.spec.layers[0].name,
    )
    assert first.hidden == first.axes[:1]
    for a in report.arrays:
        assert a.statistics.mean == pytest.approx(MLP[a.name].mean(dtype="f8"))
        kernel = MLP[a.name].ndim == 2
        assert a.statistics.spectral == (
            pytest.approx(np.linalg.norm(MLP[a.name], 2)) if kernel else None
        )


def test_symmetries_are_not_denied_where_activations_are_not_known(tmp_path):
    report = wsjax.inspect(written(tmp_path))
    assert report.level == "chained"
    assert facts(report)["activations"] == ("not known", "inferred")
    assert (report.axes[0].sign, report.axes[0].scale) == (None, None)


def test_parts_of_a_fused_array_are_measured_apart(tmp_path):
    width, shapes = 4, {}
    for name, shape in {
        "self_attn.in_proj_weight": (3 * width, width),
        "self_attn.in_proj_bias": (3 * width,),
        "self_attn.out_proj.weight": (width, width),
        "self_attn.out_proj.bias": (width,),
        "linear1.weight": (8, width),
        "linear1.bias": (8,),
        "linear2.weight": (width, 8),
        "linear2.bias": (width,),
        **{f"norm{i}.{x}": (width,) for i in (1, 2) for x in ("weight", "bias")},
    }.items():
        shapes[f"layers.0.{name}"] = RNG.standard_normal(shape).astype("f4")
    config = {"heads": 2, "activation": "relu", "norm_first": True}
    report = wsjax.inspect(written(tmp_path, shapes), config=config)
    assert report.level == "exact", report.recognition.notes
    fused = shapes["layers.0.self_attn.in_proj_weight"]
    parts = [a for a in report.arrays if a.name == "layers.0.self_attn.in_proj_weight"]
    assert len(parts) == 3
    for i, a in enumerate(parts):
        part = fused[width * i : width * (i + 1)]
        assert a.part != a.name
        assert a.statistics.count == part.size
        assert a.statistics.mean == pytest.approx(part.mean(), rel=1e-4)
        assert a.statistics.spectral == pytest.approx(np.linalg.norm(part, 2), rel=1e-4)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_described(tmp_path, name):
    path = weight_files.FORMATS[name](tmp_path)
    report, result = wsjax.inspect(path), wsjax.verify(path)
    assert not kinds(report)
    assert report.contents.parameters > 0
    assert sum(a.statistics.count for a in report.arrays if a.statistics) > 0
    assert result.findings == report.findings
    assert result.level == report.level
    assert result.summary.startswith(f"{report.contents.format}, ")


def test_the_facts_of_the_header_come_first(tmp_path):
    stages = []
    report = wsjax.inspect(written(tmp_path), early=stages.append)
    (stage,) = stages
    assert stage.header == report.header
    assert {f.name for f in stage.facts} >= {"format", "arrays", "parameters"}
    assert not stage.arrays
    assert stage.recognition is None


def test_a_file_that_is_cut_is_described_as_far_as_it_goes(tmp_path):
    path = written(tmp_path, cut=4)
    report = wsjax.inspect(path)
    assert kinds(report) == ["truncated", "unreadable"]
    assert report.level == "chained"
    assert [a.name for a in report.arrays if a.statistics is None] == ["net.2.bias"]
    assert wsjax.verify(path).worst == "error"


def test_numbers_that_are_not_finite_are_counted(tmp_path):
    arrays = {**MLP, "net.0.bias": np.array([1, np.nan, np.inf, 2, 3], "f4")}
    report = wsjax.inspect(written(tmp_path, arrays))
    assert kinds(report) == ["nonfinite"]
    assert facts(report)["not finite"] == (2, "derived")
    assert report.level == "chained"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b"", "empty"),
        (b"no weights", "expected a file of"),
    ],
)
def test_what_is_no_weights_file_is_one_finding(tmp_path, data, words):
    path = tmp_path / "net.safetensors"
    path.write_bytes(data)
    for result in (wsjax.inspect(path), wsjax.verify(path)):
        (finding,) = result.findings
        assert finding.severity == "error"
        assert words in finding.text
        assert result.level == "none"


def test_folders_and_absent_files(tmp_path):
    (tmp_path / "empty").mkdir()
    assert kinds(wsjax.inspect(tmp_path / "empty")) == ["refused"]
    for function in (wsjax.inspect, wsjax.verify):
        with pytest.raises(FileNotFoundError, match="absent"):
            function(tmp_path / "absent")
        with pytest.raises(ValueError, match="ema"):
            function(written(tmp_path), "ema")


def test_a_file_of_integers_has_no_structure(tmp_path):
    path = written(tmp_path, {"codes": np.arange(6, dtype="i8").reshape(2, 3)})
    report = wsjax.inspect(path)
    assert report.level == "none"
    assert [(a.name, a.kind) for a in report.arrays] == [("codes", "buffer")]
    assert kinds(report) == ["empty"]


def test_arrays_without_a_place_say_why(tmp_path):
    arrays = {**MLP, "steps": np.array(3, "i8"), "wave": np.ones((2, 2), "c8")}
    report = wsjax.inspect(written(tmp_path, arrays))
    beside = {a.name: (a.kind, a.axes) for a in report.arrays if not a.layer}
    assert beside == {"steps": ("buffer", ()), "wave": ("complex64", ())}


@pytest.mark.parametrize("folder", [True, False])
def test_the_config_beside_is_used(tmp_path, folder):
    path = written(tmp_path, name="model.safetensors")
    config = {"model_type": "net", "activation": "relu"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = wsjax.inspect(tmp_path if folder else path)
    assert facts(report)["config"] == ("config.json", "read")
    assert report.level == "exact"
    assert "config" in facts(wsjax.inspect(path, config={"activation": "sin"}))
    assert facts(wsjax.inspect(path, config={"activation": "sin"}))["activations"][0] == "sin"


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not JSON"), ('{"model_type": "x", "layer_norm_eps": "y"}', "finite number")],
)
def test_a_config_beside_that_does_not_fit_is_a_warning(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text)
    report = wsjax.inspect(written(tmp_path))
    (finding,) = report.findings
    assert (finding.kind, finding.severity) == ("structure", "warning")
    assert words in finding.text
    assert report.level == "chained"
    assert wsjax.verify(tmp_path / "net.safetensors").worst == "warning"


def test_a_config_of_something_else_is_not_used(tmp_path):
    (tmp_path / "config.json").write_text('{"activation": "relu", "epochs": 3}')
    report = wsjax.inspect(written(tmp_path))
    assert "config" not in facts(report)
    assert not report.findings


def test_a_config_that_was_given_and_does_not_fit_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="omega"):
        wsjax.inspect(written(tmp_path), config={"omega": "thirty"})


def test_a_branch_that_was_chosen_by_default_is_assumed(tmp_path):
    arrays = {f"{b}/{n}": a for b in ("model", "ema") for n, a in MLP.items()}
    np.savez(tmp_path / "net.npz", **arrays)
    report = wsjax.inspect(tmp_path / "net.npz")
    assert facts(report)["branch"] == ("ema", "assumed")
    assert facts(wsjax.inspect(tmp_path / "net.npz", "model"))["branch"] == ("model", "read")
    arrays = {f"params/{n}": a for n, a in MLP.items()}
    np.savez(tmp_path / "net.npz", **arrays, step=np.array(3))
    assert facts(wsjax.inspect(tmp_path / "net.npz"))["branch"] == ("params", "read")


def test_each_kind_of_finding_has_a_certainty():
    of = lambda kind: certainty(Finding(kind, "note", None, ""))
    assert {of(k) for k in reports.DERIVED} == {"derived"}
    assert {of(k) for k in reports.INFERRED} == {"inferred"}
    assert of("truncated") == "read"
    assert inspecting.CONFIG == "config.json"
