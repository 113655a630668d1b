"""Networks as they were published, and the tools that all readers use.

    files  --a reader-->  Published  --zoo-->  Zoo
                          Published  --summary-->  what `python -m third_party.NAME` prints

`Published` may hold NaN and infinities, so that a check can list the layers that have them;
a `Zoo` may not.
"""

import argparse
import collections
import dataclasses
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from wsjax.checks import printable
from wsjax.networks import Spec, unravel
from wsjax.zoos import Zoo

BLOCK = 4096  # networks inspected in one go: zoos are as large as the memory


@dataclasses.dataclass(frozen=True)
class Published:
    """Networks as their authors published them, their weights in our order.

    Attributes:
        vectors: [network, longest] float32, as in a `Zoo`, maybe not finite.
        specs: the architectures.
        which: [network], an index of `specs`.
        labels: name -> [network] float32, maybe not finite.
        runs: [network] int, one number for each training run or image.
        splits: name -> networks in it, int.
    """

    vectors: np.ndarray
    specs: tuple[Spec, ...]
    which: np.ndarray
    labels: Mapping[str, np.ndarray]
    runs: np.ndarray
    splits: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def finite(self) -> np.ndarray:
        """[network] bool: neither its weights nor its labels have a NaN or an infinity."""
        fine = np.ones(len(self.vectors), bool)
        for rows in _blocks(len(fine)):
            fine[rows] = np.isfinite(self.vectors[rows]).all(1)
        for values in self.labels.values():
            fine &= np.isfinite(values)
        return fine

    def zoo(self, nonfinite: str = "raise") -> Zoo:
        """The networks as a `Zoo`.

        Args:
            nonfinite: "raise" is an error if a weight or a label of any network is NaN or
                infinite; "exclude" leaves such networks out.

        Raises:
            ValueError: networks are not finite, counted by array and label; or a run sits
                in two splits.
        """
        if nonfinite not in ("raise", "exclude"):
            raise ValueError(f"expected nonfinite 'raise' or 'exclude', got {nonfinite!r}")
        fine = self.finite()
        if fine.all():
            return Zoo(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        if nonfinite == "raise":
            lines = [f"  {name}: {count}" for name, count in self.nonfinite().items() if count]
            raise ValueError(
                f"{(~fine).sum()} of {len(fine)} networks have a NaN or an infinity, "
                "nonfinite='exclude' leaves them out; networks by array or label:\n"
                + "\n".join(lines)
            )
        place = np.cumsum(fine) - 1
        splits = {k: place[v[fine[v]]] for k, v in self.splits.items()}
        labels = {k: v[fine] for k, v in self.labels.items()}
        rest = (self.which[fine], labels, self.runs[fine], splits)
        return Zoo(self.vectors[fine], self.specs, *rest)

    def nonfinite(self) -> dict[str, int]:
        """For each array and label, the number of networks where it is NaN or infinite."""
        out = collections.Counter()
        for rows in _blocks(len(self.vectors)):
            for s, spec in enumerate(self.specs):
                own = self.vectors[rows][self.which[rows] == s, : spec.count]
                for name, array in unravel(own, spec).items():
                    out[name] += int((~np.isfinite(array.reshape(len(own), -1)).all(1)).sum())
        for name, values in self.labels.items():
            out[f"label {name}"] = int((~np.isfinite(values)).sum())
        return dict(out)

    def summary(self) -> str:
        """Counts, and for each array and label the spread of its finite values."""
        lines = [f"{len(self.vectors)} networks of {len(np.unique(self.runs))} runs"]
        lines += [f"split {k}: {len(v)} networks" for k, v in self.splits.items()]
        bad = self.nonfinite()
        for s, spec in enumerate(self.specs):
            own = np.flatnonzero(self.which == s)
            activations = [x.activation for x in spec.layers if x.activation != "none"]
            what = f"{spec.count} parameters, {' '.join(dict.fromkeys(activations))}"
            lines.append(f"architecture {s} ({what}): {len(own)} networks")
            if len(own):
                lines += _spread(unravel(self.vectors[own[:BLOCK], : spec.count], spec), bad)
        lines.append("labels:")
        return "\n".join(lines + _spread(self.labels, {k: bad[f"label {k}"] for k in self.labels}))


def _spread(arrays, bad):
    lines = []
    for name, values in arrays.items():
        values = np.asarray(values, np.float64)
        fine, note = values[np.isfinite(values)], f", NOT FINITE in {bad[name]}" * bool(bad[name])
        if fine.size:
            text = f"mean {fine.mean():.4g}, sd {fine.std():.4g}"
            text += f", from {fine.min():.4g} to {fine.max():.4g}"
        else:
            text = "no finite value"
        lines.append(f"  {name} {list(values.shape[1:]) or ''}: {text}{note}")
    return lines


def check_range(name: str, values: np.ndarray, low: float, high: float, where: object) -> None:
    """Raises `ValueError` if a finite value is outside; counts them and shows the first."""
    out = np.flatnonzero((values < low) | (values > high))
    if len(out):
        raise ValueError(
            f"{where}: expected {name} from {low} to {high}, got {values[out[0]]} for network "
            f"{out[0]}, and {len(out)} such in all"
        )


def torch_shapes(spec: Spec) -> list[tuple[int, ...]]:
    """The shapes that PyTorch gives a spec's arrays, in the spec's order.

    A convolution's kernel is [out, in, row, column]; a dense one [out, in], what it reads
    of an image flattened as [channel, row, column].
    """
    shapes = []
    for layer in spec.layers:
        for a in layer.arrays:
            *rest, width = spec.shape(a)
            if a.role == "kernel" and layer.kind == "conv":
                shapes.append((width, rest[-1], *rest[:-1]))
            elif a.role == "kernel":
                shapes.append((width, math.prod(rest)))
            else:
                shapes.append((width,))
    return shapes


def torch_order(spec: Spec) -> np.ndarray:
    """[count]: for each entry of our vector, where it is among PyTorch's.

    PyTorch's vector is the arrays in the spec's order (of each layer its weight, then its
    bias), each of its shape in `torch_shapes`, flattened row by row.
    """
    parts, start = [], 0
    for a in spec.arrays:
        ours = spec.shape(a)
        theirs = np.arange(start, start + math.prod(ours))
        if len(ours) > 1:  # [out, in, *positions], whichever of them are flattened
            theirs = theirs.reshape(ours[-1], ours[-2], *ours[:-2])
            theirs = np.moveaxis(theirs, (0, 1), (-1, -2))
        parts.append(theirs.ravel())
        start += math.prod(ours)
    return np.concatenate(parts)


def flat(arrays: Sequence[object], spec: Spec, where: object) -> np.ndarray:
    """[count]: a network's arrays as PyTorch has them, for `torch_order`.

    Args:
        arrays: of each layer its weight, then its bias.
        spec: of the network.
        where: for the message.

    Raises:
        ValueError: they are not arrays of numbers with the spec's shapes, in PyTorch's order.
    """
    wanted = torch_shapes(spec)
    shapes = [x.shape if isinstance(x, np.ndarray) else type(x).__name__ for x in arrays]
    if shapes != wanted or any(x.dtype.kind != "f" for x in arrays):
        kinds = sorted({str(getattr(x, "dtype", "")) for x in arrays})
        raise ValueError(f"{where}: expected arrays {wanted}, got {shapes} {kinds}")
    return np.concatenate([np.asarray(x, np.float32).ravel() for x in arrays])


def layers(
    state: Mapping[str, object], pattern: str, where: object
) -> tuple[list[object], dict[str, object]]:
    """The arrays of a state dict by layer, weight before bias; and what is beside them.

    Args:
        state: name -> array.
        pattern: of an array's whole name, with the groups `network`, what comes before the
            layer, `layer`, its number, and `role`, weight or bias.
        where: for the message.

    Raises:
        ValueError: two names have other networks, or the same layer and role.
    """
    arrays, names, beside = {}, {}, {}
    for name, x in state.items():
        match = re.fullmatch(pattern, str(name))
        if match is None:
            beside[name] = x
            continue
        key = int(match["layer"]), match["role"] == "bias"
        # Of one network all names begin alike, so that the first stands for them.
        first = names.setdefault("network", (name, match["network"]))
        same = names.setdefault(key, (name, match["network"]))
        if first[1] != match["network"] or same[0] != name:
            other = first[0] if same[0] == name else same[0]
            raise ValueError(
                f"{where}: expected the arrays of one network, got {other!r:.200} and "
                f"{name!r:.200}, which may be of two: save one of them alone"
            )
        arrays[key] = x
    return [arrays[k] for k in sorted(arrays)], beside


def numbered(names: Sequence[str]) -> np.ndarray:
    """[i] int: equal names have one number, in the order in which they first appear."""
    numbers = {}
    return np.array([numbers.setdefault(n, len(numbers)) for n in names], np.int64)


def command(
    doc: str,
    check: Callable[[argparse.Namespace], Published],
    options: Mapping[str, Mapping[str, object]],
    arguments: Sequence[str] | None = None,
) -> None:
    """The command `python -m third_party.NAME`: reads a folder, prints a summary of it.

    Args:
        doc: the module's docstring, for `--help`.
        check: parsed arguments, `folder` among them -> the networks.
        options: flag -> keywords of `add_argument`.
        arguments: of the command line.

    Raises:
        SystemExit: the files are not as published; the reason is printed.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="where the files lie")
    for flag, keywords in options.items():
        parser.add_argument(flag, **keywords)
    parsed = parser.parse_args(arguments)
    try:
        print(check(parsed).summary())
    except (ValueError, OSError) as error:
        sys.exit("\n".join(map(printable, f"error: {error}".split("\n"))))


def _blocks(count):
    return [slice(i, min(i + BLOCK, count)) for i in range(0, count, BLOCK)]
