"""The generated tables of the READMEs are those of the records."""

import pytest

from experiments import report
from experiments.lib import records

PAGE = "Words.\n\n<!-- table interpolation -->\n<!-- end -->\n\nMore words.\n"


def test_the_readmes_are_those_of_the_records():
    report.main(["--check"])


def test_every_table_stands_in_one_readme():
    texts = [p.read_text() for f in report.FILES if (p := records.ROOT / f).exists()]
    for name in report.TABLES:
        assert any(f"<!-- table {name} -->" in text for text in texts), name


def test_a_page_is_rendered_once_and_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    (tmp_path / "experiments").mkdir()
    page = tmp_path / "experiments" / "README.md"
    page.write_text(PAGE)
    with pytest.raises(SystemExit, match=r"^experiments/README\.md disagrees with the records"):
        report.main(["--check"])
    assert page.read_text() == PAGE
    report.main([])
    assert "experiments/README.md is rendered anew" in capsys.readouterr().out
    rendered = page.read_text()
    assert rendered.startswith("Words.\n\n<!-- table interpolation -->\n\n| images |")
    assert rendered.endswith("<!-- end -->\n\nMore words.\n")
    assert report.render(rendered) == rendered
    report.main(["--check"])


def test_a_changed_figure_fails_the_check(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    page, rendered = tmp_path / "README.md", report.render(PAGE)
    page.write_text(rendered.replace("0.031", "0.013"))
    assert page.read_text() != rendered
    with pytest.raises(SystemExit, match=r"^README\.md disagrees .* experiments\.report$"):
        report.main(["--check"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table nothing -->\n<!-- end -->", "expected a table of .*, got 'nothing'"),
        ("<!-- table audits -->\n", "'audits' is not closed"),
        ("<!-- table audits -->\n<!-- table audits -->\n<!-- end -->", "'audits' is not closed"),
    ],
)
def test_broken_markers(text, message):
    with pytest.raises(ValueError, match=message):
        report.render(text)
