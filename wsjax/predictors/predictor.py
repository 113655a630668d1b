"""`Predictor`: a label of networks with an interval, or the reasons why there is none.

predictions = predictor.predict(zoo)       values, low and high ends, "in" / "edge" / "out"
ranking = predictor.rank(zoo)              first and last rank of each, with ties
predictor.save("model"); load("model")

model/predictor.json       what was fitted, chosen and measured; sealed
model.safetensors    the model's arrays and its domain's
encoder/             an export, if an encoder was chosen
README.md            the model card
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from wsjax import checks, networks, recognition, settings, storage
from wsjax.checks import printable
from wsjax.files.facts import ContentError
from wsjax.networks import Params, Spec
from wsjax.predictors import candidates
from wsjax.predictors.candidates import Encoded, Model
from wsjax.predictors.card import card
from wsjax.predictors.conformal import Calibration
from wsjax.predictors.domain import DIFFERENT, EDGE, OUT, UNLIKE, Domain
from wsjax.predictors.features import Features, describe
from wsjax.storage import DamagedError
from wsjax.tasks import exports
from wsjax.zoos import Zoo

FORMAT = 1
ABOUT, ARRAYS, CARD = "predictor.json", "model.safetensors", "README.md"
ABOUT_BYTES, ARRAYS_BYTES = 64 << 20, 1 << 30
PIECE = 1000  # networks described at a time

Networks = Zoo | Sequence[tuple[Params, Spec]]


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of networks.

    Attributes:
        names: of the networks.
        values: [network]; NaN of those out of the domain.
        low: lower ends of their intervals, [network].
        high: upper ends.
        domain: "in", "edge" or "out", of each.
        reasons: why it is not "in", of each.
        confidence: of the intervals.
        shift: p-value of the networks together being like those of training; None for a few.
    """

    names: tuple[str, ...]
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    domain: tuple[str, ...]
    reasons: tuple[tuple[str, ...], ...]
    confidence: float
    shift: float | None

    def __len__(self) -> int:
        return len(self.names)


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """Networks in the order of their predictions.

    Attributes:
        predictions: of the networks.
        order: those that have a prediction, the highest first, [i].
        first: best rank that each may have, [network]; 0 of those without a prediction. Networks
            of one first rank are tied.
        last: worst rank.
        margin: the difference beyond which an order is certain enough, see `Calibration.margin`.
    """

    predictions: Predictions
    order: np.ndarray
    first: np.ndarray
    last: np.ndarray
    margin: float


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """A fitted and calibrated predictor of a label.

    Attributes:
        label: that it predicts.
        model: chosen among the candidates.
        domain: the networks that it may be asked about.
        calibration: of its intervals.
        facts: JSON: candidates, splits, measures; see `fitting.fit`.
    """

    label: str
    model: Model
    domain: Domain
    calibration: Calibration
    facts: Mapping[str, Any]

    def __repr__(self) -> str:
        runs = len(self.calibration.errors)
        return f"Predictor({self.label}: {self.facts['chosen']}, {runs} calibration runs)"

    def predict(
        self,
        given: Networks,
        names: Sequence[str] | None = None,
        anyway: bool = False,
        activation: str | None = None,
    ) -> Predictions:
        """The label of networks, with intervals and the verdict of the domain.

        Ten networks or more are also tested as a collection: one whose networks together
        differ from those of training is out, or at the edge, as a whole.

        Args:
            given: a zoo, or (params, spec) of each network; weights of these may be NaN.
            names: of the networks.
            anyway: whether networks out of the domain have a prediction too, where the model can
                be applied to them.
            activation: of networks whose specs have "other", see `Domain.adopted`.

        Raises:
            TypeError: these are no networks.
            ValueError: not as many names as networks, or arrays do not match their spec.
        """
        vectors, specs = _raveled(given)
        specs = [self.domain.adopted(s, activation) for s in specs]
        names = tuple(names or (f"network {i}" for i in range(len(specs))))
        if len(names) != len(specs):
            raise ValueError(f"expected {len(specs)} names of networks, got {len(names)}")
        why = [self._impossible(v, s) for v, s in zip(vectors, specs, strict=True)]
        verdicts = [(OUT, [text]) for text in why]
        values = np.full(len(specs), np.nan)
        rows = np.array([i for i, text in enumerate(why) if not text], int)
        shift = None
        if len(rows):
            zoo = _zoo([vectors[i] for i in rows], [specs[i] for i in rows])
            features = features_of(zoo.vectors, self.domain.specs[0])
            values[rows] = self.calibration.clip(self.model.predict(zoo, features.values))
            described = embedded(self.model, zoo, features)
            checked = self.domain.check(zoo.vectors, described)
            fine = np.array([verdict != OUT for verdict, _ in checked])
            shift = self.domain.shift(described.values[fine]) if fine.any() else None
            for i, (verdict, reasons) in zip(rows.tolist(), checked, strict=True):
                verdicts[i] = _together(verdict, reasons, shift, int(fine.sum()))
        if not anyway:
            values[[verdict == OUT for verdict, _ in verdicts]] = np.nan
        ends = np.full((len(values), 2), np.nan)
        numbers = np.isfinite(values)
        if numbers.any():
            ends[numbers] = self.calibration.intervals(values[numbers])
        return Predictions(
            names, values, ends[:, 0], ends[:, 1], tuple(v for v, _ in verdicts),
            tuple(tuple(r) for _, r in verdicts), self.calibration.confidence, shift,
        )  # fmt: skip

    def rank(
        self,
        given: Networks,
        names: Sequence[str] | None = None,
        anyway: bool = False,
        activation: str | None = None,
    ) -> Ranking:
        """Networks by prediction, with ties; arguments and errors as of `predict`.

        Networks whose predictions differ by less than the calibrated error of differences cannot be
        distinguished: see `Calibration.ranks`.
        """
        predictions = self.predict(given, names, anyway, activation)
        rows = np.flatnonzero(np.isfinite(predictions.values))
        first, last = np.zeros((2, len(predictions)), int)
        first[rows], last[rows] = self.calibration.ranks(predictions.values[rows])
        order = rows[np.argsort(-predictions.values[rows], kind="stable")]
        return Ranking(predictions, order, first, last, self.calibration.margin)

    def _impossible(self, vector: np.ndarray, spec: Spec) -> str:
        """Why the model cannot be applied to a network; "" if it can."""
        if text := self.domain.architecture(spec):
            return text
        if np.isfinite(vector).all():
            return ""
        bad = networks.unravel(~np.isfinite(vector), spec)
        name = next(k for k, x in bad.items() if x.any())
        return f"{printable(name)}: {int(bad[name].sum())} of {bad[name].size} NaN or inf"

    def save(self, folder: str | pathlib.Path) -> pathlib.Path:
        """Writes the model folder, see above; a model that is there is replaced.

        `predictor.json` is written last: without it there is no model.

        Raises:
            FileExistsError: the folder holds something else.
            OSError: it, or a file in it, cannot be written.
        """
        folder = pathlib.Path(folder)
        expect_place(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ABOUT).unlink(missing_ok=True)
        about, arrays = candidates.save(self.model, folder)
        arrays |= {f"domain.{k}": x for k, x in self.domain.arrays().items()}
        arrays["calibration.errors"] = self.calibration.errors
        data = safetensors.numpy.save({k: np.asarray(x, order="C") for k, x in arrays.items()})
        storage.write_bytes(folder / ARRAYS, data)
        storage.write_text(folder / CARD, card(self.label, self.facts, self.domain.specs[0]))
        bounds = [self.calibration.low, self.calibration.high]
        storage.write_sealed(
            folder / ABOUT,
            {
                "format": FORMAT,
                "label": self.label,
                "model": about,
                "specs": [networks.to_json(s) for s in self.domain.specs],
                "calibration": {
                    "confidence": self.calibration.confidence,
                    "bounds": [x if np.isfinite(x) else None for x in bounds],
                },
                "facts": self.facts,
                "versions": storage.versions("wsjax", "numpy", "crepes"),
                "files": {k: storage.fingerprint(folder / k) for k in (ARRAYS, CARD)},
            },
        )
        return folder


