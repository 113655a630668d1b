"""Hostile PyTorch files, read by `wsjax.files.torch_files` and the readers of published zoos.

Each is read in a process of its own, where it may take five seconds and 600 megabytes. A file
that is a good one but for some bytes must give the good one's arrays, or an error; of a file that
was never good, nothing but an error or plain data may come.
"""

import json
import pathlib
from typing import Any

import numpy as np

from experiments.faults import torch_cases
from experiments.faults.attacks import FORKED, Attack, Verdict, cases, verdict
from experiments.faults.mutators import mutate
from experiments.faults.torch_cases import ANYTHING
from experiments.lib.torch_writer import program_of, pt, saved
from third_party import inr_folders, published, schuerholt_zoos
from wsjax.files import torch_files
from wsjax.files.torch_files import FileFormatError, Numbers

HOLE = 64  # bytes at most


def settled(x: Any) -> Any:
    """The object with every array in its dicts and lists read."""
    root = [x]
    todo: list[Any] = [root]
    while todo:
        at = todo.pop()
        for k, v in list(at.items() if type(at) is dict else enumerate(at)):
            if type(v) is Numbers:
                at[k] = v.array()
            elif type(v) in (dict, list):
                todo.append(v)
    return root[0]


def read_state(path: pathlib.Path, expected: Any) -> Verdict:
    """The verdict on a file; any plain data are right where `ANYTHING` is expected."""
    if expected is None:
        return verdict(lambda: torch_files.state(path), [], [path], [FileFormatError])
    if expected == ANYTHING:
        read = lambda: [torch_files.state(path)][:0]
        return verdict(read, [[]], [path], [FileFormatError])
    return verdict(lambda: settled(torch_files.state(path)), expected, [path], [FileFormatError])


def _network(rng, start=""):
    width = int(rng.integers(2, 9))
    draw = lambda *shape: rng.normal(size=shape).astype("f4")
    arrays = {f"{start}seq.0.weight": draw(width, 2), f"{start}seq.0.bias": draw(width)}
    arrays |= {f"{start}seq.1.weight": draw(1, width).astype("f2")}
    return arrays | {"label": rng.integers(0, 9, (1,))}


def _mutated(rng):
    arrays = _network(rng)
    words, data = mutate(rng, saved(arrays))
    return words, data, [arrays]


def _mutated_pickle(rng):
    """In a zip whose checksums are right."""
    arrays = _network(rng)
    words, pickled = mutate(rng, program_of(arrays))
    return words, pt(pickled, [x.tobytes() for x in arrays.values()]), ANYTHING


def _hole(rng):
    """Bytes are missing from a file that does not state its byte order."""
    arrays = _network(rng)
    data = saved(arrays, byteorder=None)
    start, length = int(rng.integers(len(data) - HOLE)), int(rng.integers(1, HOLE))
    return f"{length} bytes from {start}", data[:start] + data[start + length :], [arrays]


def _drawn(draw):
    """An attack by files that a generator draws."""

    def run(rng, count, folder):
        for _, own in cases(rng, count):
            path = folder / "network.pt"
            words, data, expected = draw(own)
            path.write_bytes(data)
            found = FORKED.run(read_state, path, expected)
            yield found._replace(words=f"{words}: {found.words}")

    return run


def _listed(rng, count, folder):
    """The attack by the files of `torch_cases`, none of which may run anything."""
    for number, _ in cases(rng, count):
        title = [*torch_cases.CASES][number % len(torch_cases.CASES)]
        path, canary = folder / "network.pt", folder / "canary"
        path.write_bytes(torch_cases.CASES[title][0](canary))
        found = FORKED.run(_read_listed, path, title)
        if canary.exists():
            found = found._replace(outcome="crashed", words="its code was run")
            canary.unlink()
        yield found._replace(words=f"{title}: {found.words}")


