"""The types that every reader of weights files gives."""

import numpy as np
import pytest

from wsjax.files import checkpoint
from wsjax.files.checkpoint import NUMBERS, FileFormatError, Limits, Stored


def test_an_array_has_a_name_and_a_size_before_it_is_read():
    array = Stored(("model", "0.weight"), (3, 0, 2), "float32", 0, 0, lambda: 1 / 0)
    assert (array.name, array.size) == ("model/0.weight", 0)
    assert Stored(("s",), (), "float32", 0, 4, lambda: 1 / 0).size == 1


def test_every_type_of_numbers_is_known_by_its_own_name():
    for name, dtype in NUMBERS.items():
        assert dtype.name == name
        assert np.zeros(1, dtype).astype("f8" if dtype.kind != "c" else "c16") in (0, 2**-127)


def test_a_refusal_names_the_limit_that_allows_more():
    error = checkpoint.too_large("it has 9 members", "members", Limits(members=5))
    assert isinstance(error, FileFormatError)
    assert str(error).endswith("expected at most 5; limits=Limits(members=...) allows more")


def test_types_that_are_no_numbers_are_errors_on_reading_alone():
    read = lambda: np.ones(2)
    assert checkpoint.reader("float32", read, "") is read
    refuse = checkpoint.named("net.gguf: array 'w'", checkpoint.reader("Q4_K", read, "convert it"))
    with pytest.raises(
        FileFormatError, match=r"^net\.gguf: array 'w': its type Q4_K .* convert it$"
    ):
        refuse()


def test_what_a_small_file_may_become_is_bounded():
    limits = Limits().of(1000)
    assert (limits.unpacked_bytes, limits.total_bytes) == (256 << 20, 64 << 20)
    limits = Limits().of(1 << 30)
    assert (limits.unpacked_bytes, limits.total_bytes) == (20 << 30, 4 << 30)
    limits = Limits(unpacked_bytes=1, total_bytes=2, members=3).of(9)
    assert (limits.unpacked_bytes, limits.total_bytes, limits.members) == (1, 2, 3)
