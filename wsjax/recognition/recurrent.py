"""Recurrent networks by PyTorch's names: LSTM, GRU and RNN, with an embedding and a head.

    rnn.weight_ih_l0 [4 h, d]    gates i, f, g, o, each [h, d]
    rnn.weight_hh_l0 [4 h, h]    likewise, each [h, h]: reads and writes the same neurons

Gates are parts of one stored array, whose neurons are the same.
"""

import re
from collections.abc import Mapping
from typing import Any

from wsjax.architectures.spec_builder import Axes
from wsjax.networks import Array
from wsjax.recognition import chains, links, names
from wsjax.recognition.drafting import OTHER, StoredDraft
from wsjax.recognition.names import Shapes, UnfitError
from wsjax.settings import SPELLINGS

CELL = re.compile(r"(?P<module>(?:.*\.)?)weight_hh(?:_l(?P<depth>\d+))?(?P<back>_reverse)?")
GATES = {4: ("i", "f", "g", "o"), 3: ("r", "z", "n"), 1: ("",)}
FAMILY = {4: "PyTorch LSTM", 3: "PyTorch GRU", 1: "PyTorch RNN"}


def recurrent(
    weights: Shapes, config: Mapping[str, Any]
) -> tuple[StoredDraft, str, bool, bool] | None:
    """Recognises a recurrent network; None if no array has a cell's name.

    Dense layers after it are taken for a head that reads the last layer, and a table of
    embeddings for its input.

    Args:
        weights: shapes by name.
        config: "activation" between the layers of a head; "chain" that each reads the one before.

    Returns:
        As `chains.chained`.

    Raises:
        UnfitError: there are several, other arrays beside it, or nothing that reads it.
    """
    cells = {m.group(): m for n in weights if (m := CELL.fullmatch(n))}
    if not cells:
        return None
    modules = {m["module"] for m in cells.values()}
    if len(modules) > 1:
        raise UnfitError(f"several recurrent networks: {sorted(modules)}")
    out, module = StoredDraft(stored=weights), modules.pop()
    rows, width = out.dims(next(iter(cells)), 2)
    gates = rows // width
    if gates not in GATES:
        raise UnfitError(f"{next(iter(cells))}: {gates} gates, expected 4, 3 or 1")
    ends = sorted({(int(m["depth"] or 0), m["back"] or "") for m in cells.values()})
    numbered = next(iter(cells.values()))["depth"] is not None
    came = (_input(out, f"{module}weight_ih{'_l0' if numbered else ''}"),)
    for depth in sorted({d for d, _ in ends}):
        cells = [(f"_l{depth}" * numbered + back, back) for d, back in ends if d == depth]
        came = _layer(out, module, cells, GATES[gates], came, width, f"h{depth}")
    if len(came) > 1:
        out.notes.append("what reads both directions is taken to read the forward one first")
    last, known = came, _head(out, module, came, config)
    tables, ends = ([a for a in out.layers[i].arrays if a.role == "kernel"] for i in (0, -1))
    if out.layers[0].kind == "embedding" and _shape(out, tables[0]) == _shape(out, ends[0]):
        out.notes.append("the output may be the table of embeddings, so what they read is fixed")
        out.hidden = [h for h in out.hidden if h != "e" and (h,) not in last]
    return out, FAMILY[gates], known, False


def _input(out: StoredDraft, source: str) -> Axes:
    """The axis of the inputs, behind a table of embeddings if there is one."""
    size = out.dims(source, 2)[1]
    tables = [n for n, s in out.stored.items() if re.search("emb", n) and len(s) == 2]
    if not tables:
        return out.fixed("x", size)
    if len(tables) > 1 or out.stored[tables[0]][1] != size:
        raise UnfitError(f"{tables}: expected one table of embeddings of width {size}")
    x, e = out.fixed("x", out.stored[tables[0]][0]), out.neurons("e", size)
    out.layer("embedding", [out.kernel(tables[0], "rw", x, e)], name=tables[0])
    return e


