"""Names and shapes of stored arrays -> `Spec`, where there is no function to trace."""

from wsjax.recognition.recognition import Recognition, recognize

__all__ = ["Recognition", "recognize"]
