"""Upper estimates of the memory and time that alignment takes, from a Spec alone.

An assignment of n neurons is cubic in n; the similarities before it read every array once for
each of n neurons. All is in float64.
"""

import math
from typing import NamedTuple

from wsjax.networks import Spec

COPIES = 12  # of both networks' arrays in float64, at most at once
STEPS = 24  # of each hidden axis: two starts, some sweeps, rounds with factors
PRODUCTS = 1e10  # multiplications a second, of matrices of float64
ASSIGNMENT = 6e-10  # seconds for n = 1, times n cubed
CALLS = 2e-4  # seconds of one step at least


class TooLargeError(ValueError):
    """Matching would take more memory or time than was allowed.

    Attributes:
        code: the exit code of the command line, that of a refusal.
    """

    code = 3


class Cost(NamedTuple):
    """Memory and time of one alignment.

    Attributes:
        gigabytes: of memory, beside the networks as stored.
        minutes: on one core.
    """

    gigabytes: float
    minutes: float

    def __str__(self) -> str:
        minutes = "under a minute" if self.minutes < 1 else f"about {self.minutes:,.0f} minutes"
        return f"{self.gigabytes:.2g} GB of memory, {minutes}"


def cost(spec: Spec, alignments: int = 1) -> Cost:
    """The cost of aligning two networks of a spec.

    Args:
        spec: of both.
        alignments: how many follow each other.

    >>> from wsjax import architectures
    >>> cost(architectures.mlp([4096, 4096, 4096, 10])).minutes > 1
    True
    """
    sizes, outer = dict(spec.sizes), dict(spec.nested)
    seconds, widest = 0.0, 1
    for h in spec.hidden:
        n = sizes[h]
        entries = sum(math.prod(spec.shape(a)) for a in spec.arrays if h in a.axes)
        # nested axes are matched for each pair of neurons of the outer one
        pairs = sizes[outer[h]] ** 2 if h in outer else 1
        part = entries / sizes[outer[h]] if h in outer else entries
        step = n * part / PRODUCTS + ASSIGNMENT * n**3 + CALLS
        seconds += STEPS * pairs * step
        widest = max(widest, n)
    numbers = COPIES * spec.count + 3 * widest**2
    return Cost(8e-9 * numbers, alignments * seconds / 60)


def allow(spec: Spec, alignments: int, gigabytes: float, minutes: float) -> Cost:
    """The cost, if it is within limits.

    Raises:
        TooLargeError: it is not; says which limit to raise.
    """
    found = cost(spec, alignments)
    if found.gigabytes > gigabytes or found.minutes > minutes:
        raise TooLargeError(
            f"matching {spec.count:,} parameters would take {found}, expected at most "
            f"{gigabytes:g} GB and {minutes:g} minutes; raise the limits (--limit-gb, "
            "--limit-minutes), or compare without matching (--no-match)"
        )
    return found
