"""Checking the settings of encoders: all that are wrong, at once."""

import flax.linen as nn

from wsjax import checks


def check(module: nn.Module, rules: checks.Rules) -> None:
    """Raises `ValueError` naming every setting of a module that is wrong."""
    checks.attributes("settings make no sense", module, rules)


def expansion(module: nn.Module) -> dict[str, tuple[bool, str]]:
    """The rule of `expansion`, for encoders that edit with `readout="edit"`."""
    fine = module.expansion == 1 or (module.expansion > 1 and module.readout == "edit")
    return {"expansion": (fine, "at least 1, and 1 unless the read-out is 'edit'")}


def sizes(module: nn.Module, *names: str) -> dict[str, tuple[bool, str]]:
    """The rules of attributes that are at least 1."""
    return {name: (getattr(module, name) >= 1, "at least 1") for name in names}
