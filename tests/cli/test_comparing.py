import pathlib

import click
import pytest

from wsjax.cli.comparing import check_output


def test_a_folder_that_is_a_network_is_left_alone(tmp_path):
    source = tmp_path / "orbax"
    source.mkdir()
    with pytest.raises(click.UsageError, match="never overwritten"):
        check_output(source / "c.safetensors", True, str(source))
    check_output(tmp_path / "c.safetensors", False, str(source))


def test_a_hard_link_to_a_network_is_that_network(tmp_path):
    source, link = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    source.write_bytes(b"weights")
    pathlib.Path(link).hardlink_to(source)
    with pytest.raises(click.UsageError, match="never overwritten"):
        check_output(link, True, str(source))
