"""Tables from records: order, devices, published figures, footnotes."""

import pytest

from experiments.lib import (
    accuracy_tables,
    benchmark_tables,
    overview_tables,
    records,
    tables,
)

SHARED = {
    "preset": "laptop",
    "seed": 0,
    "parameters": 1000,
    "seconds": 1.0,
    "steps": 30,
    "words": "",
    "paper": "–",
    "device": "1 x cpu",
    "time": "2026-01-01T00:00:00+00:00",
    "config": {"training": {"batch": 4}, "sizes": {"train": 10}},
}


def write(results, experiment, *runs):
    """Records as they stand in a file, device included."""
    records.add([{**SHARED, "experiment": experiment, **r} for r in runs], results)


def cells(text, begin):
    """The cells of the lines of a table that begin so."""
    found = [x.strip("| ").split(" | ") for x in text.splitlines() if x.startswith(f"| {begin}")]
    assert found
    return found


def frequency(row, mse, **more):
    return {"row": row, "metrics": {"test_mse": mse, "test_tau": 0.5}, **more}


def test_methods_stand_by_error_with_their_cost_and_the_published_figure(tmp_path):
    runs = [frequency("mean", 7.0, steps=0, parameters=0), frequency("sne", 0.2, paper="0.1*")]
    write(tmp_path, "inr_frequency", *runs)
    text = tables.frequency(tmp_path)
    assert text.startswith("Preset `laptop`, 10 training networks, on 1 x cpu:")
    assert cells(text, "`") == [
        ["`sne`", "1,000", "0.200", "0.500", "12", "1", "0.1*"],
        ["`mean`", "–", "7.000", "0.500", "–", "1", "–"],
    ]
    assert text.splitlines()[-1].startswith("Published: ")
    assert "With a *: from memory" in text.splitlines()[-1]


def test_two_devices_are_both_in_the_table(tmp_path):
    gpu = "1 x NVIDIA H100"
    write(
        tmp_path, "inr_frequency",
        frequency("sne", 0.3), frequency("sne", 0.2), frequency("sne", 0.1, device=gpu),
        frequency("mean", 7.0),
    )  # fmt: skip
    text = tables.frequency(tmp_path)
    assert [(c[0], c[2], c[-1]) for c in cells(text, "`")] == [
        ("`sne`", "0.100", gpu),
        ("`sne`", "0.200", "1 x cpu"),
        ("`mean`", "7.000", "1 x cpu"),
    ]


def test_seeds_become_a_mean_and_a_deviation(tmp_path):
    write(tmp_path, "inr_frequency", *(frequency("sne", x, seed=i) for i, x in enumerate((1, 3))))
    assert cells(tables.frequency(tmp_path), "`sne`")[0][2] == "2.000 ± 1.414 (2 seeds)"
    assert tables.spread([]) == "–"


def test_presets_have_an_order_and_one_of_your_own_is_last(tmp_path):
    for preset in ("mine", "paper", "laptop"):
        write(tmp_path, "inr_frequency", frequency("sne", 1.0, preset=preset))
    text = tables.frequency(tmp_path)
    assert [x.split("`")[1] for x in text.splitlines() if x.startswith("Preset")] == [
        *("laptop", "paper", "mine"),
    ]


def test_fewer_training_networks_have_a_table_of_their_own(tmp_path):
    run = lambda row, right, size: {
        "row": row, "train_zoo": "mnist.dws",
        "metrics": {"test_accuracy": right, "test_error": 1 - right},
        "time": "2026-01-01T00:00:00+00:00",
    "config": {"training": {"batch": 4}, "sizes": {"train": size}},
    }  # fmt: skip
    runs = [run("mlp", 0.2, 10), run("scalegmn", 0.9, 10), run("scalegmn_5", 0.5, 5)]
    write(tmp_path, "inr_classification", *runs)
    lines = tables.classification(tmp_path).splitlines()
    assert "| `scalegmn` | 1,000 | 90.0 | 12 | 1 | – |" in lines
    at = lines.index("| method | 5 | 10 |")
    assert lines[at + 2] == "| `scalegmn` | 50.0 | 90.0 |"
    assert not any("scalegmn_5" in x for x in lines)


def test_notes_of_old_records_are_in_todays_words():
    assert tables.method([{"row": "x", "words": "knows of no signs"}]) == (
        "`x`, without sign symmetry"
    )
    assert tables.method([{"row": "x", "words": "new"}]) == "`x`, new"
    used = {r.get("words") for p in records.PUBLISHED.glob("*.jsonl")
            for r in records.read(p.stem, records.PUBLISHED)}  # fmt: skip
    assert set(tables.NOTES) <= used


