"""A Spec and its Packing in the making, from stored arrays."""

import dataclasses
import math

from wsjax.architectures.spec_builder import Axes, Draft
from wsjax.networks import Array, Spec
from wsjax.packing import Packing, Piece
from wsjax.recognition.names import Shapes, UnfitError

OTHER = "other"  # an activation that is not known: permutations commute with it, factors do not
ODD = ("tanh", "sin", "none")  # after which a maximum over windows leaves positive factors alone

Cut = tuple[tuple[int, int, int], ...]  # axis of the stored array, start, stop


@dataclasses.dataclass
class StoredDraft(Draft):
    """A `Draft` whose arrays are parts of stored ones.

    Attributes:
        stored: name -> shape.
        pieces: one for each array so far.
        notes: on what is claimed or not, a line each.
    """

    stored: Shapes = dataclasses.field(default_factory=dict)
    pieces: list[Piece] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def kernel(
        self,
        source: str,
        order: str,
        reads: Axes,
        writes: Axes,
        taps: Axes = (),
        *,
        both: Axes = (),
        part: str = "",
        cut: Cut = (),
        role: str = "kernel",
    ) -> Array:
        """An array of the Spec.

        Args:
            source: name of the stored array.
            order: of its axes: "wrt" is [*writes, *reads, *taps].
            reads: axes of the neurons it takes in.
            writes: of those it feeds.
            taps: all others.
            both: of neurons that it takes in and feeds, block by block; "b" in `order`.
            part: appended to the name, where several arrays are cut from one.
            cut: of the stored array, along each axis that is cut.
            role: one of `ROLES`.

        Raises:
            UnfitError: the stored array is absent or of another shape.
        """
        groups = {"r": reads, "w": writes, "t": taps, "b": both}
        axes = sum((groups[x] for x in order), ())
        where, start = {}, 0
        for x in order:
            where[x] = tuple(range(start, start + len(groups[x])))
            start += len(groups[x])
        name = f"{source}/{part}" if part else source
        self.pieces.append(self._piece(name, source, axes, cut))
        reading, writing = (where.get("b", ()) + where.get(x, ()) for x in "rw")
        return Array(name, role, axes, reading, writing)

    def vector(self, source: str, role: str, writes: Axes, taps: Axes = (), **fields) -> Array:
        """An array that reads nothing, stored [*taps, *writes]; `fields` are those of `kernel`."""
        return self.kernel(source, "tw", (), writes, taps, role=role, **fields)

    def _piece(self, name, source, axes, cut) -> Piece:
        if source not in self.stored:
            raise UnfitError(f"{source}: expected, absent")
        view, shape = self.stored[source], tuple(self.sizes[a] for a in axes)
        start, stop = [0] * len(view), list(view)
        if any(axis >= len(view) for axis, _, _ in cut):
            raise UnfitError(f"{source}: expected {len(cut)} axes that are cut, got {list(view)}")
        for axis, first, last in cut:
            start[axis], stop[axis] = first, last
        part = tuple(b - a for a, b in zip(start, stop, strict=True))
        origins = _origins(part, shape)
        if origins is None or any(b > n for b, n in zip(stop, view, strict=True)):
            raise UnfitError(f"{source}: expected {list(shape)} {axes}, got {list(view)}")
        return Piece(name, source, view, tuple(start), tuple(stop), shape, origins)

    def dims(self, name: str, count: int) -> tuple[int, ...]:
        """The shape of a stored array of so many axes.

        Raises:
            UnfitError: it is absent, or has others.
        """
        shape = self.stored.get(name)
        if shape is None or len(shape) != count:
            came = "absent" if shape is None else f"got {list(shape)}"
            raise UnfitError(f"{name}: expected an array of {count} axes, {came}")
        return shape

    def has(self, *names: str) -> bool:
        """Whether all of these are stored."""
        return all(name in self.stored for name in names)

    def used(self) -> set[str]:
        """Names of the stored arrays that have a part in the Spec so far."""
        return {p.source for p in self.pieces}

    def result(self) -> tuple[Spec, Packing]:
        """The Spec, and how the stored arrays make its arrays.

        Raises:
            UnfitError: a stored array has no part in it, or a number of one.
        """
        if left := [name for name in self.stored if name not in self.used()]:
            raise UnfitError(f"{', '.join(left[:5])}: no place in the network")
        try:
            return self.spec(), Packing(tuple(self.stored.items()), tuple(self.pieces))
        except ValueError as error:
            raise UnfitError(str(error)) from error


def _origins(stored: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """For each axis of a shape, the stored axis that it splits; None if they do not fit.

    >>> _origins((12, 4), (3, 4, 4)), _origins((1, 5, 4), (5, 4)), _origins((4, 3), (3, 4))
    ((0, 0, 1), (1, 2), None)
    """
    out: list[int] = []
    for axis, size in enumerate(stored):
        left, first = size, len(out)
        while len(out) < len(shape) and (left > 1 or len(out) == first):
            step = shape[len(out)]
            if left % step:
                break
            left //= step
            out.append(axis)
            if size == 1:
                break
        if left > 1:
            return None
    out += [len(stored) - 1] * (len(shape) - len(out)) if stored else []
    fits = len(out) == len(shape) and math.prod(stored) == math.prod(shape)
    return tuple(out) if fits else None
