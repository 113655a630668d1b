import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from wsjax import metrics


def pair(n=50):
    rng = np.random.default_rng(0)
    targets = rng.normal(size=n).round(1)  # rounded: tau-b differs from tau-a under ties
    return targets + rng.normal(size=n), targets


def test_measures_equal_scikit_learn_and_scipy():
    p, t = pair()
    got = metrics.evaluate(p, t)
    assert got == pytest.approx(
        {
            "mse": sklearn.metrics.mean_squared_error(t, p),
            "mae": sklearn.metrics.mean_absolute_error(t, p),
            "r2": sklearn.metrics.r2_score(t, p),
            "tau": scipy.stats.kendalltau(p, t, variant="b").statistic,
        }
    )
    assert all(type(v) is float for v in got.values())
    assert 0.1 < got["tau"] < 0.9  # not a trivial pair


def test_perfect_reversed_and_constant():
    t = np.arange(5.0)
    perfect = {"mse": 0.0, "mae": 0.0, "r2": 1.0, "tau": 1.0}
    assert metrics.evaluate(t, t) == pytest.approx(perfect)
    assert metrics.kendall_tau(-t, t) == pytest.approx(-1)
    assert metrics.kendall_tau(np.ones(5), t) == 0
    assert metrics.r2(np.full(5, t.mean()), t) == pytest.approx(0)
    assert metrics.r2(t, np.ones(5)) == sklearn.metrics.r2_score(np.ones(5), t) == 0


def test_bootstrap_intervals_cover_as_often_as_they_say():
    """Of the mean absolute error of 40 draws, of a known truth."""
    rng, truth, inside = np.random.default_rng(0), np.sqrt(2 / np.pi), 0
    for i in range(60):
        noise = rng.normal(size=40)
        low, high = metrics.bootstrap(noise, np.zeros(40), samples=60, level=0.8, seed=i)["mae"]
        assert low < np.abs(noise).mean() < high
        inside += low < truth < high
    assert 0.6 < inside / 60 < 0.95


def test_bootstrap_draws_whole_groups():
    """Copies of an example are no new data: in groups, they do not narrow the interval."""
    p, t = pair(30)
    width = lambda *a: np.subtract(*metrics.bootstrap(*a, samples=200)["tau"][::-1])
    copies, runs = (np.repeat(p, 9), np.repeat(t, 9)), np.repeat(np.arange(30), 9)
    assert width(*copies, runs) == pytest.approx(width(p, t), rel=0.15)
    assert width(*copies) < 0.5 * width(p, t)
    with pytest.raises(ValueError, match="expected two or more groups of 30 examples"):
        metrics.bootstrap(p, t, np.zeros(30))
    with pytest.raises(ValueError, match="expected two or more groups of 30 examples"):
        metrics.bootstrap(p, t, np.arange(29))


def test_float32_is_summed_in_float64():
    t = np.full(10, 1e4, np.float32) + np.arange(10, dtype=np.float32)
    assert metrics.r2(t + np.float32(0.5), t) == pytest.approx(1 - 2.5 / 82.5, rel=1e-9)


@pytest.mark.parametrize(
    ("predictions", "targets", "words"),
    [
        ([np.nan, 1, np.inf], [0, 1, 2], "2 of 3 predictions are NaN or infinite"),
        ([0, 1, 2], [0, np.nan, 2], "1 of 3 targets are NaN or infinite"),
        ([[0], [1]], [0, 1], r"expected predictions of shape \(2,\), got \(2, 1\)"),
        ([], [], r"expected predictions of shape \[example\], got \(0,\)"),
        ([[0], [1]], [[0], [1]], r"shape \[example\], got \(2, 1\)"),
    ],
    ids=["nan predictions", "nan targets", "would broadcast", "empty", "columns"],
)
def test_errors(predictions, targets, words):
    with pytest.raises(ValueError, match=words):
        metrics.evaluate(predictions, targets)


def test_lines_come_back(tmp_path):
    lines = metrics.JsonLines(tmp_path / "a" / "metrics.jsonl")
    assert lines.read() == []
    wrote = [{"step": s, "loss": 0.1 * s} for s in (10, 20, 30)]
    for line in wrote:
        lines.write(line)
    assert lines.read() == wrote
    assert metrics.JsonLines(lines.path).read() == wrote
    lines.truncate_after(20)
    assert lines.read() == wrote[:2]
    assert [p.name for p in lines.path.parent.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("half", ['{"step": 3', '{"step": 30}', "{"])
def test_a_half_written_last_line_is_dropped(tmp_path, half):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n' + half)  # killed before the newline
    lines = metrics.JsonLines(path)
    lines.write({"step": 3})
    assert lines.read() == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2: expected JSON"):
        metrics.read_lines(path)


def test_nan_is_not_json(tmp_path):
    lines = metrics.JsonLines(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        lines.write({"step": 1, "loss": float("nan")})
    assert lines.read() == []
