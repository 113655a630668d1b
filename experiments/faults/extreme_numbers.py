"""Networks, labels and inputs at the ends of the range of float32."""

from experiments.faults.attacks import Attack

ATTACKS: tuple[Attack, ...] = ()
