"""Consecutive shapes that fit: which kernel reads which, and which norm acts on which.

conv1 [8, 3, 3, 3]    3 -> 8
conv2 [4, 8, 3, 3]    8 -> 4
fc    [2, 36]         4 at 9 positions -> 2
"""

import dataclasses
import functools
import itertools
import math
import re
import types
from collections.abc import Iterator, Mapping, Sequence

from wsjax import checks
from wsjax.recognition import names
from wsjax.recognition.names import Leaf, Module, UnfitError


@dataclasses.dataclass(frozen=True)
class Link:
    """A kernel in a chain.

    Attributes:
        kernel: the stored array.
        reads: number of neurons it takes in; of a grouped one, of all groups.
        writes: number of neurons it feeds.
        window: of a convolution.
        groups: of a convolution.
        transposed: whether it is a transposed convolution.
        positions: of each neuron that it reads, flattened.
        spots: their shape, if the array is stored so.
    """

    kernel: Leaf
    reads: int
    writes: int
    window: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False
    positions: int = 1
    spots: tuple[int, ...] = ()

    @property
    def depthwise(self) -> bool:
        """Whether every channel is convolved alone."""
        return self.groups == self.reads == self.writes > 1

    @property
    def order(self) -> str:
        """Of the stored axes, as in `StoredDraft.kernel`."""
        if self.kernel.writes_first:
            return "rwt" if self.transposed else "wrt"
        return "twr" if self.transposed else "trw"


Chain = tuple[Link, ...]
HEAD = re.compile(r"(classifier|head|fc|top|out|linear|dense|final|last)", re.IGNORECASE)
TRANSPOSED = re.compile(r"transpose|deconv|conv_?t\b|convt\d", re.IGNORECASE)
KERAS_TRANSPOSED = re.compile(r"conv\dd_transpose")
READINGS = 64  # of one chain
DEPTH = 60  # kernels, of chains with grouped or transposed convolutions


def chain(
    kernels: Sequence[Leaf],
    allowed: Sequence[str],
    order: Sequence[str] = (),
    biases: Mapping[Module, int] = types.MappingProxyType({}),
) -> Chain:
    """The one order in which every kernel reads the output of the one before.

    Args:
        kernels: in the order of the file.
        allowed: of "grouped" and "transposed", what may explain shapes that do not fit.
        order: names of the kernels' modules, if known.
        biases: module -> neurons that its kernel writes, where it has a bias.

    Raises:
        UnfitError: there is no such order, or several.
    """
    modules = [k.module for k in kernels]
    spelled = {name: i for i, m in enumerate(modules) for name in ("/".join(m), ".".join(m))}
    if order and not set(order) <= set(spelled):
        strange = sorted(set(order) - set(spelled))
        raise UnfitError(
            f"order: expected names of {['.'.join(m) for m in modules]}, got {strange}"
        )
    few = names.arrangements(modules) <= names.TRIES
    tries = (
        [tuple(spelled[n] for n in order)]
        if order
        else list(itertools.islice(names.orders(modules), None if few else 1))
    )
    plain = lambda o: _plain([kernels[i] for i in o], biases)
    sure = bool(order) or not names.by_name([k.name for k in kernels])
    if sure and len(tries[0]) == len(kernels) and (first := plain(tries[0])):
        return first
    chains = [c for o in tries if len(o) == len(kernels) and (c := plain(o))]
    if few and len(chains) == 1:
        return chains[0]
    if chains or not few:
        raise UnfitError(
            "several orders of the layers fit: give config={'order': [...]} of "
            f"{checks.some('module', ['.'.join(m) for m in modules])}"
        )
    if len(kernels) > DEPTH:
        allowed = ()
    read = lambda o, words: _fits([kernels[i] for i in o], words, biases)
    # One or several is all that matters.
    every = lambda words: list(itertools.islice((c for o in tries[:24] for c in read(o, words)), 2))
    # A network with both kinds is less likely than one with one of them.
    strange = [c for word in allowed for c in every((word,))] or every(allowed)
    if len(strange) == 1:
        return strange[0]
    if strange:
        raise UnfitError(
            "grouped and transposed convolutions both fit: give config={'grouped': True} or "
            "config={'transposed': True}"
        )
    raise UnfitError(
        f"consecutive shapes do not fit: {_gap([kernels[i] for i in tries[0]], biases)}"
    )


