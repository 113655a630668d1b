"""The image by their convention is the image of the converted weights by ours."""

import dataclasses

import numpy as np
import pytest
from cases import inrs

from wsjax import architectures, networks
from wsjax.inr_folders import Convention, convert
from wsjax.inr_folders.conventions import aligned, canvas, convention, restored
from wsjax.networks import Array, Layer, Spec
from wsjax.zoos.inrs.inr_recipe import NFN

PARAMS = networks.unravel(inrs.vectors(1)[0], inrs.SPEC)
OTHERS = {
    "the same": Convention(),
    "order": Convention(indexing="ij"),
    "unit": Convention(unit=True),
    "omega": Convention(omega=7.5),
    "first omega": Convention(omega=2.0, first_omega=30.0),
    "range": Convention(low=-1),
    "offset": Convention(offset=-0.25),
    "all": Convention(12.0, 20.0, "ij", True, 0.1, -1),
    "NFN": Convention.of(NFN),
}


@pytest.mark.parametrize("theirs", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("ours", [Convention(), OTHERS["all"]], ids=["DWS", "all"])
def test_the_image_is_the_same(theirs, ours):
    want = inrs.by_hand(PARAMS, theirs, 4, 5, ours)
    converted = convert(PARAMS, theirs, ours)
    np.testing.assert_allclose(inrs.by_hand(converted, ours, 4, 5, ours), want, atol=1e-5)
    back = convert(converted, ours, theirs)
    for name, array in PARAMS.items():
        assert back[name].dtype == np.float32
        np.testing.assert_allclose(back[name], array, atol=1e-6)
    same = all(np.array_equal(converted[n], PARAMS[n]) for n in PARAMS)
    assert same == (theirs == ours)


def torch_spec(widths, bias=True):
    """As `recognize` gives a PyTorch MLP's: kernels [out, in], names of its own."""
    axes = ("in", *(f"n{i}" for i in range(1, len(widths) - 1)), "out")
    layers = []
    for i in range(len(widths) - 1):
        arrays = [Array(f"net.{i}.weight", "kernel", (axes[i + 1], axes[i]), (1,), (0,))]
        arrays += [Array(f"net.{i}.bias", "bias", (axes[i + 1],), (), (0,))] * bias
        layers.append(Layer(f"net.{i}", "dense", i, tuple(arrays), "sin", 30.0))
    return Spec(tuple(layers), tuple(zip(axes, widths, strict=True)), axes[1:-1])


def test_names_and_layouts_are_aligned_and_restored():
    own = torch_spec((2, 6, 5, 1))
    stored = {}
    for i in range(3):
        stored[f"net.{i}.weight"] = PARAMS[f"Dense_{i}/kernel"].T
        stored[f"net.{i}.bias"] = PARAMS[f"Dense_{i}/bias"]
    found = aligned(stored, own, inrs.SPEC)
    assert {n: a.tolist() for n, a in found.items()} == {n: a.tolist() for n, a in PARAMS.items()}
    back = restored(found, own, inrs.SPEC)
    assert {n: a.tolist() for n, a in back.items()} == {n: a.tolist() for n, a in stored.items()}


@pytest.mark.parametrize(
    ("own", "came"),
    [
        (torch_spec((2, 6, 6, 1)), "widths 2-6-6-1"),
        (torch_spec((2, 6, 1)), "widths 2-6-1"),
        (torch_spec((2, 6, 5, 1), bias=False), "other layers"),
        (architectures.cnn([1, 2], [3], kernel=3), "other layers"),
    ],
    ids=["width", "depth", "no bias", "cnn"],
)
def test_another_architecture_is_named(own, came):
    with pytest.raises(ValueError, match=f"expected a SIREN of widths 2-6-5-1, got {came}"):
        aligned({}, own, inrs.SPEC)


def test_a_convention_that_makes_no_sense_lists_every_mistake():
    with pytest.raises(
        ValueError, match=r"(?s)omega: expected above 0, got 0.*indexing.*low.*-0.5"
    ):
        Convention(omega=0, indexing="yx", low=-0.5)


def test_a_model_states_its_convention():
    model, editor = inrs.classifier(), inrs.editor()
    assert convention(model) == Convention.of(inrs.RECIPE)
    assert (canvas(model).rows, canvas(model).cols) == (28, 28)
    recipe = dataclasses.asdict(dataclasses.replace(NFN, hidden=(6, 5)))
    nfn = dataclasses.replace(model, config={"recipe": recipe})
    assert convention(nfn) == Convention.of(NFN)
    assert convention(editor) == Convention.of(inrs.RECIPE)
    assert canvas(editor) is inrs.CANVAS
    task = dataclasses.replace(editor.task, canvas=dataclasses.replace(inrs.CANVAS, offset=0.0))
    assert convention(dataclasses.replace(editor, task=task)).low == -1


def test_a_model_of_other_networks_has_none():
    model = dataclasses.replace(inrs.classifier(), specs=(architectures.mlp([2, 4, 1], "relu"),))
    with pytest.raises(ValueError, match="expected a model of INRs with sines, got Trained"):
        convention(model)
