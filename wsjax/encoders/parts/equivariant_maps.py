"""All linear maps from one array to another that commute with permutations.

Zhou, Finn and Harrison (2024): a basis of them has one map for each way to partition the
axes of both arrays into blocks, where axes of one block have one name. Entries whose indices
agree within every block are joined. For A along ("h0", "h1") and B along ("h1", "h2"):

    {A.h0} {A.h1, B.h1} {B.h2}      B[j, k] = mean over i of A[i, j]
    {A.h0} {A.h1} {B.h1} {B.h2}     B[j, k] = mean over i, j of A[i, j]

Such a partition is a *reading* of A and a *writing* of B along the same names. A reading
takes diagonals along blocks of A and means over those that it does not keep; a writing
puts what was kept on blocks of B, and repeats it along the other blocks. Here two readings,
along ("h1",) and along (), with one writing each. What is read does not depend on B, so
each mean is taken once for all targets.

    A = B = ("h", "h")       along ("h", "h")    1 reading  x 2 writings
                             along ("h",)        3 readings x 3 writings
                             along ()            2 readings x 2 writings: 15 = Bell(4)

An axis nested within another is permuted within each of its neurons: indices along it can
agree only where those along the outer one do. So it is kept only beside its outer axis.

The maps are linearly independent if no axis has more blocks than neurons.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence

Blocks = tuple[tuple[int, ...], ...]
Names = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A reading, or a writing, of an array.

    Attributes:
        blocks: positions of axes, in blocks of one name; ordered by their first.
        kept: the numbers of blocks that what is read, or written, lies along; in the order
            of its axes.
    """

    blocks: Blocks
    kept: tuple[int, ...]


def partitions(axes: Sequence[str]) -> Iterator[Blocks]:
    """All partitions of the positions of axes into blocks of equal names.

    >>> [len(list(partitions(("h",) * n))) for n in range(5)]
    [1, 1, 2, 5, 15]
    """
    if not axes:
        yield ()
        return
    *before, last = axes
    here = (len(before),)
    for blocks in partitions(before):
        for i, block in enumerate(blocks):
            if axes[block[0]] == last:
                yield (*blocks[:i], block + here, *blocks[i + 1 :])
        yield (*blocks, here)


@functools.lru_cache(maxsize=1024)
def readings(axes: Names, nested: tuple[tuple[str, str], ...] = ()) -> dict[Names, list[Pattern]]:
    """All readings of an array, by the names that they keep, which are sorted.

    Args:
        axes: names of the array's hidden axes.
        nested: (inner, outer), as in `Spec`.

    >>> {names: len(x) for names, x in readings(("h", "h")).items()}
    {(): 2, ('h',): 3, ('h', 'h'): 1}
    """
    outer, out = dict(nested), {}
    for blocks in partitions(axes):
        name = [axes[block[0]] for block in blocks]
        for count in range(len(blocks) + 1):
            for kept in itertools.combinations(range(len(blocks)), count):
                names = [name[k] for k in kept]
                if all(outer.get(n, n) in names for n in names):
                    kept = tuple(sorted(kept, key=lambda k: (name[k], k)))
                    out.setdefault(tuple(sorted(names)), []).append(Pattern(blocks, kept))
    return dict(sorted(out.items(), key=lambda item: (len(item[0]), item[0])))


@functools.lru_cache(maxsize=1024)
def writings(axes: Names, nested: tuple[tuple[str, str], ...] = ()) -> dict[Names, list[Pattern]]:
    """All writings of an array, by the names that are written: readings, in all orders.

    >>> {names: len(x) for names, x in writings(("h", "h")).items()}
    {(): 2, ('h',): 3, ('h', 'h'): 2}
    """
    out = {}
    for names, patterns in readings(axes, nested).items():
        orders = [
            order
            for order in itertools.permutations(range(len(names)))
            if all(names[i] == name for i, name in zip(order, names, strict=True))
        ]
        pairs = itertools.product(patterns, orders)
        out[names] = [Pattern(p.blocks, tuple(p.kept[i] for i in order)) for p, order in pairs]
    return out


def count(source: Names, target: Names, nested: tuple[tuple[str, str], ...] = ()) -> int:
    """The number of maps in the basis.

    >>> count(("h0", "h1"), ("h1", "h2"))
    2
    >>> count(("h", "h"), ("h", "h"))
    15
    """
    into = writings(target, nested)
    return sum(len(p) * len(into.get(n, ())) for n, p in readings(source, nested).items())
