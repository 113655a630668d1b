"""Predictors across architectures, at the smoke preset."""

import dataclasses
import re

import pytest

from experiments import cross_architecture
from experiments.lib.published_numbers import PAPERS

pytestmark = pytest.mark.trains


@pytest.fixture
def run(smoke):
    return smoke(cross_architecture.main)


def test_unsupported_architectures_are_listed_as_such(run, folder, capsys):
    found = run("--methods", "deepsets,nfn_hnp,boosted_trees")
    refused = {r["row"]: r.get("refused", "") for r in found}
    assert refused["deepsets"] == ""
    assert refused["nfn_hnp"].startswith("NFN supports only the architecture it was trained on")
    assert refused["boosted_trees"].startswith("expected ")
    assert re.search("nfn_hnp.*not supported", capsys.readouterr().out)


def test_a_transfer_needs_two_architectures():
    preset = cross_architecture.PRESETS["smoke"]
    one = dict(list(preset.zoos.items())[:1])
    with pytest.raises(ValueError, match="zoos of two architectures, got 'conv3-linear2' alone"):
        cross_architecture.directions(dataclasses.replace(preset, zoos=one), dict.fromkeys(one))


def test_every_published_number_has_a_direction():
    ways, run = {}, set()
    for preset in (cross_architecture.PRESETS[k] for k in ("paper", "schuerholt")):
        for way in cross_architecture.directions(preset, dict.fromkeys(preset.zoos)):
            ways |= {(way.name, test): way.adopt for test in way.tests}
            run |= {(m, way.name, test) for m in preset.methods for test in way.tests}
    numbers = PAPERS["cross_architecture"]
    assert set(numbers) <= run
    assert len(numbers) == 9 * 3 + 9 + 3 * 2 + 3 * 2  # tables 2, 9, 4 and 3
    # HyperRep's is one architecture, whose arrays training had
    assert not ways["schuerholt svhn", "schuerholt mnist"]
    assert ways["conv3-gap svhn", "schuerholt svhn"]
