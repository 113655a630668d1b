"""Hostile files of other programs: PyTorch files, images, archives."""

from experiments.faults import hostile_torch
from experiments.faults.attacks import Attack

ATTACKS: tuple[Attack, ...] = hostile_torch.ATTACKS
