"""Verdicts on two networks, each with the number that decides it and its threshold.

    identical                      every stored array has the same bits
    same weights                   numbers differ by at most one epsilon of the coarser type
    same function up to symmetry   after alignment every array differs by rounding
    fine-tuned                     one comes from the other, or both from a third
    unrelated                      no more alike than networks of independent training
    undecided                      too few neurons to tell, or symmetries that are not known would
                                   make them alike
    not comparable                 no array of one is an array of the other

"Fine-tuned" is decided against chance, in one of two ways. Where the neurons kept their order:
the correlation of A and B against that of A and copies of B in random orders, `distances.permuted`,
which under independence is the same distribution; z of 6 or more. Where they did not: the
correlation after alignment, against copies of B whose arrays were permuted each for itself and
aligned in the same way. Independent networks of one task learn alike features, so that they lie
above these too: related ones must have come `EXCESS` of the way from the most by chance to one.
"""

from typing import NamedTuple

from wsjax.comparison.distances import Chance

VERDICTS = (  # best first
    *("identical", "same weights", "same function up to symmetry"),
    *("fine-tuned", "undecided", "unrelated", "not comparable"),
)
SAME, RELATED = VERDICTS[:3], VERDICTS[:4]
Z = 6.0  # standard deviations above chance
EXCESS = 0.4  # see above; set by hand on independent and on related networks of digits
CLOSE = 0.7  # the same share, where symmetries that are only guessed were matched
DEVIATION = 1e-7  # of correlations by chance, at least: below it they do not vary but by rounding
DIGITS = 4.0  # of the number of orders of the neurons, at least: as small as a probability can be
ULPS = 1.0  # of rounding to a type
ROUNDING = 16.0  # epsilons of an array, relative to its norm: factors are applied and undone


class Verdict(NamedTuple):
    """One of `VERDICTS`, and why.

    Attributes:
        name: the verdict.
        reason: the number that decides and its threshold, a sentence.
        number: that number.
        threshold: what it was compared with.
    """

    name: str
    reason: str
    number: float
    threshold: float


def of_chance(raw: Chance, matched: Chance | None) -> Verdict:
    """The verdict on networks that are not the same.

    Args:
        raw: of the networks as they are.
        matched: of the aligned ones; None if they were not aligned.
    """
    if raw.deviation < DEVIATION:
        return Verdict(
            "undecided",
            "no array varies over its neurons in both: their order makes no difference",
            raw.deviation,
            DEVIATION,
        )
    if raw.digits < DIGITS:
        return Verdict(
            "undecided",
            f"10^{raw.digits:.1f} orders of the neurons differ, equal ones being one, expected "
            f"10^{DIGITS:g}: too few neurons to tell",
            raw.digits,
            DIGITS,
        )
    if raw.z >= Z:
        return Verdict(
            "fine-tuned",
            f"their correlation is {raw.correlation:.3f}, z = {raw.z:.1f} above that with copies "
            f"in random orders ({raw.mean:.3f} ± {raw.deviation:.3f}); related from z = {Z:g}",
            raw.z,
            Z,
        )
    if matched is not None and matched.excess >= EXCESS:
        return Verdict(
            "fine-tuned",
            f"after matching their correlation is {matched.correlation:.3f}, "
            f"{100 * matched.excess:.0f} % of the way from the most by chance "
            f"({matched.most:.3f}) to one; related from {100 * EXCESS:.0f} %",
            matched.excess,
            EXCESS,
        )
    if raw.reach < 2 * Z:
        return Verdict(
            "undecided",
            f"even a copy would lie only z = {raw.reach:.1f} above chance, expected {2 * Z:g}: "
            "too few neurons to tell",
            raw.reach,
            2 * Z,
        )
    text = f"their correlation is {raw.correlation:.3f}, z = {raw.z:.1f}; related from z = {Z:g}"
    chance = f"of the way from the most by chance ({matched.most:.3f}) to one" if matched else ""
    if matched is None:
        return Verdict("unrelated", f"{text} (in this order of neurons)", raw.z, Z)
    return Verdict(
        "unrelated",
        f"{text}; after matching {matched.correlation:.3f}, {100 * matched.excess:.0f} % {chance}, "
        f"related from {100 * EXCESS:.0f} %",
        matched.excess,
        EXCESS,
    )
