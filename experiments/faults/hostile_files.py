"""Hostile files of other programs: PyTorch files, pictures, archives of data sets."""

from experiments.faults import hostile_archives, hostile_images, hostile_torch

ATTACKS = (*hostile_torch.ATTACKS, *hostile_images.ATTACKS, *hostile_archives.ATTACKS)
