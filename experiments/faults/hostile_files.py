"""Hostile files of other programs: PyTorch files, images, archives."""

from experiments.faults.attacks import Attack

ATTACKS: tuple[Attack, ...] = ()
