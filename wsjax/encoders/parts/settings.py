"""Checks of the settings of encoders: all that are wrong, at once."""

from collections.abc import Iterable, Mapping

import flax.linen as nn

from wsjax import checks

WRONG = "settings make no sense"
READOUTS = ("code", "edit")  # of most encoders that edit


def divides(divisor: int, number: int) -> bool:
    """Whether both are above 0, and the second is a multiple of the first."""
    return divisor > 0 and number > 0 and number % divisor == 0


def check(
    module: nn.Module,
    rules: Mapping[str, tuple[bool, str]] | None = None,
    *,
    choices: Mapping[str, tuple[str, ...]] | None = None,
    sizes: Iterable[str] = (),
    rates: Iterable[str] = (),
) -> None:
    """Checks the settings of a module.

    Args:
        module: whose attributes they are.
        rules: attribute -> whether it is right, and what is expected of it.
        choices: attribute -> the values it may have. With a "readout" among them, `expansion`
            is checked too.
        sizes: attributes that are at least 1, or sequences of such numbers.
        rates: attributes from 0 to below 1.

    Raises:
        ValueError: some are wrong; each is named, with what was expected and what came.
    """
    value = lambda name: getattr(module, name)
    smallest = lambda x: min(x, default=1) if isinstance(x, tuple) else x
    each = {name: (value(name) in x, f"one of {x}") for name, x in (choices or {}).items()}
    if "readout" in each:
        right = value("expansion") == 1 or (value("expansion") > 1 and value("readout") == "edit")
        each["expansion"] = right, "at least 1, and 1 unless the read-out is 'edit'"
    each |= rules or {}
    each |= {name: (0 <= value(name) < 1, "from 0 to below 1") for name in rates}
    each |= {name: (smallest(value(name)) >= 1, "at least 1") for name in sizes}
    checks.attributes(WRONG, module, each)
