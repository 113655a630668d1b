"""CSVs of labels, as spreadsheets and programs write them, and their mistakes."""

import numpy as np
import pytest

from wsjax.zoos import label_files
from wsjax.zoos.label_files import read


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return read(path)


def refusal(tmp_path, text, encoding="utf-8"):
    with pytest.raises(ValueError, match=r"labels\.csv") as error:
        table(tmp_path, text, encoding)
    return str(error.value).removeprefix(f"{tmp_path / 'labels.csv'}: ")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("file,accuracy\na.pt,0.5\nb.pt,0.25\n", "utf-8"),
        ("file,accuracy\r\na.pt,0.5\r\nb.pt,0.25\r\n", "utf-8-sig"),
        ('"file","accuracy"\r\n"a.pt","0.5"\r\n\r\n"b.pt","0.25"', "utf-8"),
        ("file;accuracy\na.pt;0,5\nb.pt;2,5e-1\n", "utf-8"),
        ("accuracy;file\n0.5;a.pt\n.25;b.pt\n", "utf-8"),
        ("file\taccuracy\na.pt\t0.5\nb.pt\t0.25\n", "utf-16"),
        (",file,accuracy\n0,a.pt,0.5\n1,b.pt,0.25\n", "utf-8"),
        ("name of it,accuracy\n a.pt , 0.5\n b.pt , 0.25 \n", "utf-8"),
    ],
    ids=["plain", "mark", "quotes", "decimal commas", "order", "utf-16", "index", "first column"],
)
def test_spellings_of_one_table(tmp_path, text, encoding):
    read = table(tmp_path, text, encoding)
    assert read.files == ("a.pt", "b.pt")
    assert {k: x.tolist() for k, x in read.labels().items()} == {"accuracy": [0.5, 0.25]}
    assert read.target("accuracy").tolist() == [0.5, 0.25]


def test_a_quoted_name_may_hold_anything(tmp_path):
    read = table(tmp_path, 'file,accuracy\n"a, ""b""\nc.pt",1\nd.pt,0\n')
    assert read.files == ('a, "b"\nc.pt', "d.pt")
    assert read.lines == (3, 4)


def test_columns_of_texts_are_labels_of_few_values(tmp_path):
    rows = [f"{i}.pt,{('adam', 'sgd', 'NaN')[i % 3]},note {i},{i % 2 == 0},,7" for i in range(9)]
    text = "\n".join(["file,optimizer,note,augment,empty,run", *rows])
    labels = table(tmp_path, text).labels()
    assert list(labels) == ["optimizer_adam", "optimizer_sgd", "augment"]
    np.testing.assert_array_equal(labels["optimizer_sgd"][:3], [0, 1, np.nan])
    assert labels["augment"][:3].tolist() == [1, 0, 1]


def test_a_missing_value_is_nan_where_it_is_no_target(tmp_path):
    read = table(tmp_path, "file,accuracy,rate\na,1,\nb,2,n/a\nc,3,0.5\n")
    np.testing.assert_array_equal(read.labels()["rate"], [np.nan, np.nan, 0.5])


def test_the_target_is_a_number_in_each_row(tmp_path):
    bad = ["", "nan", "inf", "93 %", "1_0", "0,5"]
    rows = "".join(f'n{i}.pt,"{x}"\n' for i, x in enumerate(bad))
    read = table(tmp_path, f"file,accuracy\nx.pt,1\n{rows}")
    with pytest.raises(ValueError, match="expected a finite number as 'accuracy'") as error:
        read.target("accuracy")
    lines = str(error.value).splitlines()
    assert "got 6 others" in lines[0]
    assert lines[1:3] == ["  line 3, n0.pt: empty", "  line 4, n1.pt: 'nan'"]
    assert lines[-1] == "  ... and 1 more"


