"""Taking networks apart into arrays, and putting them together."""

import numpy as np
import pytest
from cases.families import FAMILIES

from wsjax.views import arrays

SPECS = {name: spec for name, (spec, _) in FAMILIES.items()}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_unfolding_undoes_folding(name, channels):
    spec = SPECS[name]
    vectors = np.random.default_rng(0).standard_normal((2, spec.count, *channels)).astype("f")
    every = tuple(n for n, _ in spec.sizes)
    for keep in (spec.hidden, every, ()):
        folded = arrays.fold(vectors, spec, keep)
        back = arrays.unfold(folded, spec, keep)
        np.testing.assert_array_equal(back, vectors.reshape(2, spec.count, -1))


def test_what_is_kept_is_an_axis_and_the_rest_are_channels():
    spec, _ = FAMILIES["cnn"]
    sizes = dict(spec.sizes)
    vectors = np.zeros((2, spec.count), np.float32)
    for a in spec.arrays:
        x = arrays.fold(vectors, spec, spec.hidden)[a.name]
        assert x.shape[1:-1] == tuple(sizes[n] for n in a.axes if n in spec.hidden)


def test_every_entry_knows_its_array():
    spec = next(iter(SPECS.values()))
    view = arrays.arrays_view(spec)
    sizes = [int(np.prod(spec.shape(a))) for a in spec.arrays]
    np.testing.assert_array_equal(view.array, np.repeat(np.arange(len(sizes)), sizes))
