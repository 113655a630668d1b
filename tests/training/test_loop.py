"""Run as a program, this file trains in a process of its own, to be killed or given devices:

python tests/training/test_loop.py OUT PAUSE FOLDER STEPS [FOLDER STEPS ...]

Evaluations after the sixth (of step 30) take PAUSE seconds more.
"""

import dataclasses
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wsjax import training
from wsjax.training import Settings, checkpoints, loop
from wsjax.training.log import read_lines
from wsjax.training.progress import Interrupted

pytestmark = pytest.mark.trains

N = 70  # not a multiple of the batch


def init(key):
    one, two = jax.random.split(key)
    return {
        "hidden": {"kernel": jax.random.normal(one, (3, 16)) / 2, "bias": jnp.zeros(16)},
        "out": {"kernel": jax.random.normal(two, (16,)) / 4, "bias": jnp.zeros(())},
    }


def examples(n=N, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    return {"x": x, "y": np.sin(x).sum(1)}


def loss(variables, key, batch):
    hidden, out = variables["hidden"], variables["out"]
    y = jnp.tanh(batch["x"] @ hidden["kernel"] + hidden["bias"]) @ out["kernel"] + out["bias"]
    error = y - batch["y"]
    return jnp.mean(error**2), {"bias": jnp.mean(error)}


def noisy_loss(variables, key, batch):
    noise = 0.1 * jax.random.normal(key, batch["x"].shape)
    return loss(variables, key, {**batch, "x": batch["x"] + noise})


@jax.jit
def evaluate(variables):
    return {"mse": loss(variables, None, examples(32, seed=1))[0]}


SMALL = Settings(steps=60, batch=16, microbatch=8, learning_rate=0.02, warmup=5, ema=0.5)
SMALL = dataclasses.replace(SMALL, evaluate_every=5, checkpoint_every=20)
WHOLE = dataclasses.replace(SMALL, steps=12, microbatch=0, checkpoint_every=4)
CONFIG = {"width": 16}


def run(folder, settings=WHOLE, **changes):
    given = dict(init=init, loss=noisy_loss, data=examples(), evaluate=evaluate, config=CONFIG)
    given |= dict(settings=settings, folder=folder, progress=False)
    return training.fit(**(given | changes))


@pytest.fixture(autouse=True, scope="module")
def compiled_once():
    """Tests of one loss, settings and mesh share a step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_step", functools.cache(loop.make_step))
        yield


def main(out, pause, *runs):
    evaluations = itertools.count(1)

    def slowly(variables):
        time.sleep(float(pause) if next(evaluations) > 6 else 0)
        return evaluate(variables)

    training.compilation_cache(os.environ["CACHE"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    arrays = {}
    for i, (folder, steps) in enumerate(zip(runs[::2], runs[1::2], strict=True)):
        settings = dataclasses.replace(SMALL, steps=int(steps))
        result = run(folder, settings, evaluate=slowly)
        for part in ("variables", "variables_best"):
            flat = jax.tree_util.tree_leaves_with_path(getattr(result, part))
            arrays |= {f"{i}/{part}{jax.tree_util.keystr(k)}": np.asarray(x) for k, x in flat}
        arrays |= {f"{i}/best_value": result.best_value, f"{i}/resumed": result.resumed}
    if jax.device_count() > 1:
        step = training.make_step(noisy_loss, settings, training.data_mesh())
        batch = {k: v[:16] for k, v in examples().items()}
        state = training.init_state(init(jax.random.key(0)), settings)
        program = step.lower(state, batch).compile().as_text()
        moves = len(re.findall(r" (all-gather|all-to-all|collective-permute)[\w-]*\(", program))
        arrays |= {"moves": moves, "sums": program.count(" all-reduce")}
    np.savez(out, **arrays)


def command(out, *runs, pause=0.0, devices=1):
    flags = f"--xla_force_host_platform_device_count={devices}"
    cache = jax.config.jax_compilation_cache_dir or out.parent / "cache"
    return subprocess.Popen(
        [sys.executable, "-W", "error", __file__, out, str(pause), *map(str, runs)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "CACHE": str(cache)},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Waits for a process that trains for 60 steps and anew for 8; returns its folder."""
    folder = tmp_path_factory.mktemp("whole")
    process = command(folder / "out.npz", folder / "60", 60, folder / "8", 8)
    yield functools.cache(lambda: finish(process) or folder)
    process.kill()


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def moved(variables):
    first = init(loop._keys(SMALL)[0])
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: not np.allclose(a, b), variables, first)))


