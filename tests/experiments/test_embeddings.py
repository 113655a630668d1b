"""Figure 2 of SNE: how far apart the embeddings of zoos are, counted and drawn."""

import json

import numpy as np
import pytest
from cases.classifier_zoos import DEEP, SMALL, TANH, classifiers

from experiments import embeddings
from experiments.lib import cli, plots, records
from experiments.lib.methods import Method
from wsjax.zoos import join

pytestmark = pytest.mark.trains


def test_methods_are_counted_drawn_and_not_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    flags = [
        "--jobs",
        "1",
        "--preset",
        "smoke",
        "--methods",
        "statistics,stat_nn",
        "--folder",
        str(tmp_path),
    ]
    found = embeddings.main(flags)
    assert [r["row"] for r in found] == ["statistics", "stat_nn"]
    for r in found:
        m = r["metrics"]
        assert m["chance"] == 0.5
        assert {"knn_zoo_accuracy", "silhouette", "label_knn_zoo_accuracy"} < set(m)
        low, high = m["test_tau_other_interval"]
        assert low <= m["test_tau_other"] <= high
        assert (r["tsne"]["perplexity"], r["tsne"]["init"]) == (5.0, "pca")
        assert r["config"]["tsne"]["random_state"] == 0
    home = tmp_path / "embeddings" / "smoke"
    for path in [*home.glob("*/embedding.png"), home / "overview.png"]:
        assert path.stat().st_size > 10_000
    with np.load(next(home.glob("stat_nn-0-*/embedding.npz"))) as saved:
        assert saved["codes"].shape == (16, 176)
        assert saved["points"].shape == (16, 3)
        assert saved["zoo"].tolist() == ["digits"] * 8 + ["other"] * 8
        again = embeddings.separation(saved["codes"], saved["zoo"])
    assert again["silhouette"] == pytest.approx(found[1]["metrics"]["silhouette"], abs=1e-5)

    results = tmp_path / "results"
    before = (results / "embeddings.jsonl").read_text()
    assert len(before.splitlines()) == 2
    assert not list(results.glob("*.png"))  # nothing is published
    capsys.readouterr()
    monkeypatch.setattr(records, "PUBLISHED", results)
    assert embeddings.main([*flags, "--publish"]) == json.loads(json.dumps(found))
    assert capsys.readouterr().out.count("finished before") == 2
    assert (results / "embeddings.jsonl").read_text() == before
    names = {p.name for p in results.glob("*.png")}
    assert names == {f"embeddings_smoke_{k}.png" for k in ("statistics", "stat_nn", "overview")}


def test_unsupported_zoos_are_on_record(tmp_path):
    zoos = {"a": classifiers([SMALL]), "b": classifiers([DEEP])}
    method = Method("mlp")
    config = {**method.config(), "row": "mlp", "seed": 0}
    train = join(list(zoos.values()))
    (facts,) = embeddings.embedding(train, zoos, method, config, tmp_path)
    assert facts["refused"] == "MLP reads one architecture at a time, got 2"
    assert facts["metrics"] == {}
    assert (facts["steps"], facts["seconds"]) == (0, 0.0)
    parser = cli.parser("embeddings", "about", embeddings.PRESETS)
    options = parser.parse_args(["--folder", str(tmp_path), "--results", str(tmp_path)])
    embeddings.draw(options, ["mlp"], {})
    assert not list(tmp_path.rglob("*.png"))


def cloud(gap, counts=(30, 20), width=4, seed=0):
    rng = np.random.default_rng(seed)
    zoos = np.repeat(["a", "b", "c"][: len(counts)], counts)
    return rng.normal(size=(len(zoos), width)) + gap * (zoos == "b")[:, None], zoos


@pytest.mark.parametrize("gap", [0.0, 1.0, 20.0])
def test_figures_are_those_of_scikit_learn(gap):
    from sklearn.metrics import silhouette_score
    from sklearn.model_selection import LeaveOneOut, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    codes, zoos = cloud(gap)
    codes[:, 0] *= 30  # so that units matter
    found = embeddings.separation(codes, zoos)
    for suffix, x in (("", codes), ("_standardised", StandardScaler().fit_transform(codes))):
        share = cross_val_score(KNeighborsClassifier(5), x, zoos, cv=LeaveOneOut()).mean()
        assert found[f"knn_zoo_accuracy{suffix}"] == pytest.approx(share)
        assert found[f"silhouette{suffix}"] == pytest.approx(silhouette_score(x, zoos))
    assert (found["knn_zoo_accuracy_standardised"] == 1) == (gap == 20)


