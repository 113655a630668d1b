import jax
import ml_dtypes
import numpy as np
import pytest
from cases.pairs_of_networks import (
    copy,
    flax_mlp,
    network,
    permuted_mlp,
    saved,
    torch_mlp,
)

from wsjax import architectures, files
from wsjax.comparison.merging import DifferentError, match, merge, write

RELU = {"activation": "relu"}


def stored(tmp_path, *states):
    return [saved(tmp_path / f"{i}.safetensors", x) for i, x in enumerate(states)]


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_the_copy_has_the_files_names_layout_and_types(tmp_path, dtype):
    state = torch_mlp()
    other = {n: x.astype(dtype) for n, x in flax_mlp(permuted_mlp(state)).items()}
    found = match(*stored(tmp_path, state, other))
    assert found.raw.relative > 0.5
    assert found.matched.relative < 0.01
    want = {n: x.astype(dtype) for n, x in flax_mlp(state).items()}
    assert {n: (x.shape, x.dtype) for n, x in found.stored.items()} == {
        n: (x.shape, x.dtype) for n, x in want.items()
    }
    assert all(np.array_equal(found.stored[n], x) for n, x in want.items())


def test_the_copy_has_the_function_of_b():
    params, spec = network("batch norm")
    other, _ = network("batch norm", seed=3)
    found = match((params, spec), (other, spec))
    assert found.function_error < 1e-4
    x = np.random.default_rng(0).standard_normal((5, 6, 6, 1)).astype(np.float32)
    run = lambda p: np.asarray(architectures.forward(p, x, spec))
    assert np.abs(run(found.stored) - run(other)).max() < 1e-4 * np.abs(run(other)).max()
    assert found.matched.relative < found.raw.relative


def test_the_average_with_a_copy_is_the_network_itself():
    params, spec = network("tanh")
    moved = copy(params, spec)
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    y = np.asarray(architectures.forward(params, x, spec)).argmax(-1)
    found = merge((params, spec), (moved, spec), data=(x, y))
    assert all(np.allclose(found.stored[n], p, atol=1e-5) for n, p in params.items())
    assert found.matched_barrier < 1e-4 < found.barrier
    assert np.allclose(found.losses[0], found.losses[2], atol=1e-5)
    plain = merge((params, spec), (moved, spec), matching=False)
    assert plain.matched is None
    name = "Dense_1/kernel"
    assert np.allclose(plain.stored[name], (params[name] + moved[name]) / 2, atol=1e-6)


def test_weights_and_statistics():
    params, spec = network("batch norm")
    other, _ = network("batch norm", seed=3)
    for weight, want in ((0.0, params), (1.0, match((params, spec), (other, spec)).stored)):
        found = merge((params, spec), (other, spec), weight)
        assert all(np.allclose(found.stored[n], x, atol=1e-6) for n, x in want.items())
    assert sorted(found.statistics)[0] == "BatchNorm_0/mean"
    assert len(found.statistics) == 4
    with pytest.raises(ValueError, match="from 0 to 1"):
        merge((params, spec), (other, spec), 1.5)


def test_a_function_receives_the_files_arrays(tmp_path):
    a, b = stored(tmp_path, torch_mlp(), permuted_mlp(torch_mlp()))
    x = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)

    def function(params, x):
        for i in (0, 2):
            x = np.maximum(x @ params[f"{i}.weight"].T + params[f"{i}.bias"], 0)
        return x @ params["4.weight"].T + params["4.bias"]

    y = function(torch_mlp(), x)
    found = merge(a, b, data=(x, y), function=function)
    assert max(found.losses) < 1e-10
    assert found.matched_barrier < 1e-10 < 0.01 < found.barrier
    same = merge(a, b, data=(x, y), config=RELU)
    assert np.isclose(same.barrier, found.barrier, rtol=1e-4)
    with pytest.raises(ValueError, match="--function"):
        merge(a, b, data=(x, y))
    with pytest.raises(ValueError, match="outputs' shape"):
        merge(a, b, data=(x, y[:, 0]), config=RELU)
    with pytest.raises(ValueError, match="as many y as x"):
        merge(a, b, data=(x, y[1:]), config=RELU)


