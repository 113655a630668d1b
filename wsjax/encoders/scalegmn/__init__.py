"""ScaleGMN: message passing with exact permutation, sign and scale symmetries."""

from wsjax.encoders.scalegmn.scalegmn import ScaleGMN

__all__ = ["ScaleGMN"]
