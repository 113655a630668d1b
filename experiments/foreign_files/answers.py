"""The answer that a weights file gets, in one line, and whether it is the right one."""

import dataclasses
import pathlib

import numpy as np

from wsjax.files import ContentError, Facts, FileFormatError, describe, load


@dataclasses.dataclass(frozen=True)
class Answer:
    """One line on a file.

    Attributes:
        line: what a user reads.
        right: whether facts, arrays and structure are those that the file has.
    """

    line: str
    right: bool


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The outcome of `load`: arrays and facts, or why there are none.

    Attributes:
        params: name -> array; none if it was refused.
        facts: as `describe` gives them where nothing was loaded.
        refused: the error's text; "" if it was loaded.
    """

    params: dict[str, np.ndarray]
    facts: Facts
    refused: str = ""

    @property
    def errors(self) -> list[str]:
        """Kinds of the findings that are errors."""
        return [f.kind for f in self.facts.findings if f.severity == "error"]

    @property
    def kinds(self) -> set[str]:
        """Kinds of all findings."""
        return {f.kind for f in self.facts.findings}

    def holds(self, **arrays: np.ndarray) -> bool:
        """Whether these, and no others, are the arrays; dots of names are "__"."""
        expected = {n.replace("__", "."): a for n, a in arrays.items()}
        return same(self.params, expected)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two networks have the same names, types and numbers."""
    return list(one) == list(other) and all(
        one[n].dtype == other[n].dtype and np.array_equal(one[n], other[n]) for n in one
    )


def loaded(path: pathlib.Path, branch: str | None = None) -> Loaded:
    """Loads a file, and describes it; the facts must be the same."""
    facts = describe(path, branch)
    try:
        params, again = load(path, branch)
    except (ContentError, FileFormatError) as error:
        return Loaded({}, facts, str(error))
    if (again.parameters, again.findings) != (facts.parameters, facts.findings):
        raise AssertionError(f"load and describe disagree: {again} and {facts}")
    return Loaded(params, facts)


def written(folder: pathlib.Path, name: str, data: bytes) -> pathlib.Path:
    """A file of these bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers in float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
