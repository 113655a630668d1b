"""Layers read off programs: those of our own families are the handwritten Specs'."""

import dataclasses

import numpy as np
import pytest

from tests.cases.families import FAMILIES
from tests.cases.tracing import axes_of, jaxpr_of
from wsjax.symmetries.signals import scaling_group
from wsjax.tracing.layers import spec_of, structure
from wsjax.views.graphs import parameter_graph


def traced(spec, shape):
    jaxpr, names = jaxpr_of(spec, shape)
    return spec_of(structure(jaxpr, len(names)), names, axes_of(spec))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_layers_of_its_spec(name):
    spec, shape = FAMILIES[name]
    found = traced(spec, shape)
    for layer, want in zip(found.layers, spec.layers, strict=True):
        omega = want.omega if want.activation != "none" else 1.0
        same = dataclasses.replace(want, settings=layer.settings, omega=omega)
        assert layer == same


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_graph_and_the_scalings_of_its_spec(name):
    spec, shape = FAMILIES[name]
    found = traced(spec, shape)
    graph, want = parameter_graph(found), parameter_graph(spec)
    for field in dataclasses.fields(graph):
        got, expected = getattr(graph, field.name), getattr(want, field.name)
        np.testing.assert_array_equal(got, expected, field.name)
    assert scaling_group(found) == scaling_group(spec)
