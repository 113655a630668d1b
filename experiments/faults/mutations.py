"""Seeded mutations of every format that the library writes."""

from experiments.faults.attacks import Attack

ATTACKS: tuple[Attack, ...] = ()