def test_norms_stored_less_one_keep_their_convention(tmp_path):
    spec = {"0.weight": (4, 3), "1.weight": (4,), "1.bias": (4,), "3.weight": (2, 4)}
    rng = np.random.default_rng(0)
    a = {n: rng.standard_normal(s).astype(np.float32) for n, s in spec.items()}
    a["1.running_mean"], a["1.running_var"] = a["1.bias"] * 0, abs(a["1.bias"])
    b = a | {"1.weight": a["1.weight"] - 1}
    paths = stored(tmp_path, a, b)
    assert np.allclose(match(*paths).stored["1.weight"], b["1.weight"])
    assert np.allclose(merge(*paths).stored["1.weight"], a["1.weight"])


def test_other_architectures_are_refused(tmp_path):
    paths = stored(tmp_path, torch_mlp(), torch_mlp(widths=(6, 16, 24, 3)))
    for verb in (match, merge):
        with pytest.raises(DifferentError, match=r"0.weight: \[24, 6\] in A, \[16, 6\] in B"):
            verb(*paths)


def test_arrays_without_structure_are_averaged_as_stored(tmp_path):
    a, b = ({"x.gate": np.full((3, 3), v, np.float32)} for v in (1, 3))
    paths = stored(tmp_path, a, b)
    with pytest.raises(DifferentError, match="--no-match"):
        merge(*paths)
    assert (merge(*paths, matching=False).stored["x.gate"] == 2).all()


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_written_files_are_read_again(tmp_path, ending):
    arrays = {"a.w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "a.s": np.float32([2.5])}
    write(tmp_path / f"x.{ending}", arrays)
    found, _ = files.load(tmp_path / f"x.{ending}")
    assert all(np.array_equal(found[n], x) for n, x in arrays.items())


def test_types_and_names_that_are_not_written(tmp_path):
    half = {"w": np.ones(3, ml_dtypes.bfloat16)}
    write(tmp_path / "x.safetensors", half)
    with pytest.raises(ValueError, match="bfloat16"):
        write(tmp_path / "x.npz", half)
    with pytest.raises(ValueError, match="ends in"):
        write(tmp_path / "x.pt", half)
    assert jax.numpy.asarray(files.load(tmp_path / "x.safetensors")[0]["w"]).dtype == "bfloat16"


def test_rounding_to_the_files_types_counts(tmp_path):
    state = torch_mlp()
    half = {n: (20 * x).astype(ml_dtypes.bfloat16) for n, x in permuted_mlp(torch_mlp(1)).items()}
    a, b = stored(tmp_path, state, half)
    found = match(a, b, config=RELU)
    assert 1e-4 < found.function_error < 0.1  # of one epsilon, 2^-7, not of float32
    x = np.ones((4, 6), np.float32)
    merged = merge(b, a, config=RELU, data=(x, np.zeros((4, 3), np.float32)))
    write(tmp_path / "c.safetensors", merged.stored)
    again = merge(tmp_path / "c.safetensors", a, config=RELU, data=(x, np.zeros((4, 3))))
    assert again.losses[0] == pytest.approx(merged.losses[2], rel=1e-6)


def test_numbers_beyond_the_files_type_are_not_written(tmp_path):
    a = {n: 1e4 * x for n, x in torch_mlp().items()}
    b = {n: x.astype(np.float16) for n, x in torch_mlp(1).items()}
    b["0.weight"], b["2.weight"] = 1e-3 * b["0.weight"], 1e3 * b["2.weight"]
    a["2.weight"], a["4.weight"] = 1e-4 * a["2.weight"], 1e6 * a["4.weight"]
    with pytest.raises(ValueError, match="too large for the file's float16"):
        match(*stored(tmp_path, a, b), config=RELU)
