"""Files by place and length: exactly what was asked for, or an error."""

import numpy as np
import pytest

from wsjax.files import disk
from wsjax.files.checkpoint import FileFormatError, Limits


@pytest.fixture
def file(tmp_path):
    (tmp_path / "data").write_bytes(bytes(range(100)))
    with disk.BytesOf(tmp_path / "data") as file:
        yield file


def test_bytes_are_within_the_file(file):
    assert file.bytes(3, 4) == bytes([3, 4, 5, 6])
    assert file.bytes(100, 0) == b""
    for place, count in ((97, 4), (-1, 2), (101, 0), (0, -1), (0, 1 << 60)):
        with pytest.raises(FileFormatError, match="the file has 100 in all"):
            file.bytes(place, count)
    file.close()
    with pytest.raises(FileFormatError, match="the file is closed"):
        file.bytes(0, 1)


def test_an_array_has_memory_of_its_own(file):
    array = file.array(8, (2, 3), np.dtype(">u2"), Limits())
    assert array.dtype == np.uint16
    assert array[0].tolist() == [0x0809, 0x0A0B, 0x0C0D]
    assert array.flags.writeable
    assert file.array(0, (0, 5), np.dtype("f4"), Limits()).shape == (0, 5)
    with pytest.raises(FileFormatError, match="impossible shape"):
        file.array(0, (0, 1 << 62, 9), np.dtype("f8"), Limits())
    with pytest.raises(FileFormatError, match="other than 0 and 1"):
        file.array(0, (3,), np.dtype(bool), Limits())


def test_a_file_that_shrinks_meanwhile_is_an_error(file):
    with open(file.path, "r+b") as other:
        other.truncate(50)
    with pytest.raises(FileFormatError, match="cut short while it was read"):
        file.array(40, (20,), np.dtype("u1"), Limits())


def test_a_cursor_stays_within_its_bytes(file):
    cursor = disk.Cursor(file)
    assert (cursor.number("<H"), cursor.take(2)) == (0x0100, b"\2\3")
    inside = cursor.within(3)
    assert (inside.take(3), cursor.take(1)) == (b"\4\5\6", b"\7")
    with pytest.raises(FileFormatError, match="expected 1 bytes at 7, 0 are left"):
        inside.take(1)
    assert cursor.skip(90) == 8
    for count in (3, -1, 1 << 70):
        with pytest.raises(FileFormatError, match="2 are left"):
            cursor.skip(count)
