"""Weights files of other people, read without running anything in them."""

from wsjax.files.checkpoint import Checkpoint, FileFormatError, Finding, Limits, Stored
from wsjax.files.detection import opened

__all__ = ["Checkpoint", "FileFormatError", "Finding", "Limits", "Stored", "opened"]