def test_killed_and_resumed_is_uninterrupted_bit_for_bit(whole, tmp_path):
    killed, out = tmp_path / "killed", tmp_path / "out.npz"
    history = killed / "metrics.jsonl"
    victim = command(out, killed, 60, pause=5)  # half a minute to be killed in
    deadline = time.monotonic() + 180
    while not (any(x["step"] >= 30 for x in read_lines(history)) and (killed / "20").is_dir()):
        assert victim.poll() is None, victim.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert not out.exists()
    with history.open("a") as file:
        file.write('{"step": 35, "lo')  # what a kill while writing leaves
    finish(command(out, killed, 60))

    a, b = np.load(whole() / "out.npz"), np.load(out)
    assert a["0/resumed"] == 0
    assert b["0/resumed"] in (20, 40)
    assert len(b.files) == 10
    for name in set(b.files) - {"0/resumed"}:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    timed = ("seconds", "examples_per_second")
    lines = [
        [{k: v for k, v in x.items() if k not in timed} for x in read_lines(f / "metrics.jsonl")]
        for f in (whole() / "60", killed)
    ]
    assert lines[0] == lines[1]
    assert [x["step"] for x in lines[0]] == list(range(5, 61, 5))
    assert min(x["val_mse"] for x in lines[0]) < lines[0][0]["val_mse"] / 2


def test_four_devices_equal_one(whole, tmp_path):
    shutil.copytree(whole() / "8", tmp_path / "copy")
    out = tmp_path / "out.npz"
    finish(command(out, tmp_path / "four", 8, tmp_path / "copy", 8, devices=4))
    a, b = np.load(whole() / "out.npz"), np.load(out)
    before = jax.tree.leaves_with_path(init(loop._keys(SMALL)[0]))
    assert len(before) == 4
    for path, first in before:
        name = f"variables{jax.tree_util.keystr(path)}"
        one, four = a[f"1/{name}"], b[f"0/{name}"]
        assert np.abs(one - first).max() > 1e-3, name  # it moved
        scale = np.abs(one).max()
        np.testing.assert_allclose(one, four, rtol=1e-5, atol=1e-5 * scale, err_msg=name)
        # a checkpoint of one device on four
        np.testing.assert_array_equal(one, b[f"1/{name}"])
    assert (a["1/resumed"], b["0/resumed"], b["1/resumed"]) == (0, 0, 8)
    # and one of four devices on one
    got = checkpoints.load(tmp_path / "four", jax.eval_shape(init, jax.random.key(0)), "variables")
    for path, x in jax.tree.leaves_with_path(got):
        assert len(x.sharding.device_set) == 1
        np.testing.assert_array_equal(x, b[f"0/variables{jax.tree_util.keystr(path)}"])
    assert b["moves"] == 0  # contiguous pieces, in place of strided ones, move the batch
    assert b["sums"] > 0


def one_device():
    return jax.make_mesh((1,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])


def updated(settings, batch, loss=loss):
    step = training.make_step(loss, settings, one_device())
    return step(training.init_state(init(jax.random.key(0)), settings), batch)


def test_microbatches_add_up_to_the_whole_batch():
    # With plain gradients, the first moment of Adam is the gradient, times 0.1.
    batch = {k: v[:48] for k, v in examples().items()}
    settings = Settings(batch=48, clip=0)
    _, metrics = updated(settings, batch)
    moment = lambda s: optax.tree.get(s.opt_state, "mu")
    want = jax.jit(jax.grad(lambda v: loss(v, None, batch)[0]))(init(jax.random.key(0)))
    for size in (0, 24, 1):
        state, pieces = updated(dataclasses.replace(settings, microbatch=size), batch)
        got = jax.tree.map(lambda m: 10 * m, moment(state))
        error = optax.tree.norm(jax.tree.map(jnp.subtract, got, want)) / optax.tree.norm(want)
        assert error < 1e-5
        for name in metrics:
            assert float(pieces[name]) == pytest.approx(float(metrics[name]), rel=1e-5), name
    assert metrics["gradient_norm"] == pytest.approx(float(optax.tree.norm(want)), rel=1e-5)
    assert metrics["loss"] == pytest.approx(float(loss(init(jax.random.key(0)), None, batch)[0]))


def test_each_step_and_each_piece_has_its_own_key():
    def draw(variables, key, batch):
        return 0 * loss(variables, key, batch)[0], {"u": jax.random.uniform(key)}

    batch, settings = {k: v[:16] for k, v in examples().items()}, Settings(batch=16, microbatch=8)
    step = training.make_step(draw, settings, one_device())
    state = training.init_state(init(jax.random.key(0)), settings)
    key, means = state.key, []
    want = [[jax.random.fold_in(jax.random.fold_in(key, s), i) for i in (0, 1)] for s in (0, 1)]
    want = [np.mean([jax.random.uniform(k) for k in keys]) for keys in want]
    for _ in want:
        state, metrics = step(state, batch)
        means.append(float(metrics["u"]))
    assert means == pytest.approx(want)
    assert means[0] != means[1]