def test_the_target_is_a_column_that_differs(tmp_path):
    read = table(tmp_path, "file,accuracy,same,who,run\na,1,2,x,0\nb,2,2,y,0\n")
    with pytest.raises(
        ValueError, match=r"column 'loss' as the target, it has 'accuracy', 'same'$"
    ):
        read.target("loss")
    with pytest.raises(ValueError, match="'same' is 2 in each of 2 rows: expected a target that"):
        read.target("same")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a heading and a row for each network, it has no rows"),
        ("file,accuracy\n", "expected a heading and a row for each network, it has no rows"),
        ("file\na.pt\n", "expected a column of files and one of labels, got 'file'"),
        ("file,run\na.pt,1\n", "expected a column of files and one of labels, got 'file', 'run'"),
        ("file,x,x\na.pt,1,2\n", "expected different headings, got 'x' several times"),
        ("file,x\na.pt\nb.pt,1\n", "expected 2 columns in each row, as in the heading; line 2 has"),
        ("file,x\n,1\n", "no file is named in line 2"),
        ('file,x\n"a"b,1\n', "line 2 is no CSV: ',' expected after '\"'"),
        ("file,x\na\0,1\n", "expected a CSV, it is a binary file"),
    ],
)
def test_what_is_no_table(tmp_path, text, words):
    assert refusal(tmp_path, text).startswith(words)


def test_what_is_no_text(tmp_path):
    assert refusal(tmp_path, "file,x\nä,1\n", "latin-1") == (
        'expected a CSV in UTF-8, byte 7 is not; save it as "CSV UTF-8"'
    )
    with pytest.raises(ValueError, match="expected a CSV of labels, it is a folder"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.csv")


def test_a_huge_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(label_files, "ROWS", 2)
    assert refusal(tmp_path, "f,x\na,1\nb,2\nc,3\n") == (
        "expected labels of at most 2 rows, it has more"
    )
    monkeypatch.setattr(label_files, "BYTES", 1 << 20)
    assert refusal(tmp_path, "x" * (1 << 20) + "xx") == (
        "expected labels of at most 1 MiB, it is larger"
    )


NAMES = ("a.pt", "b/net.safetensors", "c/net.pt", "c/other.weights.h5", "d/100")


@pytest.mark.parametrize(
    ("file", "place"),
    [
        *(("a.pt", 0), ("a", 0), ("./a.pt", 0), ("b", 1), ("b/", 1), ("b\\net.safetensors", 1)),
        *(("net.safetensors", 1), ("c/net", 2), ("net.pt", 2), ("other", 3), ("d/100", 4)),
        *(("100", 4), ("d", 4)),
    ],
)
def test_a_row_names_a_network(tmp_path, file, place):
    assert table(tmp_path, f"file,x\n{file},1\n").places(NAMES).tolist() == [place]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("net", "got 1 name of several:\n  line 2, net: 'b/net.safetensors', 'c/net.pt'"),
        ("c", "got 1 name of several:\n  line 2, c: 'c/net.pt', 'c/other.weights.h5'"),
        (
            "a.pt\nz.pt\ny",
            "labels without files: 2 rows of 3 name no weights file of the folder "
            "(line 3, z.pt, line 4, y); expected paths relative to it, such as 'a.pt'",
        ),
        (
            "a.pt\nb\na",
            "duplicate names: 1 network in several rows (line 2, a.pt and line 4, a); "
            "expected one row for each",
        ),
    ],
)
def test_names_that_are_no_networks(tmp_path, rows, words):
    text = "".join(f"{row},1\n" for row in ("file", *rows.split("\n")))
    with pytest.raises(ValueError, match=r"labels\.csv: ") as error:
        table(tmp_path, text).places(NAMES)
    assert str(error.value).endswith(words)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [("1e39", "1e40", "got 2 others"), ("0.5", "0.5000000001", "is 0.5 in each of 2 rows")],
)
def test_a_target_is_finite_and_differs_in_float32(tmp_path, one, other, message):
    labels = table(tmp_path, f"file,loss\na,{one}\nb,{other}\n")
    with pytest.raises(ValueError, match=message):
        labels.target("loss")


def test_a_text_does_not_replace_another_column(tmp_path):
    labels = table(tmp_path, "file,opt,opt_adam\na,adam,3\nb,sgd,4\n")
    with pytest.raises(ValueError, match="column 'opt' are labels of the names 'opt_adam'"):
        labels.labels()
