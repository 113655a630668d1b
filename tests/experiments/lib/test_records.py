"""Records are appended, stamped, and read; nothing else of the repository changes."""

import subprocess

import pytest

from experiments.lib import records
from wsjax.storage import DamagedError

RECORD = {
    "experiment": "inr_frequency",
    "row": "sne",
    "preset": "laptop",
    "seed": 0,
    "metrics": {"test_mse": 0.25},
    "parameters": 10,
    "seconds": 1.0,
    "steps": 30,
}


def git(folder, *arguments):
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A small checkout with the folders of this repository; `records` believes in it."""
    root = tmp_path / "clone"
    for path in ("wsjax/networks.py", "experiments/results/inr_frequency.jsonl", "README.md"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    (root / "pyproject.toml").write_text("")
    git(tmp_path, "init", "-q", str(root))
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    monkeypatch.setattr(records, "ROOT", root)
    return root


def test_an_append_leaves_the_checkout_as_it_was(clone, tmp_path):
    results = tmp_path / "runs" / "results"
    first = records.append(RECORD, results)
    before = (results / "inr_frequency.jsonl").read_bytes()
    records.append({**RECORD, "seed": 1}, results)
    after = (results / "inr_frequency.jsonl").read_bytes()
    assert after.startswith(before)
    assert git(clone, "status", "--porcelain") == ""
    assert first["commit"] == git(clone, "rev-parse", "--short=10", "HEAD").strip()
    assert {"commit", "versions", "device", "time"} < set(first)
    assert records.read("inr_frequency", results, seed=0) == [first]
    assert records.read("inr_frequency", results, seed=2) == []
    assert records.read("nothing", results) == []


def test_records_are_added_once_and_read_oldest_first(tmp_path):
    first, second = (records.stamp({**RECORD, "seed": seed}) for seed in (0, 1))
    first["time"] = "2026-01-01T00:00:00+00:00"
    other = {**second, "experiment": "other"}
    records.add([second, other], tmp_path)
    records.add([first, second], tmp_path)
    assert records.read("inr_frequency", tmp_path) == [first, second]
    assert records.read("other", tmp_path) == [other]
    path = tmp_path / "other.jsonl"
    path.write_text(path.read_text().replace("0.25", "0.26"))
    for use in (lambda: records.read("other", tmp_path), lambda: records.add([other], tmp_path)):
        with pytest.raises(DamagedError, match=r"other\.jsonl, line 1: it was altered; restore"):
            use()


@pytest.mark.parametrize(
    ("path", "dirty"),
    [
        ("wsjax/networks.py", True),
        ("wsjax/encoders/mine.py", True),
        ("experiments/lib/mine.py", True),
        ("third_party/mine.py", True),
        ("pyproject.toml", True),
        ("experiments/results/inr_frequency.jsonl", False),
        ("experiments/results/curves.png", False),
        ("experiments/README.md", False),
        ("README.md", False),
        ("notes.py", False),
    ],
)
def test_a_commit_is_dirty_only_if_code_is(clone, path, dirty):
    assert not records.commit(clone).endswith("-dirty")
    (clone / path).parent.mkdir(parents=True, exist_ok=True)
    (clone / path).write_text("changed\n")
    assert records.commit(clone).endswith("-dirty") == dirty


def test_outside_a_checkout_the_version_stands_for_the_commit(clone, tmp_path):
    installed = clone / "venv" / "site-packages"  # inside a checkout of something else
    installed.mkdir(parents=True)
    for folder in (tmp_path, installed):
        assert records.commit(folder).startswith("wsjax ")


def test_a_record_must_be_complete_and_finite(tmp_path):
    with pytest.raises(ValueError, match=r"missing: .*'metrics'"):
        records.append({"experiment": "x", "row": "y"}, tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.append({**RECORD, "metrics": {"test_mse": float("nan")}}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_newest_record_counts_for_each_kind_of_device(tmp_path):
    runs = [
        {**RECORD, "device": device, "metrics": {"test_mse": mse}}
        for device, mse in (("1 x cpu", 1.0), ("1 x NVIDIA H100", 2.0), ("2 x cpu", 3.0))
    ]
    assert [r["metrics"]["test_mse"] for r in records.latest(runs)] == [3.0, 2.0]
    others = [{**runs[0], "seed": 1}, {**runs[0], "train_zoo": "mnist"}]
    assert len(records.latest([*runs, *others])) == 4


def test_only_published_runs_copy_their_pictures(tmp_path, monkeypatch):
    picture, published, own = tmp_path / "run.png", tmp_path / "published", tmp_path / "own"
    picture.write_bytes(b"png")
    published.mkdir()
    monkeypatch.setattr(records, "PUBLISHED", published)
    pictures = {"curves": picture, "absent": tmp_path / "absent.png"}
    for results in (published, own):
        records.publish_pictures("x", "laptop", pictures, results)
    assert [p.name for p in published.iterdir()] == ["x_laptop_curves.png"]
    assert not own.exists()


def test_published_records_are_as_they_were_sealed():
    paths = sorted(records.PUBLISHED.glob("*.jsonl"))
    assert paths
    for path in paths:
        for run in records.read(path.stem, records.PUBLISHED):
            assert set(records.KEYS) <= set(run), path.name


def test_old_records_have_the_names_of_today():
    """That of the paper's method is for what the paper has."""
    run = lambda row, encoder, **settings: records.renamed(
        {**RECORD, "row": row, "paper": ".1", "config": {"encoder_settings": settings}}
    )
    name = lambda *a, **k: (lambda r: (r["row"], r["paper"]))(run(*a, **k))
    assert name("sne_no_level", "sne", width=64) == ("sne_wide_no_level", "–")
    assert name("sne", "sne", width=32) == ("sne_small", "–")
    assert name("sne", "sne", width=32, output=True) == ("sne", ".1")
    assert name("gmn_expansion", "gmn", product=True) == ("gmn_product_expansion", "–")
    assert name("gmn", "gmn", product=False) == ("gmn", ".1")
    back = {"backward": "as_published", "symmetry": "sign"}
    assert "updated pairs" in run("scalegmn_b", "scalegmn", **back)["words"]
    assert "words" not in run("scalegmn_b", "scalegmn", **back, initial="published")
    assert run("scalegmn_b", "scalegmn", **back | {"symmetry": "scale"})["words"] == ""
