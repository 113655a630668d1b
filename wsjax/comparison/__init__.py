"""Two networks: compared, aligned, averaged, whatever files, names and layouts they come in.

    compare     what they have in common, distances before and after matching, a verdict
    match       a copy of B in the order, signs and scales of A's neurons
    merge       the average of A and that copy; loss barriers if there is data

sides, pairs            networks, and which arrays of theirs mean the same
alignment, cost         the symmetries that bring B to A, and what finding them takes
distances, verdicts     numbers, what chance gives, and the decision
"""

from wsjax.comparison.comparing import Comparison, compare
from wsjax.comparison.cost import TooLargeError
from wsjax.comparison.merging import Aligned, DifferentError, Merged, match, merge, write

__all__ = [
    "Aligned",
    "Comparison",
    "DifferentError",
    "Merged",
    "TooLargeError",
    "compare",
    "match",
    "merge",
    "write",
]
