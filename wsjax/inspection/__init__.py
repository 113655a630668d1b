"""A weights file for people: facts with their certainty, the structure, statistics of each array.

    report = wsjax.inspect("model.safetensors")
    report.facts                 Fact("parameters", 25636, "read"), Fact("family", ..., "inferred")
    report.arrays[0]             layer, name as stored, shape, axes, statistics
    wsjax.verify("model.pt")     integrity and structure alone

Each fact is of one certainty:

    read        stated in the file, or in a config
    derived     computed from its numbers
    inferred    from names and shapes
    assumed     a default, where the file leaves a choice

A file is listed, its structure found from names and shapes, and its numbers are then read once,
one array at a time. Whatever is wrong with them is a finding, and the rest is described.
"""

from wsjax.inspection.array_statistics import Statistics, statistics
from wsjax.inspection.inspecting import Inspection, Verification, inspect, verify
from wsjax.inspection.reports import ArrayReport, AxisReport, Certainty, Fact, certainty

__all__ = [
    "ArrayReport",
    "AxisReport",
    "Certainty",
    "Fact",
    "Inspection",
    "Statistics",
    "Verification",
    "certainty",
    "inspect",
    "statistics",
    "verify",
]
