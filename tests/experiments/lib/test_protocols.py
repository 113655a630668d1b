"""Footnotes: how records differ from a paper's protocol, and nothing where they agree."""

import pytest

from experiments.lib.protocols import (
    Footnotes,
    Protocol,
    both,
    of_data,
    of_size,
    of_training,
    theirs_alone,
)
from experiments.lib.published_numbers import PAPERS, PROTOCOLS

PROTOCOL = Protocol(
    "their zoo",
    networks=100,
    epochs=10,
    batch=20,
    parameters=1000,
    methods={"sne": {"parameters": 2000}, "sne_wide": {"parameters": 3000}},
    zoos={"few": {"networks": 50, "methods": {"gmn": {"parameters": 500}}}},
)


def record(row="gmn", steps=50, batch=20, train=100, parameters=1000, **more):
    config = {"training": {"batch": batch}, "sizes": {"train": train}, "zoos": {"a": {"seed": 0}}}
    shared = {"row": row, "steps": steps, "parameters": parameters, "config": config}
    return {**shared, "train_zoo": "a", **more}


def published(**more):
    run = record()
    run["config"]["zoos"] = {"a": {"published": "conv3-gap", "splits": "published", **more}}
    return run


def test_a_record_as_published_has_no_footnote():
    run = published()
    theirs = PROTOCOL.of(run)
    assert of_data(theirs, run) == of_training(theirs, [run]) == of_size(theirs, run) == []
    assert Footnotes().mark(both([])) == Footnotes().mark(theirs_alone([])) == ""


def test_differences_are_computed_from_the_record():
    assert of_data(PROTOCOL, record(train=60)) == [
        *(("networks of our own", "their zoo"), ("60 training networks", "100")),
    ]
    assert of_data(PROTOCOL, published(splits="shuffled")) == [
        ("other splits", "those published"),
    ]
    few = [record(steps=5, batch=4, train=n, parameters=1100) for n in (10, 40)]
    assert of_training(PROTOCOL, few) == [
        ("5 steps of 4 networks, 0.5 to 2.0 epochs", "10 epochs, batches of 20"),
    ]
    assert of_training(PROTOCOL, [record()]) == []
    assert of_size(PROTOCOL, few[0]) == [("1,100 parameters", "1,000")]
    assert of_size(PROTOCOL, record(parameters=1040)) == []
    assert of_training(Protocol(steps=60), [record()]) == [
        ("50 steps of 20 networks, 10 epochs", "60 steps"),
    ]
    assert of_training(PROTOCOL, [record(steps=0)]) == []


@pytest.mark.parametrize(
    ("row", "size"),
    [("gmn", 1000), ("sne", 2000), ("sne_chunk_8", 2000), ("sne_wide", 3000), ("sneak", 1000)],
)
def test_methods_named_after_another_share_its_protocol(row, size):
    assert PROTOCOL.of(record(row)).parameters == size
    few = PROTOCOL.of(record(row, train_zoo="few digits"))
    assert (few.networks, few.parameters) == (50, 500 if row == "gmn" else size)


def test_each_text_is_one_footnote():
    notes = Footnotes()
    marks = [notes.mark(x) for x in ("first", "second", "", "first")]
    assert marks == [" ¹", " ²", "", " ¹"]
    assert notes.lines() == "¹ first. ² second."
    differences = [("5 training networks", "1,000"), ("networks of our own", "their zoo")]
    assert both(differences) == (
        "5 training networks, the paper: 1,000; networks of our own, the paper: their zoo"
    )
    assert theirs_alone(differences) == "the paper: 1,000 training networks; their zoo"


@pytest.mark.parametrize("name", PAPERS)
def test_protocols_are_of_methods_and_zoos_with_published_numbers(name):
    methods, zoos = ({key[i] for key in PAPERS[name]} for i in (0, 1))
    assert set(PROTOCOLS[name].methods) <= methods
    for beginning in PROTOCOLS[name].zoos:
        assert any(zoo.startswith(beginning) for zoo in zoos), beginning