def test_figures_by_hand():
    """On a line: a a a a a a . b b b b b b, and one b among the a."""
    x = np.array([0.0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 105, 2.5])[:, None]
    zoos = np.array(["a"] * 6 + ["b"] * 7)
    found = embeddings.separation(x, zoos)
    assert found["knn_zoo_accuracy"] == pytest.approx(12 / 13)  # only the stray is mistaken
    x = np.array([0.0, 1, 10, 11, 0, 1])[:, None]
    two = embeddings.separation(x, np.array([*"aabbaa"]))
    # of an a: its own at 2/3 on average, b at 10.5 or 9.5; of a b: its own at 1, a likewise
    a = np.mean([1 - (2 / 3) / 10.5, 1 - (2 / 3) / 9.5])
    b = np.mean([1 - 1 / 9.5, 1 - 1 / 10.5])
    assert two["silhouette"] == pytest.approx((4 * a + 2 * b) / 6)


def test_equal_votes_go_to_the_nearest():
    """Neighbours of 0 are b, c, c, b, a: two votes each for b and c, and b is nearest."""
    x = np.array([0.0, 1, -2, 3, -4, 5, 90, 95, 99])[:, None]
    zoos = np.array([*"bbccba", *"aca"])
    which = np.unique(zoos, return_inverse=True)[1]
    assert embeddings._vote(x, which)[0] == 1
    swapped = np.array([*"bccbba", *"aca"])
    assert embeddings._vote(x, np.unique(swapped, return_inverse=True)[1])[0] == 2


def test_embeddings_that_are_all_alike_are_at_chance():
    """Though networks stand in order of their zoos."""
    zoos = np.repeat([*"abcd"], 25)
    found = embeddings.separation(np.ones((100, 3)), zoos)
    assert found["knn_zoo_accuracy"] <= 0.3
    assert found["silhouette"] == 0
    points, settings = embeddings.embed(np.ones((100, 3)))
    assert not points.any()
    assert settings["n_components"] == 3


def test_too_few_zoos_or_networks_are_errors():
    codes, zoos = cloud(0.0)
    with pytest.raises(
        ValueError, match=r"two or more zoos, more than 5 in all, got 30 of \['a'\]"
    ):
        embeddings.separation(codes[:30], zoos[:30])
    with pytest.raises(ValueError, match="more than 5 in all, got 4 of"):
        embeddings.separation(codes[28:32], zoos[28:32])
    with pytest.raises(
        ValueError, match=r"expected finite embeddings \[50, width\], got \(49, 4\)"
    ):
        embeddings.separation(codes[:49], zoos)
    codes[3] = np.nan
    with pytest.raises(ValueError, match="expected finite embeddings"):
        embeddings.separation(codes, zoos)


def test_a_subset_of_each_zoo_is_drawn(monkeypatch):
    zoos = {k: classifiers([SMALL, TANH], 16, seed) for seed, k in enumerate("xy")}
    monkeypatch.setattr(embeddings, "MOST", 5)
    networks, names, labels = embeddings.subset(zoos)
    assert names.tolist() == ["x"] * 5 + ["y"] * 5
    for name, part in (("x", slice(0, 5)), ("y", slice(5, 10))):
        test, accuracy = zoos[name].part("test", "test_accuracy")
        every = np.column_stack([test.vectors, accuracy]).tolist()
        some = np.column_stack([networks.vectors[part], labels[part]]).tolist()
        assert sum(row in every for row in some) == 5


def test_clouds_are_drawn_as_given(tmp_path):
    codes, zoos = cloud(3.0)
    drawn = {}
    for name, colors in {"zoos": zoos, "others": zoos[::-1], "numbers": codes[:, 0]}.items():
        plots.clouds(tmp_path / f"{name}.png", {"cloud": (codes[:, :3], colors)}, "title")
        drawn[name] = (tmp_path / f"{name}.png").read_bytes()
    assert len(set(drawn.values())) == 3
    for wrong in (codes, np.full((50, 3), np.nan), codes[:49, :3]):
        with pytest.raises(ValueError, match=r"cloud 'it': expected finite points \[50, 3\]"):
            plots.clouds(tmp_path / "x.png", {"it": (wrong, zoos)}, "title")
    with pytest.raises(ValueError, match="at least one cloud"):
        plots.clouds(tmp_path / "x.png", {}, "title")