def _layer(out, module, cells, gates, came: tuple[Axes, ...], width, name) -> tuple[Axes, ...]:
    """One layer, in one or both directions; it reads all directions of the layer before.

    The states that come back from the step before are a level of their own, of the same neurons.
    """
    states = tuple(out.neurons(name + back, width) for _, back in cells)
    for part, sources in (("ih", came), ("hh", None)):
        for i, ((suffix, _), h) in enumerate(zip(cells, states, strict=True)):
            arrays = []
            for number, gate in enumerate(gates):
                rows, start = (0, number * width, (number + 1) * width), 0
                for axes in sources or (h,):
                    columns = (1, start, start + out.sizes[axes[0]])
                    start, several = columns[2], len(sources or (h,)) > 1
                    label = "/".join(x for x in (gate, axes[0] if several else "") if x)
                    cut = (rows, columns) if several else (rows,)
                    source = f"{module}weight_{part}{suffix}"
                    arrays.append(_part(out, source, label, axes, h, cut))
                if out.has(source := f"{module}bias_{part}{suffix}"):
                    arrays.append(out.vector(source, "bias", h, part=gate, cut=(rows,)))
            layer = f"{module}{part}{suffix}"
            out.layer("dense", arrays, name=layer, activation=OTHER, beside=i > 0)
    return states


def _shape(out: StoredDraft, array: Array) -> tuple[int, ...]:
    return tuple(out.sizes[a] for a in array.axes)


def _part(out, source, part, reads, writes, cut) -> Array:
    return out.kernel(source, "wr", reads, writes, part=part, cut=cut)


def _head(out: StoredDraft, module: str, came: tuple[Axes, ...], config) -> bool:
    """The dense layers that read the last layer; whether their activations are known."""
    rest = {n: s for n, s in out.stored.items() if n not in out.used()}
    modules = names.by_module(names.leaves(rest))
    if not modules:
        raise UnfitError("a recurrent network without a layer that reads it: it may be the output")
    if strange := [m for m, parts in modules.items() if set(parts) - {"kernel", "bias"}]:
        raise UnfitError(f"{'.'.join(strange[0])}: no dense layer behind a recurrent network")
    around = module.rstrip(".").rpartition(".")[0] + "."
    own = lambda n: n.removeprefix(around)
    simple = bool(config.get("chain"))
    if not simple and (found := [n for n in rest if chains.BRANCHES.search(own(n))]):
        raise UnfitError(
            f"{found[0]}: by its name no layer of a head that reads the recurrent network alone"
        )
    chain = links.chain([p["kernel"] for p in modules.values() if "kernel" in p], ())
    given = config.get("activation")
    known = len(chain) == 1 or (simple and given in SPELLINGS)
    states = [out.sizes[axes[0]] for axes in came]
    widths = [*{sum(states), *states}, *(x.writes for x in chain)]
    tied = {w for w in widths if widths.count(w) > 1} - ({*widths} if simple else set())
    if tied:
        out.notes.append(
            "layers of the head that are as wide as others may be added to those, so they are "
            "fixed; config={'chain': True} says that they are not"
        )
    if tied & {sum(states), *states}:
        out.hidden = [h for h in out.hidden if (h,) not in came]
    for i, link in enumerate(chain):
        last = i == len(chain) - 1
        free = not last and link.writes not in tied
        writes = (out.neurons if free else out.fixed)("y" if last else f"d{i}", link.writes)
        arrays, start = [], 0
        for axes in came:
            columns = (1, start, start + out.sizes[axes[0]])
            start = columns[2]
            part = axes[0] if len(came) > 1 else ""
            cut = (columns,) if len(came) > 1 else ()
            arrays.append(_part(out, link.kernel.name, part, axes, writes, cut))
        if "bias" in modules[link.kernel.module]:
            arrays.append(out.vector(modules[link.kernel.module]["bias"].name, "bias", writes))
        activation = "none" if last else SPELLINGS.get(given, OTHER) if simple else OTHER
        out.layer("dense", arrays, name=".".join(link.kernel.module), activation=activation)
        came = (writes,)
    return known
