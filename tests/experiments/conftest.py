"""Commands of experiments at their smallest, in a folder that the tests of a file share."""

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def smoke(folder, monkeypatch):
    """An experiment's `main` -> it at the preset "smoke" in this process, with more flags."""
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    flags = ["--jobs", "1", "--preset", "smoke", "--folder", str(folder)]
    return lambda main: lambda *more: main([*flags, *map(str, more)])
