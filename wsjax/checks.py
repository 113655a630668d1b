"""Checks of what users give: every mistake is collected, and one error lists them all."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Rules = Mapping[str, tuple[bool, str]]  # attribute -> whether it is right, what is expected of it


def raise_all(headline: str, mistakes: Iterable[str]) -> None:
    """Raises one error that lists every mistake; returns where there is none.

    Raises:
        ValueError: there are mistakes, each on a line of its own below the headline.

    >>> raise_all("spec is inconsistent", [])
    >>> raise_all("spec is inconsistent", ["axis 'h0' has no size", "axis 'h1' has no size"])
    Traceback (most recent call last):
    ValueError: spec is inconsistent:
      axis 'h0' has no size
      axis 'h1' has no size
    """
    if mistakes := list(mistakes):
        raise ValueError("\n  ".join((f"{headline}:", *mistakes)))


def attributes(headline: str, thing: object, rules: Rules) -> None:
    """Checks attributes against their rules.

    Raises:
        ValueError: some are wrong; each is named, with what was expected and what came.
    """
    raise_all(
        headline,
        (
            f"{name}: expected {rule}, got {getattr(thing, name)!r}"
            for name, (right, rule) in rules.items()
            if not right
        ),
    )


def some(noun: str, numbers: Sequence | np.ndarray) -> str:
    """The first of many by their numbers, and how many there are.

    >>> some("network", [4]), some("network", [0, 4]), some("network", range(1000))
    ('network 4', 'networks 0, 4', '1000 networks: 0, 1, 2, 3, 4, ...')
    """
    listed = ", ".join(str(n) for n in numbers[:5])
    if len(numbers) > 5:
        return f"{len(numbers)} {noun}s: {listed}, ..."
    return f"{noun}{'s' * (len(numbers) > 1)} {listed}"
