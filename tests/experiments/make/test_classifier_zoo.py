"""Pictures of zoos of classifiers."""

import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import DEEP, SMALL, TANH, classifiers

from experiments.lib import plots
from experiments.make import classifier_zoo


def zoo(*specs):
    """Networks at the first and the second of two epochs, in turn."""
    both = classifiers(specs, 20)
    epoch = np.arange(len(both), dtype=np.float32) % 2 + 1
    labels = {**both.labels, "epoch": epoch, "epochs": np.full_like(epoch, 2)}
    return dataclasses.replace(both, labels=labels, splits={})


def test_norms_and_signs_are_of_final_networks_by_activation(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "norms_and_signs", lambda path, *rest: drawn.update({path: rest}))
    whole = zoo(SMALL, TANH)
    paths = classifier_zoo.draw(whole, "conv3-gap cifar10", tmp_path)
    names = [f"zoo_conv3-gap_cifar10_{k}_norms_and_signs.png" for k in ("relu", "tanh")]
    assert [p.name for p in paths] == names
    for i, (path, name) in enumerate(zip(paths, ("relu", "tanh"), strict=True)):
        arrays, title = drawn[path]
        assert title == f"conv3-gap cifar10, {name}: 10 networks"
        final = whole.of(i).select(whole.of(i).labels["epoch"] == 2)
        kernels = np.stack([final.params(n)["Dense_0/kernel"] for n in range(len(final))])
        np.testing.assert_allclose(arrays["Dense_0/kernel"].norms, np.sqrt((kernels**2).sum(1)))


def test_several_architectures_of_an_activation_have_no_picture(tmp_path):
    with pytest.raises(ValueError, match=r"one architecture for each activation, got \['relu'"):
        classifier_zoo.draw(zoo(SMALL, DEEP), "many", tmp_path)
