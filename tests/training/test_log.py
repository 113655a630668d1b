import pytest

from wsjax.training.log import JsonLines, read_lines


def test_lines_come_back(tmp_path):
    lines = JsonLines(tmp_path / "a" / "metrics.jsonl")
    assert lines.read() == []
    wrote = [{"step": s, "loss": 0.1 * s} for s in (10, 20, 30)]
    for line in wrote:
        lines.write(line)
    assert lines.read() == wrote
    assert JsonLines(lines.path).read() == wrote
    lines.truncate_after(20)
    assert lines.read() == wrote[:2]
    assert [p.name for p in lines.path.parent.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("half", ['{"step": 3', '{"step": 30}', "{"])
def test_a_half_written_last_line_is_dropped(tmp_path, half):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n' + half)  # killed before the newline
    lines = JsonLines(path)
    lines.write({"step": 3})
    assert lines.read() == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2: expected JSON"):
        read_lines(path)


def test_nan_is_not_json(tmp_path):
    lines = JsonLines(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        lines.write({"step": 1, "loss": float("nan")})
    assert lines.read() == []
