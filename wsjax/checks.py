"""Checks of what users give: every mistake is collected, and one error lists them all."""

from collections.abc import Iterable, Mapping

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


def printable(name: object) -> str:
    r"""A name from a disk or a file as text for a terminal: what does not print is escaped.

    >>> printable("cat\x1b[31m.png")
    'cat\\x1b[31m.png'
    """
    escaped = lambda c: c.encode("unicode_escape").decode()
    return "".join(c if c.isprintable() else escaped(c) for c in str(name))