def expect_place(folder: pathlib.Path) -> None:
    """Raises unless a predictor can be written there, in place of nothing but another one.

    Raises:
        FileExistsError: the folder holds something else.
        NotADirectoryError: a folder above it is a file.
        PermissionError: the folder above it cannot be written to.
    """
    ours = {ABOUT, ARRAYS, CARD, candidates.FOLDER}
    above = folder
    while not os.path.lexists(above):
        above = above.absolute().parent
    if not above.is_dir():
        raise NotADirectoryError(f"{printable(folder)}: expected a folder, {above} is a file")
    if above == folder and (others := {p.name for p in folder.iterdir()} - ours):
        raise FileExistsError(
            f"{printable(folder)}: expected no such folder, an empty one or a predictor to "
            f"replace, it has {printable(min(others))}"
        )
    if not os.access(above, os.W_OK):
        raise PermissionError(f"{printable(folder)}: {above} cannot be written to")


def load(folder: str | pathlib.Path) -> Predictor:
    """The predictor of a model folder, or of a pretrained one's name; undoes `Predictor.save`.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: a file is missing, altered or makes no sense; names it.
        ValueError: it is of another format version.
    """
    folder = exports.locate(folder)
    if not (folder / ABOUT).exists():
        raise FileNotFoundError(
            f"expected a predictor at {folder}, a folder with {ABOUT} as `fit` writes: found none"
        )
    try:
        about = storage.read_sealed(folder / ABOUT, limit=ABOUT_BYTES)
    except DamagedError as error:
        raise DamagedError(f"{folder}: {error}") from error
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{folder / ABOUT}: expected a predictor of format {FORMAT}, got "
            f"{about.get('format')!r}: fit it again, or use the wsjax that wrote it "
            f"({about.get('versions', {}).get('wsjax', 'unknown')})"
        )
    for name, expected in about["files"].items():
        path = folder / pathlib.Path(name).name
        if path.is_symlink() or not path.is_file():
            raise DamagedError(f"{path} is missing or no plain file")
        if path.stat().st_size > ARRAYS_BYTES or storage.fingerprint(path) != expected:
            raise DamagedError(f"{path} was altered: its sha256 is not the one recorded")
    try:
        arrays = safetensors.numpy.load((folder / ARRAYS).read_bytes())
        own = {k.removeprefix("domain."): x for k, x in arrays.items() if k.startswith("domain.")}
        domain = Domain.from_arrays(about["specs"], own)
        low, high = about["calibration"]["bounds"]
        calibration = Calibration(
            arrays["calibration.errors"],
            float(about["calibration"]["confidence"]),
            -np.inf if low is None else low,
            np.inf if high is None else high,
        )
        model = candidates.load(about["model"], arrays, folder)
    except (ValueError, KeyError, TypeError, SafetensorError, OSError) as error:
        raise DamagedError(f"{folder} is damaged: {error}") from error
    return Predictor(about["label"], model, domain, calibration, about["facts"])


