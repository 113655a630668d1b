"""Kills, concurrent writers, two copies, signals, disks."""

from experiments.faults.attacks import Attack

ATTACKS: tuple[Attack, ...] = ()
