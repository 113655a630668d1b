"""Tables from records: order, devices, published figures, footnotes."""

import pytest

from experiments.lib import (
    accuracy_tables,
    benchmark_tables,
    overview_tables,
    records,
    tables,
)
from experiments.lib.protocols import Footnotes, Protocol

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
ZOOS_DIFFER = (
    "the zoos differ: an MLP of the flat weights learns on theirs and stays near the mean on ours, "
    "where StatNN and DeepSets have less than half of their published errors."
)


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
        ["`sne`", "1,000", "0.200", "0.500", "12", "1", "0.1* ¹ ² ³"],
        ["`mean`", "–", "7.000", "0.500", "–", "1", "–"],
    ]
    assert text.splitlines()[-1] == (
        "Published: With a *: from memory, not checked against the paper. ¹ the paper: the zoo of "
        "DWSNets' authors; 1,000 training networks. ² the paper: 358,000 parameters. ³ the paper "
        f"does not state how long methods are trained; {ZOOS_DIFFER}"
    )


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


def test_errors_of_edits_name_their_range_and_stand_beside_errors_of_it(tmp_path):
    run = lambda row, recipe, low, task: {
        "row": row, "train_zoo": f"mnist.{recipe}.{task}", "metrics": {"test_mse": 0.07},
        "time": "2026-01-01T00:00:00+00:00", "paper": ".0706",  # an old record's, of [-1, 1]
        "config": {"training": {"batch": 4}, "sizes": {"train": 10}, "zoo": {"low": low},
                   "task": task},
    }  # fmt: skip
    runs = [run("nfn_hnp", "dws", 0, "dilation"), run("nfn_hnp", "nfn", -1, "dilation")]
    write(tmp_path, "inr_editing", *runs, run("nfn_hnp", "nfn", -1, "contrast"))
    text = tables.editing(tmp_path)
    sections = {s.split("`")[3]: s for s in text.split("Preset ")[1:]}
    assert "images on [0, 1]" in sections["mnist.dws.dilation"]
    assert ".0265* ¹ ² |" in sections["mnist.dws.dilation"]
    assert "images on [-1, 1]" in sections["mnist.nfn.dilation"]
    assert ".0706 ± .0005 ¹ ³ |" in sections["mnist.nfn.dilation"]
    assert "| – |" in sections["mnist.nfn.contrast"]


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
        predictor("sne", "a", 0.6), predictor("sne", "b", 0.8, adopted=["x"]),
    )  # fmt: skip
    protocol = Protocol("their zoo", networks=20, epochs=12, batch=8, words="seen elsewhere")
    paper = {("sne", "a", "a"): ".9*"}
    text = accuracy_tables.accuracy_predictors("cross_dataset", protocol, paper)(tmp_path)
    assert cells(text, "method") == [["method", "parameters", "a → a ¹", "a → b", "mean"]]
    assert cells(text, "`") == [
        ["`sne`", "1,000", "0.600", "0.800 †", "0.700"],
        ["`mlp`", "1,000", "0.500", "not supported", "–"],
    ]
    assert cells(text, "*`sne`, published* ² ³")[0][2:] == [r"*.9\**", "–", "–"]
    paper["sne", "a", "b"] = ".6 ± .1"
    text = accuracy_tables.accuracy_predictors("cross_dataset", protocol, paper)(tmp_path)
    assert cells(text, "*`sne`, published* ² ³")[0][3:] == ["*.6 ± .1*", "*0.750*"]
    assert "†: the test networks have kinds of arrays that training had not" in text
    assert text.splitlines()[-1] == (
        "Published numbers: ¹ networks of our own, the paper: their zoo; 10 training networks, the "
        "paper: 20. ² 30 steps of 4 networks, 12 epochs, the paper: 12 epochs, batches of 8. "
        "³ seen elsewhere. With a *: from memory, not checked against the paper."
    )


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


def test_tables_without_published_numbers_have_footnotes_too(tmp_path):
    scores = {"knn_zoo_accuracy": 0.5, "test_tau": 0.1}
    write(tmp_path, "embeddings", {"row": "sne", "metrics": scores})
    text = accuracy_tables.embeddings(tmp_path)
    assert text.startswith("Preset `laptop` ¹ ², on 1 x cpu")
    assert "10 training networks, the paper: 48,000. ² 30 steps of 4 networks" in text
    barriers = {
        f"{p}_barrier_{k}": 0.5 for p in ("train", "test") for k in ("as_trained", "matched")
    }
    figures = {**barriers, "test_accuracy": 0.9, "test_accuracy_2": 0.9}
    for name, epochs in (("a", 20), ("b", 100)):
        config = {"data": name, "depth": 3, "width": 512, "epochs": epochs}
        write(tmp_path, "interpolation", {"row": name, "metrics": figures, "config": config})
    text = tables.interpolation(tmp_path)
    assert [c[2] for c in (cells(text, "a")[0], cells(text, "b")[0])] == ["20 ¹", "100"]
    assert text.endswith("¹ the paper: 100 epochs.")


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
    assert line[2:4] == ["0.098 ± .002", "0.200 ¹"]
    assert line[-1] == "`python -m experiments.inr_frequency --preset long --methods sne`"
    assert text.splitlines()[-1] == (
        "¹ networks of our own, the paper: the zoo of DWSNets' authors; 10 training networks, the "
        "paper: 1,000; 1,000 parameters, the paper: 358,000; the paper does not state how long "
        f"methods are trained; {ZOOS_DIFFER}"
    )
    write(
        tmp_path, "generalization",
        *(predictor("scalegmn_b", x, 0.5, train_zoo=f"cifar10 {x}") for x in ("relu", "tanh")),
    )  # fmt: skip
    (line,) = cells(overview_tables.headline(tmp_path), "`generalization`")
    assert line[2:4] == ["0.935*", "0.500 ²"]  # of .928 and .943


def test_every_headline_has_a_published_record():
    for entry in overview_tables.HEADLINES:
        assert entry.cells(records.PUBLISHED, Footnotes()), entry


@pytest.mark.parametrize(
    "table",
    [f for f in (tables.TABLES | accuracy_tables.TABLES | benchmark_tables.TABLES).items()
     if f[0] != "zoos"],
    ids=lambda x: x[0],
)  # fmt: skip
def test_without_records_a_table_says_so(table, tmp_path):
    assert table[1](tmp_path) == "No runs yet."
