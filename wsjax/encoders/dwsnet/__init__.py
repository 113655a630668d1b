"""DWSNet: deep weight-space layers."""

from wsjax.encoders.dwsnet.dwsnet import DWSNet

__all__ = ["DWSNet"]
