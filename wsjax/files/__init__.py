"""Weights files of other people, read without running anything in them."""

from wsjax.files.checkpoint import Checkpoint, FileFormatError, Finding, Limits, Stored
from wsjax.files.detection import opened
from wsjax.files.loading import describe, load

__all__ = [
    "Checkpoint",
    "FileFormatError",
    "Finding",
    "Limits",
    "Stored",
    "describe",
    "load",
    "opened",
]