def _plain(kernels, biases) -> Chain | None:
    """The chain of the kernels in this order, none of them grouped or transposed."""
    chain: list[Link] = []
    for kernel in kernels:
        came, convolved = (chain[-1].writes, bool(chain[-1].window)) if chain else (None, False)
        link = next(_links(kernel, came, convolved, (), biases), None)
        if link is None or not _alike(chain[-1:], link):
            return None
        chain.append(link)
    return tuple(chain)


def _alike(before: Sequence[Link], link: Link) -> bool:
    """Whether windows have as many dimensions."""
    return not before or not link.window or len(before[0].window) == len(link.window)


def _gap(kernels, biases) -> str:
    for n in range(2, len(kernels) + 1):
        if not _plain(kernels[:n], biases):
            one, two = kernels[n - 2 : n]
            return f"{one.name} {list(one.shape)}, {two.name} {list(two.shape)}"
    return "every two do, all do not"


def _fits(kernels, allowed, biases) -> Iterator[Chain]:
    """All readings of the kernels, in this order."""
    failed: set[tuple] = set()  # else equal kernels would be tried exponentially often

    def after(i: int, came: int | None, dims: int) -> Iterator[Chain]:
        """Of those from the i-th; neurons that come in, and dimensions of the window before."""
        if i == len(kernels):
            yield ()
        if i == len(kernels) or (i, came, dims) in failed:
            return
        found = False
        for link in _links(kernels[i], came, dims > 0, allowed, biases):
            if dims and link.window and len(link.window) != dims:
                continue
            for rest in after(i + 1, link.writes, len(link.window)):
                found = True
                yield (link, *rest)
        if not found:
            failed.add((i, came, dims))

    return after(0, None, 0)


def _links(leaf: Leaf, came, convolved, allowed, biases) -> Iterator[Link]:
    """The readings of one kernel after so many neurons, of a convolution or not."""
    width = biases.get(leaf.module)
    for link in _shaped(leaf, came, convolved, allowed):
        if width in (None, link.writes):
            yield link


