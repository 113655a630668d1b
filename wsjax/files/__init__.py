"""Weights files of other people, read without running anything in them."""

from wsjax.files.detection import opened
from wsjax.files.loading import describe, load

__all__ = ["describe", "load", "opened"]
