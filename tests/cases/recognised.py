"""Networks of other frameworks by name, and the check that a recognised Spec is theirs.

A network here is a dict of NumPy arrays, as in a file, and a function of it, in PyTorch.
"""

import jax
import numpy as np

from wsjax import recognize
from wsjax.symmetries import permutations, scalings
from wsjax.symmetries.signals import scaling_group


def filled(shapes, seed=0):
    """Random arrays of these shapes; variances are positive."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in shapes.items():
        x = (rng.normal(size=shape) / max(shape[-1:] or (1,)) ** 0.5).astype(np.float32)
        out[name] = np.abs(x) + 0.5 if "var" in name else x
    return out


def assert_recognised(state, run, config=None, *, scales=True, tolerance=2e-5):
    """Checks a recognised Spec by the network's function; gives what was recognised.

    All neurons of all hidden axes are moved: outputs stay. Then, for each axis, one array that has
    it is put back as it was: outputs change. And signals are scaled as the Spec admits.
    """
    found = recognize(state, config)
    params, before, spec = found.pack(state), np.asarray(run(state)), found.spec
    beside, size = {n: state[n] for n in found.beside}, np.abs(before).max()
    whole = lambda p: found.packing.unpack({k: np.asarray(v) for k, v in p.items()}) | beside
    change = lambda p: np.abs(np.asarray(run(whole(p))) - before).max() / size
    assert change(params) == 0
    element = permutations.derange(jax.random.key(1), params, spec)
    moved = permutations.act(element, params, spec)
    assert change(moved) < tolerance
    for axis in permutations.movable(spec):
        holders = [a.name for a in spec.arrays if axis in a.axes and a.role == "kernel"]
        assert any(change({**moved, n: params[n]}) > 20 * tolerance for n in holders), axis
    if scales and found.wired:
        element = scalings.sample(jax.random.key(2), spec, spread=0.3)
        scaled = scalings.act(element, params, spec)
        assert change(scaled) < 100 * tolerance, scaling_group(spec).factors
        moved = [n for n in params if not np.array_equal(scaled[n], params[n])]
        if scaling_group(spec).factors:  # one array alone is misaligned
            assert max(change({**params, n: scaled[n]}) for n in moved) > 1000 * tolerance
    return found