def _shaped(leaf: Leaf, came, convolved, allowed) -> Iterator[Link]:
    s = leaf.shape
    out, own, window = (s[0], s[1], s[2:]) if leaf.writes_first else (s[-1], s[-2], s[:-2])
    if window and not leaf.writes_first and leaf.module and _is_dense(leaf.module[-1]):
        if convolved and own == came:  # Flax's, before it is flattened
            yield Link(leaf, own, out, positions=math.prod(window), spots=window)
        return
    if not window:
        if came in (None, own):
            yield Link(leaf, own, out)
        elif convolved and own % came == 0:
            yield Link(leaf, came, out, positions=own // came)
        return
    if len(window) > 3 or not (convolved or came is None):
        return
    if _transposed(leaf):
        if came in (None, out):
            yield Link(leaf, out, own, window, transposed=True)
        return
    if came in (None, own):
        yield Link(leaf, own, out, window)
    elif "grouped" in allowed and came % own == 0 and out % (came // own) == 0:
        yield Link(leaf, came, out, window, groups=came // own)
    elif "divided" in allowed and came % own == 0:
        yield Link(leaf, own, out, window)
    if "transposed" in allowed and came in (None, out) and own != out:
        yield Link(leaf, out, own, window, transposed=True)


def _transposed(leaf: Leaf) -> bool:
    """Whether a name says that a kernel's axes are swapped; Flax's are, or not, by a setting."""
    pattern = TRANSPOSED if leaf.writes_first else KERAS_TRANSPOSED
    return any(pattern.search(token) for token in leaf.module)


def swappable(links: Chain, biases: Mapping[Module, int], given: bool = False) -> list[int]:
    """The convolutions that may be transposed or not.

    Square ones, if others are transposed or their name says so; and those that read a part of the
    channels if they are not, as behind gates (GLU) or where channels become pixels.

    Args:
        links: the chain.
        biases: as of `chain`.
        given: whether it is known that shapes that do not fit are those of transposed ones.
    """
    words = ("transposed", "divided")
    known = given or len(links) > DEPTH or not any(x.transposed for x in links)
    readings = iter(()) if known else _fits([x.kernel for x in links], words, biases)
    first = list(itertools.islice(readings, READINGS))
    doubt = lambda i: len(first) == READINGS or not all(c[i].transposed for c in first)
    some = any(x.transposed for x in links)
    named = lambda x: any(TRANSPOSED.search(token) for token in x.kernel.module)
    square = lambda x: x.window and x.reads == x.writes and x.groups == 1
    return [
        i
        for i, x in enumerate(links)
        if not _transposed(x.kernel)
        and ((square(x) and (some or named(x))) or (x.transposed and doubt(i)))
    ]


def in_sequence(links: Chain) -> bool:
    """Whether names are numbers of a sequence, `net.0`, `layers.1.linear`, `Dense_0`, and a head.

    Then each layer reads the one before; else the input of one may be added to its output.
    """
    numbers: dict[Module, list[int]] = {}
    *body, end = [x.kernel.module for x in links]
    for module in body if len([t for t in end if t.isdigit()]) != 1 else (*body, end):
        digits = [k for k, token in enumerate(module) if token.isdigit()]
        if module and re.fullmatch(r"(Dense|Conv)_\d+", module[-1]) and not digits:
            numbers.setdefault((*module[:-1], "Flax"), [])
        elif len(digits) == 1:
            numbers.setdefault(module[: digits[0]], []).append(int(module[digits[0]]))
        else:
            return False
    heads = list(numbers)[1:]
    return all(list(n) == sorted(set(n)) for n in numbers.values()) and all(
        any(HEAD.match(token) for token in m) for m in heads
    )


def ties(links: Chain) -> tuple[dict[int, int], set[int]]:
    """Outputs as wide as others, to which they may be added or by which be multiplied.

    Returns:
        For such outputs the first that is as wide; and those as wide as the input or output, of
        all or of a part between `seams`.
    """
    same, ends, start = {}, set(), 0
    for stop in (*seams(links), len(links) - 1):
        first: dict[int, int] = {}
        for i in range(start, stop):
            width = links[i].writes
            if width in (links[start].reads, links[stop].writes):
                ends.add(i)
            elif not links[i].depthwise and first.setdefault(width, i) != i:
                same[i] = first[width]
        start = stop + 1
    return same, ends


def seams(links: Chain) -> list[int]:
    """The links whose outputs may go elsewhere too, by the names of their modules.

    Numbered parts of several kernels may be residual blocks, to whose output their input is added.
    Others may be networks of their own, generator and discriminator, unless the later is a head.
    """
    modules, out = [x.kernel.module for x in links], set()
    parts: dict[Module, list[int]] = {}
    for i, m in enumerate(modules):
        for k in range(len(m)):
            parts.setdefault(m[: k + 1], []).append(i)
    for prefix, members in parts.items():
        if names.stem(prefix[-1])[1] >= 0 and 1 < len(members) < len(modules):
            out |= {members[0] - 1, members[-1]}
    for i, (one, two) in enumerate(itertools.pairwise(modules)):
        depth = next((k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
        if depth is None or HEAD.match(two[depth]):
            continue
        if all(len(parts[x[: depth + 1]]) > 1 for x in (one, two)):
            out.add(i)
    return sorted(out & set(range(len(modules) - 1)))


def _is_dense(token: str) -> bool:
    return names.stem(token)[0] == "Dense"


@dataclasses.dataclass(frozen=True)
class Norm:
    """A layer of vectors alone, and the kernels after which it may stand.

    Attributes:
        module: its name.
        parts: its arrays by role.
        after: positions in the chain, -1 for the input; several if names and shapes leave it open.
        direct: whether it directly follows the kernel, before an activation; None if not known.
    """

    module: Module
    parts: dict[str, Leaf]
    after: tuple[int, ...]
    direct: bool | None

    @property
    def width(self) -> int:
        """The number of neurons that it acts on."""
        return max(x.shape[-1] for x in self.parts.values())


def norms(modules: dict[Module, dict[str, Leaf]], links: Chain, ordered: bool) -> tuple[Norm, ...]:
    """Pairs layers of vectors with the kernels that they follow, by names, order and widths.

    Args:
        modules: all of the network, in the order of the file.
        links: the chain of kernels.
        ordered: whether the order of the file is that of computation.

    Raises:
        UnfitError: no kernel writes as many neurons.
    """
    alone = {m: p for m, p in modules.items() if "kernel" not in p}
    places = {x.kernel.module: i for i, x in enumerate(links)}
    listed = [_by_order(m, modules, places) for m in alone]
    apart = ordered and len(set(listed)) == len(listed)  # not all of them behind all kernels
    ranked = len({(m[:-1], names.stem(m[-1])[0]) for m in alone if m}) == 1
    out, numbered = [], True
    for module, parts in alone.items():
        norm = Norm(module, parts, (), None)
        fits = functools.partial(_fits_at, links, norm.width)
        near, direct = _by_number(module, places)
        numbered &= near is not None
        if near is None and links[0].kernel.writes_first:
            near = _by_equal_number(module, places, fits)
        if near is None and apart:
            near = _by_order(module, modules, places)
        if near is None and ranked:
            near = _by_rank(module, alone, links)
        after = [near] if near is not None else list(range(-1, len(links)))
        if not (after := tuple(i for i in after if fits(i))):
            raise UnfitError(
                f"{'.'.join(module)}: acts on {norm.width} neurons, which no layer has"
            )
        out.append(dataclasses.replace(norm, after=after, direct=direct))
    before = lambda n: all(i >= 0 and _fits_at(links, n.width, i - 1) for i in n.after)
    if not (numbered or (ordered and _follow(modules, out, links))) and all(map(before, out)):
        # Norms before their kernels would fit as well.
        wide = lambda n: tuple(sorted({*n.after, *(i - 1 for i in n.after)}))
        out = [dataclasses.replace(n, after=wide(n)) for n in out]
    return tuple(out)


def _fits_at(links, width, i) -> bool:
    return width == (links[i].writes if i >= 0 else links[0].reads)


def _follow(modules, found, links) -> bool:
    """Whether every norm is listed after the kernel that it is paired with."""
    listed = list(modules)
    kernel = lambda n: listed.index(links[max(n.after[0], 0)].kernel.module)
    return all(len(n.after) == 1 and kernel(n) < listed.index(n.module) for n in found)


def _by_number(module, places) -> tuple[int | None, bool | None]:
    """Of a sequence of numbers, `features.0`, `features.1`: the kernel before."""
    if not module or not module[-1].isdigit():
        return None, None
    own = int(module[-1])
    before = [
        (int(m[-1]), i) for m, i in places.items() if m[:-1] == module[:-1] and m[-1].isdigit()
    ]
    earlier = [(n, i) for n, i in before if n < own]
    if earlier:
        number, i = max(earlier)
        return i, own == number + 1
    later = [i for _, i in before]
    return (min(later) - 1, None) if later else (None, None)


def _by_order(module, modules, places) -> int | None:
    listed = list(modules)
    earlier = [places[m] for m in listed[: listed.index(module)] if m in places]
    return max(earlier, default=-1)


def _by_equal_number(module, places, fits) -> int | None:
    """`conv2` of `bn2`, `net.3.linear` of `net.3.norm`."""
    number = names.stem(module[-1])[1] if module else -1
    beside = {m: i for m, i in places.items() if m and m[:-1] == module[:-1]}
    same = [i for m, i in beside.items() if names.stem(m[-1])[1] == number and fits(i)]
    sure = number >= 0 or len(beside) == 1
    return same[0] if sure and len(same) == 1 else None


def _by_rank(module, alone, links) -> int | None:
    """The k-th norm of a name follows the k-th convolution, or kernel, if there are as many."""
    ranked = sorted(alone, key=lambda m: checks.natural(".".join(m)))
    width = {m: max(x.shape[-1] for x in alone[m].values()) for m in ranked}
    convolutions = [i for i, x in enumerate(links) if x.window]
    for members in (convolutions, list(range(len(links) - 1)), list(range(len(links)))):
        if [links[i].writes for i in members] == [width[m] for m in ranked]:
            return members[ranked.index(module)]
    return None
