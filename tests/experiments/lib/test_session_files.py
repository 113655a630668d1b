import numpy as np
import pytest

from experiments.lib import session_files
from wsjax.comparison import compare, merge


@pytest.mark.trains
def test_the_files_give_the_verdicts_of_the_sessions(tmp_path):
    session_files.make(tmp_path, steps=6, widths=(6, 12))
    paths = {n: tmp_path / f"{n}.msgpack" for n in ("cnn-0", "cnn-1", "cnn-0-tuned")}
    tuned = compare(paths["cnn-0"], paths["cnn-0-tuned"], config=session_files.SETTINGS)
    assert tuned.verdict.name == "fine-tuned"
    other = compare(paths["cnn-0"], paths["cnn-1"], config=session_files.SETTINGS)
    assert other.verdict.name in ("unrelated", "undecided")
    with np.load(tmp_path / "digits-test.npz") as data:
        found = merge(
            paths["cnn-0"],
            paths["cnn-1"],
            config=session_files.SETTINGS,
            data=(data["x"][:40], data["y"][:40]),
        )
    assert np.isfinite([found.barrier, found.matched_barrier, *found.losses]).all()
