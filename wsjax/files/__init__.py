"""Weights files of other people, read without running anything in them.

load        name -> array, and the facts; raises where numbers are missing or wrong
describe    the facts alone, of any file
opened      a file's listing: paths, shapes, types; arrays are read one by one
effective   a base network with a low-rank adapter's change
"""

from wsjax.files.adapters import effective
from wsjax.files.checkpoint import Checkpoint, FileFormatError, Finding, Limits, Stored
from wsjax.files.detection import opened
from wsjax.files.facts import ContentError, Facts
from wsjax.files.loading import describe, load

__all__ = [
    "Checkpoint",
    "ContentError",
    "Facts",
    "FileFormatError",
    "Finding",
    "Limits",
    "Stored",
    "describe",
    "effective",
    "load",
    "opened",
]