def _read_listed(path, title):
    expected = torch_cases.CASES[title][1]
    return read_state(path, expected() if callable(expected) else expected)


# Two networks in one file, as the readers of published zoos see them


def _layers(rng, spec, names):
    shapes = published.torch_shapes(spec)
    roles = [f"{n}.{r}" for n in names for r in ("weight", "bias")]
    draw = lambda shape: (0.1 * rng.normal(size=shape)).astype("f4")
    return {k: draw(s) for k, s in zip(roles, shapes, strict=True)}


def _inr(data, start):
    """(where the file lies, the spec, names of layers, the reader) of a folder of INRs."""
    layers = [f"{start}{i}{'.linear' * (start == 'net.' and i < 2)}" for i in range(3)]
    if data == "nfn":
        return "randinit_smaller_3s/net0.pth", inr_folders.CONVENTIONS["nfn_mnist"].spec, layers
    place = "mnist_png_training_3_0/checkpoints/model_final.pth"
    return place, inr_folders.CONVENTIONS["dws_mnist"].spec, layers


def _cnn(start):
    spec = schuerholt_zoos.spec("conv3-linear2", 1, "relu")
    return "run/checkpoint_000050/checkpoints", spec, [f"{start}{n}" for n in (0, 3, 6, 9, 11)]


def read_zoo(kind: str, folder: pathlib.Path) -> np.ndarray:
    """The weights of the networks in a folder."""
    if kind == "nfn":
        return inr_folders.read_nfn(folder, "mnist").vectors
    if kind == "dws":
        return inr_folders.read_mnist(folder).vectors
    return schuerholt_zoos.read_raw(folder, activation="tanh").vectors


def _read_zoo(kind, folder, place, alone):
    """Two networks are refused; of one, the weights are as they were written."""
    count = None if alone is None else [np.sort(alone.ravel())]
    read = lambda: np.sort(read_zoo(kind, folder).ravel())
    return verdict(read, count or [], [folder / place, folder / place.split("/")[0]])


PREFIXES = {
    "nfn": ("seq.", "net."),
    "dws": ("seq.", "net."),
    "raw": ("model.", "ema.", "module_list.", "", "teacher.module_list."),
}


def _two_networks(rng, count, folder):
    """Every eighth file has one network alone, and must be read."""
    for number, own in cases(rng, count):
        kind = [*PREFIXES][number % len(PREFIXES)]
        starts = list(own.permutation(PREFIXES[kind])[: 1 if number % 8 == 7 else 2])
        arrays, home = {}, folder / f"{number}"
        for start in map(str, starts):
            place, spec, layers = _cnn(start) if kind == "raw" else _inr(kind, start)
            arrays |= _layers(own, spec, layers)
        path = home / place
        path.parent.mkdir(parents=True)
        path.write_bytes(saved(arrays))
        if kind == "raw":
            facts = {"training_iteration": 50, "config": {}, "test_acc": 0.5, "test_loss": 1.0}
            facts |= {"train_acc": 0.5, "train_loss": 1.0}
            (home / "run" / "result.json").write_text(json.dumps(facts))
        alone = np.concatenate([x.ravel() for x in arrays.values()]) if len(starts) < 2 else None
        found = FORKED.run(_read_zoo, kind, home, place, alone)
        yield found._replace(words=f"{kind}, {' and '.join(starts)}: {found.words}")


ATTACKS = (
    Attack("torch_mutated", "state dicts with damaged bytes", 2000, 40, _drawn(_mutated)),
    Attack("torch_pickles", "damaged pickles in whole zips", 600, 20, _drawn(_mutated_pickle)),
    Attack("torch_holes", "files without a byte order, cut within", 300, 20, _drawn(_hole)),
    Attack(
        "torch_by_hand", "bombs, lies, code and collisions", len(torch_cases.CASES), 60, _listed
    ),
    Attack("torch_two_networks", "two networks in one file", 48, 8, _two_networks),
)
