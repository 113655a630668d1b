"""The parts of a scan's operands, as JAX's versions name them."""

from typing import Any


def scan_counts(params: dict[str, Any]) -> tuple[int, int]:
    """The numbers of constants and of carried values of a `scan`, from its parameters.

    Before JAX 0.12 these were parameters; there they are lengths of a flat tree.
    """
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(tuple(consts.vals)), len(tuple(carry.vals))
