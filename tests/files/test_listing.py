"""Listings: the facts of a file's header, before a number is read."""

import dataclasses

import numpy as np
import pytest
from cases import weight_files

from wsjax.files import FileFormatError, opened
from wsjax.files.listing import by_severity, counts, listed
from wsjax.files.loading import completed, contents

FORMATS = [n for n in weight_files.FORMATS if n not in ("hdf5", "keras")]


def unread(checkpoint):
    def fail():
        raise AssertionError("a number was read")

    arrays = tuple(dataclasses.replace(a, read=fail) for a in checkpoint.arrays)
    return dataclasses.replace(checkpoint, arrays=arrays)


@pytest.mark.parametrize("name", FORMATS)
def test_no_number_is_read_and_the_facts_are_the_same(tmp_path, name):
    with opened(weight_files.FORMATS[name](tmp_path)) as checkpoint:
        rows, facts = listed(unread(checkpoint))
        whole = contents(checkpoint)[1]
    assert rows
    for field in ("format", "branch", "arrays", "parameters", "dtypes", "tied", "stripped"):
        assert getattr(facts, field) == getattr(whole, field), field
    assert not facts.buffers


def test_each_weight_is_visited_once(tmp_path):
    arrays = {f"fc{i}.weight": np.full((2, 3), i + 1, "f4") for i in range(3)}
    arrays |= {"steps": np.array(7, "i8")}
    header = weight_files.safetensors_bytes(arrays)
    path = tmp_path / "net.safetensors"
    path.write_bytes(header)
    visited = []
    with opened(path) as checkpoint:
        rows, facts = listed(checkpoint)
        completed(checkpoint, rows, facts, visit=lambda name, a: visited.append((name, a.max())))
    assert visited == [("fc0.weight", 1), ("fc1.weight", 2), ("fc2.weight", 3)]


def test_arrays_that_cannot_be_read_are_not_visited(tmp_path):
    arrays = {f"fc{i}.weight": np.full((2, 3), i + 1, "f4") for i in range(3)}
    path = tmp_path / "net.safetensors"
    path.write_bytes(weight_files.safetensors_bytes(arrays)[:-4])
    visited = []
    with opened(path) as checkpoint:
        rows, facts = listed(checkpoint)
        _, facts = completed(checkpoint, rows, facts, visit=lambda name, a: visited.append(name))
    assert visited == ["fc0.weight", "fc1.weight"]
    assert [f.kind for f in facts.findings if f.severity == "error"] == ["truncated", "unreadable"]


def test_a_file_without_arrays_has_an_error_and_no_rows(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(weight_files.safetensors_bytes({}, {"epoch": "3"}))
    with opened(path) as checkpoint:
        rows, facts = listed(checkpoint)
        assert completed(checkpoint, rows, facts) == ({}, facts)
    assert rows == []
    assert [f.kind for f in facts.findings] == ["empty"]
    assert by_severity(facts.findings) == facts.findings


def test_repeated_names_count_once(tmp_path):
    with opened(weight_files.safetensors(tmp_path)) as checkpoint:
        rows, facts = listed(checkpoint)
        with pytest.raises(ValueError, match="ema"):
            listed(checkpoint, "ema")
    assert counts(rows, ["enc.0.weight"])["parameters"] == facts.parameters - 12
    with pytest.raises(FileFormatError, match="closed"):
        rows[0].read()
