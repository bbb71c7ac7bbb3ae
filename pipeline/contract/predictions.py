"""train → thresholds → evaluate, report: logits, and what turns them into probabilities and decisions.

``predictions_<split>.npz``  :class:`Predictions`: logits of the chosen weights, with targets and days
``calibration.json``         slope ``a`` and offset ``b`` of each class: probability = sigmoid(a · logit + b), for
                             single-label targets softmax(a · logit + b) with one slope
``thresholds.json``          the probability from which on a class is said to occur; of single-label targets the
                             likeliest class is said, and there are no thresholds

What a stage makes from such files carries ``made_from``: a digest of its settings and the checksums of what it read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, calibrated, one_hot, softmax
from pipeline.core.artifact import check_files, digest8, read_json, sha256, writing
from pipeline.core.errors import InputError, shorten

MULTI_LABEL, SINGLE_LABEL = "multi_label", "single_label"


@dataclass(frozen=True)
class Predictions:
    """Logits of N samples for K classes, with what is needed to score them without the store."""

    logits: NDArray[np.float32]
    """N × K, before the sigmoid (multi-label) or softmax (single-label)."""
    target: NDArray[np.uint8]
    """N × K, 0 or 1."""
    ids: NDArray[np.str_]
    dates: NDArray[np.str_]
    """N local days, ``YYYY-MM-DD``, ascending; all empty where samples have no time."""
    kinds: NDArray[np.str_]
    """N of ``single``, ``composite`` (+), ``transition`` (-)."""
    classes: NDArray[np.str_]
    target_kind: str
    """``multi_label`` or ``single_label``."""
    split: str
    store: str
    """Version of the store that the run was trained on."""

    def check(self, source: object) -> None:
        """Raise ``InputError`` if shapes disagree or a logit is not finite."""
        n, k = self.logits.shape if self.logits.ndim == 2 else (-1, -1)
        same = self.target.shape == (n, k) and len(self.classes) == k
        if not same or any(len(column) != n for column in (self.ids, self.dates, self.kinds)):
            raise InputError(f"{source}: arrays of different lengths; run the train job again")
        if not np.isfinite(self.logits).all():
            count = int((~np.isfinite(self.logits)).sum())
            raise InputError(
                f"{source}: {count} logits are NaN or infinite; the training diverged, lower train.optimizer.lr"
            )

    @property
    def single(self) -> bool:
        """Whether each sample has exactly one class."""
        return self.target_kind == SINGLE_LABEL

    @property
    def dated(self) -> bool:
        """Whether every sample has a day."""
        return bool((self.dates != "").all())

    @property
    def days(self) -> NDArray[np.datetime64]:
        """The local days as N dates; samples without a time count as one a day from 1970-01-01 on."""
        if not self.dated:
            return np.arange(len(self.dates)).astype("datetime64[D]")
        return self.dates.astype("datetime64[D]")

    @property
    def labels(self) -> tuple[str, ...]:
        """The K class names."""
        return tuple(str(name) for name in self.classes)

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        with writing(path) as part, part.open("wb") as stream:
            np.savez(stream, **{field.name: getattr(self, field.name) for field in fields(self)})


def load_predictions(path: Path) -> Predictions:
    """Read and check a predictions file.

    Raises:
        InputError: missing, broken or inconsistent.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {field.name: arrays[field.name] for field in fields(Predictions)}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the train job first") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable predictions file ({error}); run the train job again") from None
    values |= {name: str(values[name]) for name in ("target_kind", "split", "store")}
    predictions = Predictions(**values)
    predictions.check(path)
    return predictions


def load_split(run: Path, split: str) -> Predictions:
    """Read ``predictions_<split>.npz`` of a run folder.

    Raises:
        InputError: missing, broken, inconsistent, without samples, or of a kind of target that is not known.
    """
    path = predictions_path(run, split)
    if not path.exists():
        raise InputError(f"{path}: no such file; train first, to the end (python jobs/train.py <config>)")
    predictions = load_predictions(path)
    if predictions.target_kind not in (MULTI_LABEL, SINGLE_LABEL):
        raise InputError(f"{path}: targets of unknown kind {predictions.target_kind!r}; run the train job again")
    if len(predictions.dates) == 0:
        raise InputError(f"{path}: holds no samples; give store.split.{split} some that have labels, and train again")
    return predictions


def predictions_path(run: Path, split: str) -> Path:
    """Return where the predictions of a split are, in a run folder."""
    return run / f"predictions_{split}.npz"


# --- decisions -----------------------------------------------------------------------------------------------

THRESHOLDS, CALIBRATION = "thresholds.json", "calibration.json"