def predict_files(
    paths: Sequence[str | pathlib.Path],
    predictor: Predictor,
    branch: str | None = None,
    config: Mapping[str, Any] | None = None,
    anyway: bool = False,
) -> Predictions:
    """Predicts the networks of weights files, of any format that `wsjax.load` reads.

    Args:
        paths: of the files.
        predictor: of their label.
        branch: as `recognition.read` takes it.
        config: likewise.
        anyway: as `Predictor.predict` takes it.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read; names it. One whose numbers are not
            finite is out of the domain.
    """
    names, given, refused = [], [], {}
    activation = settings.activation(config)
    for path in map(str, paths):
        try:
            stored = recognition.read(path, branch, config)
        except ContentError as error:  # such as NaN: a network, of which there is no prediction
            wrong = [x.text for x in error.facts.findings if x.severity == "error"]
            refused[path] = tuple(wrong) or (str(error),)
            continue
        names.append(path)
        given.append((stored.params, stored.spec))
    if given and not refused:
        return predictor.predict(given, names, anyway, activation)
    values, low, high = np.full((3, len(paths)), np.nan)
    domain, reasons, shift = [OUT] * len(paths), [refused.get(str(p), ()) for p in paths], None
    if given:
        found = predictor.predict(given, names, anyway, activation)
        shift = found.shift
        rows = [i for i, path in enumerate(paths) if str(path) not in refused]
        values[rows], low[rows], high[rows] = found.values, found.low, found.high
        for i, verdict, why in zip(rows, found.domain, found.reasons, strict=True):
            domain[i], reasons[i] = verdict, why
    confidence = predictor.calibration.confidence
    names = tuple(map(str, paths))
    return Predictions(names, values, low, high, tuple(domain), tuple(reasons), confidence, shift)


def features_of(vectors: np.ndarray, spec: Spec) -> Features:
    """As `describe`, a piece of the networks at a time."""
    parts = [describe(vectors[i : i + PIECE], spec) for i in range(0, len(vectors), PIECE)]
    return Features(parts[0].names, np.concatenate([p.values for p in parts]))


def embedded(model: Model, zoo: Zoo, features: Features) -> Features:
    """Features of the domain: with the embeddings of networks, if an encoder was chosen."""
    if not isinstance(model, Encoded):
        return features
    embeddings = model.trained.encode(zoo)
    names = tuple(f"embedding: entry {i}" for i in range(embeddings.shape[1]))
    values = np.concatenate([features.values, embeddings], axis=1)
    return Features(features.names + names, values)


def _together(verdict, reasons, shift, count):
    """A verdict with that on the whole collection."""
    if shift is None or shift > DIFFERENT or verdict == OUT:
        return verdict, reasons
    text = (
        f"these {count} networks together differ from those of training (p = {shift:.2g}): as "
        "another data set or another recipe would"
    )
    return (OUT if shift <= UNLIKE else EDGE), [*reasons, text]


def _raveled(given: Networks) -> tuple[list[np.ndarray], list[Spec]]:
    """The vector and the spec of each network."""
    if isinstance(given, Zoo):
        specs = [given.specs[s] for s in given.which]
        return [v[: s.count] for v, s in zip(given.vectors, specs, strict=True)], specs
    checks.expect("networks", given, Sequence)
    if not given:
        raise ValueError("expected at least one network, got none")
    vectors = []
    for params, spec in given:
        networks.check_shapes(params, spec, batched=False)
        vectors.append(np.asarray(networks.ravel(params, spec), np.float32))
    return vectors, [spec for _, spec in given]


def _zoo(vectors: list[np.ndarray], specs: list[Spec]) -> Zoo:
    present = tuple(dict.fromkeys(specs))
    which = np.array([present.index(s) for s in specs])
    return Zoo(np.stack(vectors), present, which, {}, np.arange(len(specs)))
