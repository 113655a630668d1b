"""Audits of encoders made by hand, with symmetries that are given."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures, networks, testing
from wsjax.architectures import mlp
from wsjax.symmetries.audit import SYMMETRIES

KEY = jax.random.key(3)
OMEGA = 3.0
SPECS = {
    "relu": mlp([2, 6, 2], "relu"),
    "tanh": mlp([2, 6, 2], "tanh"),
    "sin": mlp([2, 6, 2], "sin", OMEGA),
}


def parts(p):
    return p["Dense_0/kernel"], p["Dense_0/bias"], p["Dense_1/kernel"]


def paths(p, spec):
    """All paths from an input to an output: no symmetry but phase shifts moves their sum."""
    w, _, v = parts(p)
    return w @ v


def squares(p, spec):
    """Scales with w where it should not: w^2 v is not w v."""
    w, _, v = parts(p)
    return w**2 @ v


def waves(p, spec):
    """Invariant to phase shifts and flips; v^2, for which two halves are not a whole."""
    _, b, v = parts(p)
    return jnp.cos(2 * OMEGA * b) @ v**2


def sets(p, spec):
    """Blind: a sum over all neurons of all layers."""
    return jnp.stack([jnp.abs(p[a.name]).sum() for a in spec.arrays])


def flat(p, spec):
    return networks.ravel(p, spec)


def first(p, spec):
    """Reads a position, of any width."""
    return p["Dense_0/kernel"][:, 0]


def constant(p, spec):
    return jnp.ones(3)


def with_defect(size):
    return lambda p, spec: paths(p, spec) + size * p["Dense_1/kernel"][0]


def audit(encode, name="tanh", **settings):
    spec = SPECS[name]
    return testing.audit(encode, testing.draw(jax.random.key(0), spec), spec, KEY, **settings)


def verdicts(found):
    return {r.symmetry: r.verdict for r in found.findings if r.verdict != "not applicable"}


CASES = {
    "paths of relu": (paths, "relu", "permutation=exact scale=exact widening=exact"),
    "paths of tanh": (paths, "tanh", "permutation=exact sign=exact widening=exact"),
    "paths of sines": (paths, "sin", "permutation=exact sign=exact phase=broken widening=exact"),
    "squares of relu": (squares, "relu", "permutation=exact scale=broken widening=exact"),
    "squares of tanh": (squares, "tanh", "permutation=exact sign=broken widening=exact"),
    "waves": (waves, "sin", "permutation=exact sign=exact phase=exact widening=broken"),
    "sets of relu": (sets, "relu", "permutation=blind scale=broken widening=broken"),
    "sets of tanh": (sets, "tanh", "permutation=blind sign=exact widening=broken"),
    "flat": (flat, "tanh", "permutation=broken sign=broken"),
    "constant": (constant, "tanh", "permutation=blind sign=blind widening=blind"),
    "a defect": (with_defect(1e-3), "tanh", "permutation=approximate sign=approximate"),
}


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_verdicts(case, double):
    encode, name, words = CASES[case]
    want = dict(word.split("=") for word in words.split())
    with jax.enable_x64(double):
        found = audit(encode, name)
    assert {k: v for k, v in verdicts(found).items() if k in want} == want
    assert found.dtype == found.embedding_dtype == ("float64" if double else "float32")
    for row in found.findings:
        if row.function is not None:
            assert row.function < (1e-13 if double else 1e-5)
            assert row.function_control > 0.05


def test_what_a_network_does_not_have_is_not_applicable():
    found = audit(flat, "relu")
    assert found["sign"].reason == "the network admits no sign"
    assert found["phase"].reason == "the network admits no phase"
    assert found["widening"].reason == "the wider network: its embedding is (37,), not (32,)"
    rejects = lambda p, spec: flat(p, spec) if spec == SPECS["relu"] else _reject()
    assert audit(rejects, "relu")["widening"].reason == "the wider network: one width only"
    assert audit(first, "relu")["widening"].verdict != "not applicable"
    normed = architectures.cnn([1, 3], [2], norm="layer", activation="relu")
    row = testing.audit(flat, testing.draw(KEY, normed), normed, KEY, samples=1)["widening"]
    assert row.verdict == "not applicable"
    assert "normalises over it (layer norm)" in row.reason


def _reject():
    raise ValueError("one width\n only")


def test_float64_finds_what_float32_takes_for_rounding():
    assert audit(with_defect(1e-7))["permutation"].verdict == "exact"
    with jax.enable_x64(True):
        assert audit(with_defect(1e-7))["permutation"].verdict == "approximate"
        assert audit(with_defect(0.0))["permutation"].verdict == "exact"


def test_rounding_is_measured_so_that_amplifying_it_is_no_defect():
    """Codes that move by the same 1e-4, in one case for rounding alone."""
    amplified = audit(lambda p, spec: jnp.sin(500 * paths(p, spec)), "relu")["scale"]
    assert amplified.change > 5e-6
    assert amplified.verdict == "exact"
    other = audit(with_defect(3 * amplified.change), "relu")["scale"]
    assert other.change > other.rounding
    assert other.verdict == "approximate"


def test_a_symmetry_that_moves_the_function_is_none():
    spec = dataclasses.replace(SPECS["tanh"], hidden=("h0", "y"))
    row = testing.audit(sets, testing.draw(KEY, spec), spec, KEY)["permutation"]
    assert row.verdict == "not applicable"
    assert row.reason.startswith("the function itself moves by ")
    assert row.function > 0.1
    unread = lambda p, x, spec: p["Dense_0/bias"][:1] * x
    found = audit(paths, forward=unread, inputs=jnp.ones((4, 1)))
    assert found["permutation"].reason.startswith("the function itself moves by ")


@pytest.mark.parametrize("name", SPECS)
def test_controls_are_as_far_away_and_other_networks(name):
    spec, seen = SPECS[name], []
    start = testing.draw(jax.random.key(0), spec)

    def encode(p, spec):
        seen.append(p)
        return paths(p, spec)

    found = testing.audit(encode, start, spec, KEY, samples=2)
    base, rest = seen[0], seen[1:]
    kinds = [r.symmetry for r in found.findings if r.verdict != "not applicable"]
    assert len(rest) == 3 * 2 * len(kinds)
    assert kinds[-1] == "widening"
    gap = lambda p, q, n: float(np.linalg.norm(np.float64(p[n]) - np.float64(q[n])))
    for i, kind in enumerate(kinds[:-1]):
        for j in range(2):
            moved, misaligned, near = rest[3 * (2 * i + j) :][:3]
            for n in base:
                assert gap(misaligned, base, n) == pytest.approx(gap(moved, base, n), rel=1e-4)
                assert gap(near, moved, n) <= 2e-7 * np.linalg.norm(moved[n])
                if kind == "permutation":
                    np.testing.assert_array_equal(
                        *(np.sort(p[n], None) for p in (misaligned, base))
                    )
            assert max(gap(moved, base, n) for n in base) > 0.1
            assert max(gap(near, moved, n) for n in base) > 0
            assert max(gap(misaligned, moved, n) for n in base) > 0.1
    wide, misaligned = rest[-3:-1]
    for n in wide:
        np.testing.assert_array_equal(np.abs(wide[n]), np.abs(misaligned[n]))
    copy = wide["Dense_1/kernel"][-1]
    np.testing.assert_array_equal(misaligned["Dense_1/kernel"][-1], -copy)
    assert (copy != 0).all()


def test_axes_of_two_neurons_have_a_control():
    spec = mlp([2, 2, 2], "tanh")
    row = testing.audit(paths, testing.draw(KEY, spec), spec, KEY)["permutation"]
    assert row.verdict == "exact"
    assert min(row.control, row.function_control) > 0.01


def test_nothing_is_cast():
    spec, kinds = SPECS["relu"], set()

    def encode(p, spec):
        kinds.update(x.dtype for x in p.values())
        return paths(p, spec)

    params = testing.draw(KEY, spec)
    with jax.enable_x64(True):
        assert testing.audit(encode, params, spec, KEY, samples=1).dtype == "float32"
        assert kinds == {jnp.dtype("float32")}
        wide = {n: np.asarray(x, np.float64) for n, x in params.items()}
        rounded = lambda p, spec: paths(p, spec).astype(jnp.float32)
        found = testing.audit(rounded, wide, spec, KEY, samples=1)
    assert (found.dtype, found.embedding_dtype) == ("float64", "float32")
    assert found["scale"].verdict == "exact"
    with pytest.raises(ValueError, match=r"Dense_0/kernel: float64 needs `with jax\.enable_x64"):
        testing.audit(encode, wide, spec, KEY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(params={}), "Dense_0/kernel: expected, absent"),
        (dict(params=testing.draw(KEY, SPECS["relu"], (4,))), "expected one network, got batch"),
        (dict(spec=mlp([2, 3]), params=testing.draw(KEY, mlp([2, 3]))), "with a hidden axis"),
        (dict(samples=0), "at least one sample, got none"),
        (dict(forward=lambda p, x, spec: x), "expected inputs for the forward pass"),
        (dict(encode=lambda p, s: p["Dense_1/bias"] / 0), "embedding the network itself: 2 of 2"),
        (dict(encode=lambda p, s: _reject()), "one width"),
    ],
    ids=["absent", "batch", "no hidden axis", "samples", "inputs", "not finite", "unreadable"],
)
def test_bad_input_is_one_clear_error(change, message):
    spec = SPECS["relu"]
    given = dict(encode=paths, spec=spec, params=testing.draw(KEY, spec), key=KEY) | change
    with pytest.raises(ValueError, match=message):
        testing.audit(**given)


def test_an_embedding_that_is_not_finite_names_the_symmetry():
    spec = SPECS["tanh"]
    params = {n: jnp.abs(x) for n, x in testing.draw(KEY, spec).items()}
    roots = lambda p, spec: jnp.sqrt(p["Dense_0/bias"]).sum()[None]
    with pytest.raises(ValueError, match="embedding under sign: 1 of 1 entries are not finite"):
        testing.audit(roots, params, spec, KEY)


def test_the_table_is_aligned():
    head, columns, *rows = str(audit(paths, "relu")).splitlines()
    assert head == "float32 network, float32 embedding; worst of 3 samples"
    assert [row.split()[0] for row in rows] == list(SYMMETRIES)
    at = columns.index("verdict")
    assert [row[at:].split(":")[0] for row in rows] == [
        *("exact", "not applicable", "exact", "not applicable", "exact")
    ]
    assert all(row[at - 2 : at] == "  " for row in rows)