@dataclass(frozen=True)
class Decisions:
    """What turns logits into probabilities and yes or no; fitted on validation days."""

    classes: tuple[str, ...]
    a: Floats
    b: Floats
    thresholds: Floats
    """K calibrated probabilities; a class is said to occur where its probability is at least this. NaN: likeliest."""
    fallback: NDArray[np.bool_]
    """K: the class has no positives in validation, so its threshold is the setting and not fitted."""
    details: dict[str, Any]
    """All of ``thresholds.json``."""

    @property
    def single(self) -> bool:
        """Whether exactly one class is said of each sample."""
        return bool(self.details["kind"] == SINGLE_LABEL)

    def raw(self, logits: NDArray[Any]) -> Floats:
        """Return probabilities of logits (N × K) as the network gives them."""
        return probabilities_of(logits, np.ones_like(self.a), np.zeros_like(self.b), self.single)

    def probabilities(self, logits: NDArray[Any]) -> Floats:
        """Return calibrated probabilities of logits, N × K."""
        return probabilities_of(logits, self.a, self.b, self.single)

    def decide(self, logits: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which classes are said to occur, N × K."""
        return self.choose(self.probabilities(logits))

    def choose(self, probability: Floats) -> NDArray[np.bool_]:
        """Return which classes are said to occur at calibrated probabilities, N × K."""
        return decided(probability, self.thresholds, self.single)


def probabilities_of(logits: NDArray[Any], a: Floats, b: Floats, single: bool) -> Floats:
    """Return the calibrated probabilities of logits (N × K) with slope ``a`` and offset ``b`` of each class."""
    return softmax(np.asarray(logits, np.float64) * a + b) if single else calibrated(logits, a, b)


def decided(probability: Floats, thresholds: Floats, single: bool) -> NDArray[np.bool_]:
    """Return which classes are said to occur, N × K: the likeliest one, or all that reach their threshold."""
    return one_hot(probability) if single else np.asarray(probability >= thresholds)


def load_decisions(run: Path, classes: tuple[str, ...]) -> Decisions:
    """Read thresholds and calibration of a run folder.

    Raises:
        InputError: missing, broken, of other classes, or older than the predictions.
    """
    values = _read(run / THRESHOLDS, ("made_from", "kind", "labels", "thresholds", "fallback"))
    calibration = _read(run / CALIBRATION, ("made_from", "a", "b"))
    if values["made_from"] != calibration["made_from"]:
        raise InputError(f"{run / CALIBRATION}: does not belong to {THRESHOLDS}; run the thresholds job again")
    check_made_from(run / THRESHOLDS, values, "thresholds")
    if tuple(values["labels"]) != classes:
        found = shorten(values["labels"])
        raise InputError(f"{run / THRESHOLDS}: for the classes {found}, not {shorten(classes)}; run thresholds again")
    return Decisions(
        classes=classes,
        a=np.array(calibration["a"], np.float64),
        b=np.array(calibration["b"], np.float64),
        thresholds=np.array([number(value) for value in values["thresholds"]], np.float64),
        fallback=np.array(values["fallback"], np.bool_),
        details=values,
    )


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path}: no such file; run the thresholds job first")
    values = read_json(path)
    lacking = [key for key in keys if key not in values]
    if lacking:
        raise InputError(f"{path}: lacks {shorten(lacking)}; delete it and run the thresholds job again")
    return values


# --- what was made from what ---------------------------------------------------------------------------------


def made_from(settings: Any, folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return a digest of ``settings`` (JSON-like) and the SHA-256 of those files in ``folder`` that exist."""
    present = [name for name in names if (folder / name).exists()]
    return {"settings": digest8(settings), "files": {name: sha256(folder / name) for name in present}}


def is_fresh(path: Path, stamp: dict[str, Any]) -> bool:
    """Tell whether the JSON file ``path`` is there and was made from exactly this."""
    try:
        return bool(read_json(path).get("made_from") == stamp)
    except InputError:
        return False


def fresh_files(index: Path, stamp: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names that the JSON file ``index`` lists beside it, if all are there and made from exactly this."""
    try:
        found = read_json(index)
        if found.get("made_from") != stamp:
            return None
        check_files(index.parent, found["files"])
    except (InputError, KeyError):
        return None
    return tuple(found["files"])


def number(value: float | None) -> float:
    """Return a JSON number; NaN for null, which stands for a score that could not be measured."""
    return float("nan") if value is None else value


def check_made_from(path: Path, value: dict[str, Any], stage: str) -> None:
    """Check that the files ``value`` (read from ``path``) was made from are still the ones beside it.

    Raises:
        InputError: one is missing or another; says to run ``stage`` again.
    """
    for name, checksum in value["made_from"]["files"].items():
        other = path.parent / name
        if not other.exists() or sha256(other) != checksum:
            raise InputError(f"{path}: was made from another {name} than the one beside it; run the {stage} job again")
