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
        x = rng.normal(size=shape).astype(np.float32) / np.sqrt(max(shape[-1:] or (1,)))
        out[name] = np.abs(x) + 0.5 if "var" in name else x
    return out


def assert_recognised(state, run, config=None, *, scales=True, tolerance=2e-4):
    """Checks every hidden axis by the network's function; gives what was recognised.

    The neurons of each axis are moved: outputs stay. Then one array is put back as it was:
    outputs change. And signals are scaled as the Spec admits.
    """
    found = recognize(state, config)
    params, before = found.pack(state), np.asarray(run(state))
    size, spec = np.abs(before).max(), found.spec
    beside = {n: state[n] for n in found.beside}
    whole = lambda p: found.packing.unpack({k: np.asarray(v) for k, v in p.items()}) | beside
    change = lambda p: np.abs(np.asarray(run(whole(p))) - before).max() / size
    assert change(params) == 0
    axes = permutations.movable(spec)
    assert axes
    for axis in axes:
        one = {axis: jax.numpy.roll(permutations.identity(spec)[axis], 1, axis=-1)}
        moved = permutations.act(one, params, spec)
        assert change(moved) < tolerance, axis
        holders = [a.name for a in spec.arrays if axis in a.axes and a.role == "kernel"]
        assert any(change({**moved, n: params[n]}) > 20 * tolerance for n in holders), axis
    element = permutations.sample(jax.random.key(1), spec)
    assert change(permutations.act(element, params, spec)) < tolerance
    if scales and found.wired:
        group = scaling_group(spec)
        element = scalings.sample(jax.random.key(2), spec, spread=0.3)
        assert change(scalings.act(element, params, spec)) < 10 * tolerance, group.factors
    return found