def predictor(row, test, tau, **more):
    metrics = {"test_tau": tau} if tau is not None else {}
    return {"row": row, "train_zoo": "a", "test_zoo": test, "metrics": metrics, **more}


def test_accuracy_predictors_have_a_column_for_each_direction(tmp_path):
    write(
        tmp_path, "cross_dataset",
        predictor("mlp", "a", 0.5), predictor("mlp", "b", None),
        predictor("sne", "a", 0.6, paper=".9"), predictor("sne", "b", 0.8, adopted=["x"]),
    )  # fmt: skip
    text = accuracy_tables.TABLES["cross_dataset"](tmp_path)
    assert cells(text, "method") == [["method", "parameters", "a → a", "a → b", "mean"]]
    assert cells(text, "`") == [
        ["`sne`", "1,000", "0.600", "0.800 †", "0.700"],
        ["`mlp`", "1,000", "0.500", "not supported", "–"],
    ]
    assert cells(text, "*`sne`, published*")[0][2:4] == ["*.9*", "*–*"]
    assert "†: the test networks have kinds of arrays that training had not" in text


def test_tables_say_where_another_measure_selected_checkpoints_than_tau(tmp_path):
    words, selected = "checkpoints selected by the validation MSE", {"config": {"select": "tau"}}
    write(tmp_path / "old", "cross_dataset", predictor("mlp", "a", 0.5))
    write(tmp_path / "new", "cross_dataset", predictor("mlp", "a", 0.5, **selected))
    table = accuracy_tables.TABLES["cross_dataset"]
    assert words in table(tmp_path / "old")
    assert words not in table(tmp_path / "new")
    assert accuracy_tables.CPU in table(tmp_path / "new")
    write(tmp_path / "paper", "cross_dataset", predictor("mlp", "a", 0.5, preset="paper"))
    assert accuracy_tables.CPU not in table(tmp_path / "paper")


def test_accuracy_predictors_on_two_devices_are_two_lines(tmp_path):
    runs = [predictor("sne", "a", 0.6), predictor("sne", "a", 0.7, device="1 x GPU")]
    write(tmp_path, "cross_dataset", *runs)
    text = accuracy_tables.TABLES["cross_dataset"](tmp_path)
    assert [c[0] for c in cells(text, "`")] == ["`sne` on GPU", "`sne` on cpu"]


def test_benchmarks_are_pivoted_by_unit_and_device(tmp_path):
    run = lambda device, **figures: {"row": "encoder_step", "device": device, "metrics": figures}
    write(
        tmp_path, "benchmarks",
        run("1 x cpu", **{"sne: ms": 5.0}), run("1 x cpu", **{"sne: ms": 4.0, "sne: MiB": 2000}),
        run("1 x GPU", **{"sne: ms": 1.0, "gmn: ms": 2.0}),
    )  # fmt: skip
    text = benchmark_tables.TABLES["encoder_steps"](tmp_path)
    assert text.splitlines()[0].endswith("| ms on cpu | MiB on cpu | ms on GPU |")
    assert text.splitlines()[2:] == ["| sne | 4 | 2,000 | 1 |", "| gmn | – | – | 2 |"]


def test_the_headline_takes_the_best_published_run_and_says_how_it_differs(tmp_path):
    write(
        tmp_path, "inr_frequency",
        frequency("sne", 0.3, paper="0.098 ± .002"),
        frequency("sne", 0.2, paper="0.098 ± .002", preset="long"),
        frequency("gmn", 0.1),
    )  # fmt: skip
    (line,) = cells(text := overview_tables.headline(tmp_path), "`inr_frequency`")
    assert line[2:4] == ["0.098 ± .002", "0.200¹"]
    assert line[-1] == "`python -m experiments.inr_frequency --preset long --methods sne`"
    assert text.splitlines()[-1].startswith("¹ ")
    write(
        tmp_path, "generalization",
        *(predictor("scalegmn_b", x, 0.5, paper=p) for x, p in (("a", ".9 ± .1"), ("b", ".8"))),
    )  # fmt: skip
    (line,) = cells(overview_tables.headline(tmp_path), "`generalization`")
    assert line[2:4] == ["0.850", "0.500²"]


def test_every_headline_has_a_published_record():
    for entry in overview_tables.HEADLINES:
        assert entry.cells(records.PUBLISHED, ""), entry


@pytest.mark.parametrize(
    "table",
    [f for f in (tables.TABLES | accuracy_tables.TABLES | benchmark_tables.TABLES).items()
     if f[0] != "zoos"],
    ids=lambda x: x[0],
)  # fmt: skip
def test_without_records_a_table_says_so(table, tmp_path):
    assert table[1](tmp_path) == "No runs yet."
