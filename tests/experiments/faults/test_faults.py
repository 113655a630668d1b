"""The quick part of the faults, by their seed: nothing silent, nothing crashed."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.faults import __main__ as faults
from experiments.faults import hostile_files, mutations
from experiments.faults.attacks import Attack, Verdict, cases
from experiments.lib import fault_tables, records


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all, with the compiled programs of all."""
    return tmp_path_factory.mktemp("faults")


@pytest.mark.parametrize(
    "attack", [*mutations.ATTACKS, *hostile_files.ATTACKS], ids=lambda attack: attack.name
)
def test_files(attack, folder):
    figures = faults.carry_out(attack, attack.quick, 0, folder)
    log = folder / "log.jsonl"
    assert figures["silent"] == figures["crashed"] == 0, log.read_text()
    assert figures["survived"] + figures["refused"] == figures["count"] == attack.quick


def test_a_reader_that_skips_what_it_cannot_read_is_silent(tmp_path, monkeypatch):
    def lenient(folder):
        lines = []
        for text in (folder / "metrics.jsonl").read_bytes().splitlines():
            try:
                line = json.loads(text)
                lines.append({k: line[k] for k in ("step", "loss", "val_mse", "seconds")})
            except (ValueError, KeyError, TypeError):
                continue
        return lines

    broken = dataclasses.replace(mutations.TARGETS["metrics"], read=lenient)
    monkeypatch.setitem(mutations.TARGETS, "metrics", broken)
    found = [mutations.strike("metrics", tmp_path, rng) for _, rng in
             cases(np.random.default_rng(0), 30)]  # fmt: skip
    assert sum(x.outcome == "silent" for x in found) > 10


def numbers(rng, count, folder):
    """Silent at 2, and a file left in the folder."""
    for k, own in cases(rng, count):
        (folder / "file").write_text("a")
        yield Verdict("silent" if k == 2 else "refused", f"{k}: {own.integers(1000)}", k / 2, 3.25)


@pytest.fixture
def one_attack(monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    attack = Attack("numbers", "words", 5, 2, numbers)
    monkeypatch.setattr(faults, "ATTACKS", {"numbers": attack})


def test_the_command_records_every_attack_and_fails_where_one_is_silent(
    one_attack, tmp_path, capsys
):
    run = lambda *more: faults.main(["--folder", str(tmp_path), "--seed", "4", *more])
    run("--preset", "quick")
    with pytest.raises(SystemExit, match=r"silent or crashed cases in numbers: .*log\.jsonl"):
        run()
    quick, full = records.read("faults", tmp_path / "results")
    assert quick["metrics"]["silent"] == 0
    assert full["metrics"] == {
        "count": 5, "survived": 0, "refused": 4, "silent": 1, "crashed": 0,
        "seconds_max": 2.0, "megabytes_max": 3.2,
    }  # fmt: skip
    line = "| `numbers` | words | 5 | 0 | 4 | 1 | 0 | 2.0 | 3 |"
    assert line in capsys.readouterr().out
    assert line in fault_tables.TABLES["faults"](tmp_path / "results")
    (logged,) = map(json.loads, (tmp_path / "faults/full/log.jsonl").read_text().splitlines())
    assert (logged["attack"], logged["seed"], logged["case"]) == ("numbers", 4, 2)
    run("--attacks", "numbers", "--case", "2")
    assert f"silent, 1.00 s, 3 MB: {logged['words']}" in capsys.readouterr().out


def test_without_records_there_is_no_table(tmp_path):
    assert fault_tables.TABLES["faults"](tmp_path) == "No runs yet."