def test_the_second_step_does_not_compile():
    step = training.make_step(loss, SMALL, one_device())
    rows, data = training.batches(N, 16, 0), examples()
    everywhere = jax.sharding.NamedSharding(one_device(), jax.sharding.PartitionSpec())
    first = jax.jit(
        lambda: training.init_state(init(jax.random.key(0)), SMALL), out_shardings=everywhere
    )
    state = first()
    for i in range(4):
        state, _ = step(state, {k: v[rows(i)] for k, v in data.items()})
        state = loop._keep_best(state, 1.0 / (i + 1), everywhere)
    assert step._cache_size() == 1
    assert float(state.best_value) == 0.25
    assert_equal(state.best, state.average)


def test_a_whole_run_traces_the_loss_once(tmp_path):
    traced = []

    def counted(*args):
        traced.append(1)
        return loss(*args)

    run(tmp_path, loss=counted)
    assert len(traced) == 1


def test_average_of_variables():
    settings = Settings(batch=16, ema=0.9)
    step = training.make_step(loss, settings, one_device())
    state = training.init_state(init(jax.random.key(0)), settings)
    want = np.array(jax.flatten_util.ravel_pytree(state.variables)[0])
    for i in range(3):
        state, _ = step(state, {k: v[:16] for k, v in examples().items()})
        keep = min(0.9, (1 + i) / (10 + i))
        want = keep * want + (1 - keep) * jax.flatten_util.ravel_pytree(state.variables)[0]
    got = jax.flatten_util.ravel_pytree(state.evaluated)[0]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert not np.allclose(got, jax.flatten_util.ravel_pytree(state.variables)[0], atol=1e-4)


def test_batches_are_permutations_and_stateless():
    rows = training.batches(12, 4, seed=3)
    epochs = [np.concatenate([rows(3 * e + i) for i in range(3)]) for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(12))
    assert not np.array_equal(epochs[0], epochs[1])
    late = training.batches(12, 4, seed=3)(7)  # without the batches before it
    np.testing.assert_array_equal(late, epochs[2][4:8])
    assert not np.array_equal(late, training.batches(12, 4, seed=4)(7))
    uneven = training.batches(11, 4, seed=0)
    epoch = np.concatenate([uneven(2), uneven(3)])
    assert len(set(epoch)) == 8
    with pytest.raises(ValueError, match="at least a batch of 4 examples, got 3"):
        training.batches(3, 4, seed=0)


