"""The flag `--shard K/N`: one of several processes that make a zoo together."""

import argparse


def flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag."""
    parser.add_argument("--shard", default="0/1", help="K/N: process K, from 0, of N")


def parse(parser: argparse.ArgumentParser, text: str) -> tuple[int, int]:
    """The numbers of a shard; ends the command with an error where they are none."""
    shard, _, shards = text.partition("/")
    if not (shard.isdecimal() and shards.isdecimal() and int(shard) < int(shards)):
        parser.error(f"expected --shard K/N with K from 0 to N - 1, got {text!r}")
    return int(shard), int(shards)
