"""Checking the settings of encoders: all that are wrong, at once."""

from collections.abc import Mapping

import flax.linen as nn


def check(module: nn.Module, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Refuses settings that make no sense.

    Args:
        module: whose attributes they are.
        rules: attribute -> whether it is right, and what is expected of it.

    Raises:
        ValueError: some are wrong; each is named, with what was expected and what came.
    """
    wrong = [
        f"  {name}: expected {rule}, got {getattr(module, name)!r}"
        for name, (right, rule) in rules.items()
        if not right
    ]
    if wrong:
        raise ValueError("settings make no sense:\n" + "\n".join(wrong))


def expansion(module: nn.Module) -> dict[str, tuple[bool, str]]:
    """The rule of `expansion`, for encoders that edit with `readout="edit"`."""
    fine = module.expansion == 1 or (module.expansion > 1 and module.readout == "edit")
    return {"expansion": (fine, "at least 1, and 1 unless the read-out is 'edit'")}


def sizes(module: nn.Module, *names: str) -> dict[str, tuple[bool, str]]:
    """The rules of attributes that are at least 1."""
    return {name: (getattr(module, name) >= 1, "at least 1") for name in names}
