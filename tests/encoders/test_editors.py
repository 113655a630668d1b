"""Every editor: its laws, each with a half that a wrong one fails, and the mean of its maps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.drawing import params_of, raveled, reader, shaken

from wsjax import architectures, networks, testing
from wsjax.encoders import ENCODERS, NFN, build, editors
from wsjax.symmetries import scalings
from wsjax.symmetries.scalings import Element

SIREN = architectures.mlp([2, 6, 5, 1], "sin", 30.0)
FIELDS = {"io": "none", "widths": (8, 8)}
ROWS = {  # row -> encoder, settings
    "mlp": ("mlp", {"widths": (8,)}),
    "nfn_pt": ("nfn", {**FIELDS, "kind": "pt"}),
    "nfn_hnp": ("nfn", {**FIELDS, "kind": "hnp"}),
    "nfn_np": ("nfn", {"widths": (8, 8)}),
    "nft": ("nft", {"frequencies": 4, "blocks": 1, "heads": 2}),
    "dwsnet": ("dwsnet", {"width": 8, "layers": 2, "heads": 2}),
    "unf": ("unf", {"width": 8, "layers": 2}),
    "gmn": ("gmn", {"width": 8, "layers": 2}),
    "scalegmn": ("scalegmn", {"width": 8, "layers": 3, "symmetry": "sign", "backward": "none"}),
    "scalegmn_b": ("scalegmn", {"width": 8, "layers": 3}),
}
SIGNED = ("scalegmn", "scalegmn_b")
# edited networks on a random direction, from before there was an expansion
GOLDEN = {
    "gmn": 21.500944,
    "scalegmn_b": 14.341432,
    "dwsnet": 15.381912,
    "nfn_np": -18.546038,
    "nft": 17.933793,
    "unf": 9.827807,
}
FLIP = {
    "Dense_0": np.array([-1, 1, 1, -1, -1, 1], np.float32),
    "Dense_1": np.array([1, -1, 1, 1, -1], np.float32),
}
each = pytest.mark.parametrize("row", ROWS)
expanded = pytest.mark.parametrize("expansion", [1, 3])


@functools.cache
def editor(row, expansion):
    """params -> the vector of what the editor makes of them, gamma about 1."""
    name, settings = ROWS[row]
    return reader(editors.editor(build(name, settings), expansion), SIREN)


def edit_by(row, expansion):
    return lambda p: networks.unravel(editor(row, expansion)(p), SIREN)


def test_every_encoder_that_edits_is_here():
    editing = {name for name, encoder in ENCODERS.items() if encoder.edits}
    assert {name for name, _ in ROWS.values()} == editing


@pytest.mark.parametrize("row", GOLDEN)
def test_without_expansion_the_arithmetic_is_what_it_was(row):
    found = editor(row, 1)(params_of(SIREN))
    direction = np.random.default_rng(3).standard_normal(found.shape)
    assert found.astype(np.float64) @ direction == pytest.approx(GOLDEN[row], rel=1e-4)


@expanded
@each
def test_editing_commutes_with_permutations_and_reads_the_wiring(row, expansion):
    edit, params = edit_by(row, expansion), params_of(SIREN)
    law = lambda: testing.assert_equivariant(edit, params, SIREN, jax.random.key(1))
    if row == "mlp":
        with pytest.raises(AssertionError, match="does not commute"):
            law()
        return
    law()
    if row == "nfn_pt":  # one parameter like the other
        with pytest.raises(AssertionError, match="ignores the wiring"):
            testing.assert_reads_wiring(edit, params, SIREN)
    else:
        testing.assert_reads_wiring(edit, params, SIREN, rtol=1e-5)


def gap(one, two):
    """The largest difference in an array, relative to its largest entry in `two`."""
    size = lambda x: np.abs(np.asarray(x)).max()
    return max(float(size(one[k] - two[k]) / size(two[k])) for k in two)


@expanded
@each
def test_editing_commutes_with_signs_where_it_is_promised(row, expansion):
    params, edit = params_of(SIREN), edit_by(row, expansion)
    act = lambda p: scalings.act(Element(FLIP, {}), p, SIREN)
    delta = lambda p: {k: np.asarray(x - p[k]) for k, x in edit(p).items()}
    still = delta(params)
    error = gap(delta(act(params)), act(still))
    if row not in SIGNED:
        assert error > 0.05
        return
    assert error < 2e-4
    for a in SIREN.arrays:  # the signs of one array alone: another network, another edit
        if set(a.axes) & set(SIREN.hidden):
            misaligned = delta({**params, a.name: act(params)[a.name]})
            assert gap(misaligned, {**still, a.name: act(still)[a.name]}) > 2e-3, a.name


def interleaved(one, two, shape):
    """Variables of an expansion of 2: those of two editors, side by side where there is room."""
    axes = [i for i, n in enumerate(shape) if n == 2 * one.shape[i]]
    if one.shape == shape:
        return one
    assert len(axes) == 1
    return jnp.stack([one, two], axes[0] + 1).reshape(shape)


@each
def test_an_expanded_editor_is_the_mean_of_editors_that_share_all_but_the_last_map(row):
    name, settings = ROWS[row]
    if name == "dwsnet":  # attention mixes all channels
        settings = {**settings, "sets": "deepsets"}
    single, double = (editors.editor(build(name, settings), k) for k in (1, 2))
    view, x = single.view(SIREN), raveled(params_of(SIREN), SIREN)[None]
    rng = np.random.default_rng(5)
    want = jax.eval_shape(lambda: double.init(jax.random.key(0), x, view))
    shapes = jax.tree.map(lambda v: v.shape, want)
    first = shaken(single, x, view)
    second = jax.tree.map(
        lambda v, shape: v if v.shape == shape else jnp.asarray(rng.permuted(np.asarray(v))),
        first,
        shapes,
    )
    both = jax.tree.map(interleaved, first, second, shapes)
    run = jax.jit(lambda module, v: module.apply(v, x, view) - x, static_argnums=0)
    one, two, mean = run(single, first), run(single, second), run(double, both)
    assert np.abs(one - two).max() > 0.1 * np.abs(one).max()
    np.testing.assert_allclose(mean, (one + two) / 2, atol=1e-5 * np.abs(one).max())


@each
def test_every_array_has_a_scale_that_starts_small(row):
    name, settings = ROWS[row]
    module = editors.editor(build(name, settings), 4, initial=0.02)
    x, view = jnp.zeros((2, SIREN.count)), module.view(SIREN)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, view))
    assert shapes["params"]["gamma"].shape == (len(SIREN.arrays),)
    assert module.initial == 0.02
    apply = lambda v: module.apply(v, x, view, True, rngs={"dropout": jax.random.key(1)})
    assert jax.eval_shape(apply, shapes).shape == x.shape


def test_editors_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match=r"encoder that edits, as .*'mlp'.*got SNE"):
        editors.editor(build("sne"))
    for name in ("gmn", "nfn", "scalegmn", "mlp"):
        with pytest.raises(ValueError, match=r"expansion: expected at least 1.*got 0"):
            editors.editor(build(name), 0)
    with pytest.raises(ValueError, match=r"expansion: .*1 unless the read-out is 'edit', got 2"):
        NFN(expansion=2)
