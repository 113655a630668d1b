"""A network in a weights file: its arrays by a Spec, and how its structure was found."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax.files import Facts, load
from wsjax.networks import Spec
from wsjax.recognition.recognition import Recognition, recognize


@dataclasses.dataclass(frozen=True, eq=False)
class StoredNetwork:
    """A network that was read from a weights file.

    Attributes:
        path: of the file.
        stored: its arrays by the names they have there, the wrappers' prefixes taken off.
        facts: of the file.
        recognition: of its structure.
        params: the arrays of `spec`, float32.
    """

    path: str
    stored: Mapping[str, np.ndarray]
    facts: Facts
    recognition: Recognition
    params: Mapping[str, np.ndarray]

    @property
    def spec(self) -> Spec:
        """Meaning of the arrays."""
        return self.recognition.spec


def read(
    path: str | os.PathLike,
    branch: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> StoredNetwork:
    """Reads a network of any format, and finds its structure in names and shapes.

    Args:
        path: of a weights file or folder.
        branch: as `files.load` takes it.
        config: as `recognize` takes it, such as {"activation": "relu"}.

    Raises:
        FileNotFoundError, FileFormatError, ContentError: as `files.load`.
        ValueError, TypeError: as `recognize`.
    """
    stored, facts = load(path, branch)
    recognition = recognize(stored, config)
    packed = recognition.pack(stored)
    params = {name: np.asarray(a, np.float32) for name, a in packed.items()}
    return StoredNetwork(str(path), stored, facts, recognition, params)
