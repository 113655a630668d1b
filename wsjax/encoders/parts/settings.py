"""Checks of the settings of encoders: all that are wrong, at once."""

from collections.abc import Iterable, Mapping

import flax.linen as nn

from wsjax import checks

READOUTS = ("code", "edit")  # of most encoders that edit


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
        sizes: attributes that are at least 1.
        rates: attributes from 0 to below 1.

    Raises:
        ValueError: some are wrong; each is named, with what was expected and what came.
    """
    rules, value = dict(rules or {}), lambda name: getattr(module, name)
    for name, allowed in (choices or {}).items():
        rules[name] = value(name) in allowed, f"one of {allowed}"
    if "readout" in (choices or {}):
        right = value("expansion") == 1 or (value("expansion") > 1 and value("readout") == "edit")
        rules["expansion"] = right, "at least 1, and 1 unless the read-out is 'edit'"
    rules |= {name: (value(name) >= 1, "at least 1") for name in sizes}
    rules |= {name: (0 <= value(name) < 1, "from 0 to below 1") for name in rates}
    checks.attributes("settings make no sense", module, rules)