@pytest.mark.parametrize("how", [{}, {"select": "tau", "highest": True}])
def test_best_and_history(tmp_path, how):
    values = iter([3.0, 1.0, 1.0])  # of equal values the first is best
    seen = []

    def rigged(variables):
        seen.append(jax.tree.map(np.array, variables))
        return {"mse": (value := next(values)), "tau": -value}

    result = run(tmp_path, evaluate=rigged, **how)
    assert (result.best_value, result.steps, result.resumed) == (-1.0 if how else 1.0, 12, 0)
    assert_equal(result.variables_best, seen[1])
    assert_equal(result.variables, seen[2])
    assert moved(result.variables)
    assert_equal(checkpoints.load(tmp_path, seen[0]), seen[1])
    assert_equal(checkpoints.load(tmp_path, seen[0], "variables"), seen[2])
    lines = read_lines(result.history)
    assert [x["step"] for x in lines] == [5, 10, 12]
    assert [x["val_mse"] for x in lines] == [3, 1, 1]
    assert set(lines[0]) == {
        *("step", "loss", "bias", "learning_rate", "gradient_norm", "examples_per_second"),
        *("val_mse", "val_tau", "seconds"),
    }
    assert checkpoints.read_config(tmp_path)["width"] == 16
    assert checkpoints.read_config(tmp_path)["training"]["batch"] == 16
    again = run(tmp_path, evaluate=None, **how)  # finished: nothing is left to do
    assert (again.resumed, again.best_value) == (12, result.best_value)
    assert again.seconds == pytest.approx(result.seconds, abs=1)
    assert_equal(again.variables_best, seen[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_same_command_continues(tmp_path, number):
    whole = run(tmp_path / "whole")

    def interrupt(variables):
        os.kill(os.getpid(), number)
        return evaluate(variables)

    with pytest.raises(Interrupted, match=r"after step 5 of 12 .* same command conti") as stopped:
        run(tmp_path / "cut", evaluate=interrupt)
    assert stopped.value.signum == number
    rest = run(tmp_path / "cut")
    assert rest.resumed == 5
    assert_equal(rest.variables, whole.variables)
    assert_equal(rest.variables_best, whole.variables_best)
    assert rest.best_value == whole.best_value


def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(tmp_path, caplog):
    whole = run(tmp_path)
    for path in (tmp_path / "12").glob("*/d/*"):
        path.write_bytes(b"")
    again = run(tmp_path)
    assert f"checkpoint 12 in {tmp_path} is damaged" in caplog.text
    assert again.resumed == 8
    assert_equal(again.variables, whole.variables)
    assert [x["step"] for x in read_lines(again.history)] == [5, 10, 12]


def test_a_full_disk_stops_with_one_sentence_and_the_same_command_continues(tmp_path, monkeypatch):
    whole, disk = run(tmp_path / "whole"), [10**9]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("", (), {"free": disk[0]}))
    fill = lambda variables: (disk.insert(0, 100), evaluate(variables))[1]  # at step 5
    with pytest.raises(training.SaveError, match=r"kB free .* the same .* from checkpoint 4$"):
        run(tmp_path / "cut", evaluate=fill)
    with pytest.raises(training.SaveError, match="for 2 of its checkpoints, got 0 kB;"):
        run(tmp_path / "cut", evaluate=None)  # before training
    disk[0] = 10**9
    monkeypatch.setattr(loop.JsonLines, "write", lambda *_: os.truncate("", 0))
    with pytest.raises(training.SaveError, match=r"the line of step 5 .* No such .*checkpoint 4$"):
        run(tmp_path / "cut")
    monkeypatch.undo()
    rest = run(tmp_path / "cut")
    assert rest.resumed == 4
    assert_equal(rest.variables, whole.variables)
    assert [x["step"] for x in read_lines(rest.history)] == [5, 10, 12]


def root_of_zero(variables, key, batch):
    return jnp.sqrt(sum(jnp.sum(0 * x) for x in jax.tree.leaves(variables))), {}


@pytest.mark.parametrize("evaluate_every", [1, 12])
@pytest.mark.parametrize("quantity", ["loss", "gradient norm", "validation tau"])
def test_nan_stops_and_names_the_quantity_and_the_step(tmp_path, quantity, evaluate_every):
    settings = dataclasses.replace(WHOLE, evaluate_every=evaluate_every, checkpoint_every=2)
    changes, step = {}, 1
    if quantity == "loss":
        data, step = examples(), 4
        data["y"][training.batches(N, 16, settings.seed)(step - 1)[0]] = np.nan
        changes["data"] = data
    elif quantity == "gradient norm":
        changes["loss"] = root_of_zero
    else:
        changes["evaluate"], step = (lambda v: {"mse": 1.0, "tau": np.inf}), evaluate_every
    value = "inf" if quantity == "validation tau" else "nan"
    with pytest.raises(FloatingPointError, match=f"^{quantity} is {value} at step {step}$"):
        run(tmp_path, settings, **changes)
    saved = [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]
    assert all(s < step for s in saved)
    assert bool(saved) == (step > 2)


def test_the_differences_of_another_config_are_named(tmp_path):
    run(tmp_path)
    other = dataclasses.replace(WHOLE, learning_rate=0.5)
    words = (
        rf"(?s){tmp_path} holds a run of another config.*\n"
        r"  training.learning_rate: 0.02 in the folder, 0.5 now\n"
        r"  width: 16 in the folder, 17 now"
    )
    with pytest.raises(ValueError, match=words):
        run(tmp_path, other, config={"width": 17})


def test_errors_of_arguments(tmp_path):
    data = examples()
    with pytest.raises(ValueError, match=r"one number of examples, got {'x': 70, 'y': 69}"):
        run(tmp_path, data={**data, "y": data["y"][1:]})
    with pytest.raises(ValueError, match=r"expected evaluate to give 'tau', got \['mse'\]"):
        run(tmp_path, select="tau")
    mesh = jax.sharding.AbstractMesh((3,), ("data",))
    with pytest.raises(ValueError, match="devices x microbatches = 3 x 2 = 6, got 16"):
        training.make_step(loss, SMALL, mesh)


def test_lines_are_printed_where_there_is_no_terminal(tmp_path, capsys):
    both = lambda variables: {"mse": 0.25, "tau": 0.5}
    run(tmp_path, evaluate=both, select="tau", progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [x.split()[1] for x in lines] == ["5/12", "10/12", "12/12"]
    for line in lines:
        assert re.fullmatch(r"step \S+  loss \S+  val_tau 0.5  \d+ examples/s  \d+\.\d s", line)


def test_a_bar_on_a_terminal_and_tensorboard(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    run(tmp_path, dataclasses.replace(WHOLE, tensorboard=True), progress=True)
    printed = re.sub(r"\x1b\[.*?[A-Za-z]", "", capsys.readouterr().out)  # without colours
    assert re.search(r"step 5/12  loss \S+  val_mse", printed)
    assert re.search(r"loss 0\.\d+ .* 12/12 ", printed)
    assert list((tmp_path / "tensorboard").iterdir())


if __name__ == "__main__":
    main(*sys.argv[1:])
