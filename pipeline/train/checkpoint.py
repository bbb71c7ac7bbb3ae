"""Checkpoints: everything that a run needs to go on at the exact step where it was, loadable without running code.

Random numbers are functions of (seed, epoch, step), so a position replaces the state of every generator.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.core.artifact import writing
from pipeline.core.errors import InputError
from pipeline.train.metrics import LARGER_IS_BETTER, selection_value

FORMAT = 1


@dataclass
class Progress:
    """How far a run is, apart from its tensors."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps done in the current epoch."""
    loss_sum: float = 0.0
    """Training loss of the current epoch, summed over its samples so far."""
    samples: int = 0
    seconds: float = 0.0
    """Time spent in the current epoch so far."""
    history: list[dict[str, float]] = field(default_factory=list)
    gradients: list[dict[str, float]] = field(default_factory=list)
    """Rows of the gradient trace."""
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    """Epochs since the last gain of ``min_delta``."""
    stop_value: float | None = None
    """Value that a gain is measured from for early stopping."""
    finished: bool = False
    adopted: int = 0
    """Epochs of the history that are another run's."""
    resumed: str = ""
    """Name of the checkpoint of this run that was gone back to."""


def save_checkpoint(path: Path, progress: Progress, identity: dict[str, Any], states: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Args:
        path: ``last.ckpt``.
        progress: the position.
        identity: what the weights belong to (channels, classes, settings); checked when loading.
        states: state dicts of model, optimizer, schedule, average, precision.
    """
    save_tensors(path, {"format": FORMAT, "progress": asdict(progress), "identity": identity, **states})


def save_tensors(path: Path, value: dict[str, Any]) -> None:
    """Write tensors and plain values atomically.

    Through memory, because torch turns the error of a full disk into one that does not say so. Equal values give equal
    bytes, whether they were computed or read.
    """
    buffer = io.BytesIO()
    torch.save(_canonical(value), buffer)
    with writing(path) as part:
        part.write_bytes(buffer.getbuffer())


def _canonical(value: Any) -> Any:
    """Return ``value`` in new containers with equal strings as one object: what pickle writes once depends on both."""
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_canonical(item) for item in value)
    return value


def load_checkpoint(path: Path, identity: dict[str, Any]) -> tuple[Progress, dict[str, Any]]:
    """Read a checkpoint of a run with the same identity.

    Raises:
        InputError: broken, of another format, or of other channels, classes or settings (which are named).
    """
    raw = load_raw(path)
    check_identity(path, raw, identity)
    return Progress(**raw["progress"]), raw


def load_raw(path: Path) -> dict[str, Any]:
    """Read a checkpoint of whatever run.

    Raises:
        InputError: broken, or of another format.
    """
    raw = load_tensors(path)
    if raw.get("format") != FORMAT or not {"progress", "identity"} <= raw.keys():
        raise InputError(
            f"{path}: checkpoint of format {raw.get('format')!r}, this program reads {FORMAT}; start --new"
        )
    return raw


def check_identity(path: Path, raw: dict[str, Any], identity: dict[str, Any]) -> None:
    """Compare what a checkpoint belongs to with what this run is.

    Raises:
        InputError: they differ, with what differs.
    """
    for name, value in identity.items():
        if raw["identity"].get(name) != value:
            raise InputError(
                f"{path}: trained with {name} {raw['identity'].get(name)}, this run has {value}; "
                "use the config it was trained with, or start a run of its own with --new"
            )


def load_tensors(path: Path) -> dict[str, Any]:
    """Read a file that ``torch.save`` wrote, tensors and plain values only.

    Raises:
        InputError: not such a file, truncated, or holding objects that could run code.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_sums(path)
        value = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than weights and plain values, refused because it could run code"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, zipfile.BadZipFile) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{path}: not a readable checkpoint ({reason}); delete it and train again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a checkpoint, found a {type(value).__name__}")
    return value


def _check_sums(path: Path) -> None:
    """Raise ``BadZipFile`` if a part of the file differs from its checksum; torch does not look at them."""
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise zipfile.BadZipFile(f"its part {broken} was changed")


def keep_best(last: Path, history: Sequence[Mapping[str, float]], select: str, count: int = 1) -> None:
    """Keep ``last`` under a name that tells its scores if its epoch is among the best; drop names that no longer are.

    A link costs nothing; ``last.ckpt`` is always replaced, never rewritten, so the link keeps its contents. Where the
    file system has no links it is copied.

    Args:
        last: ``last.ckpt``, just written, of the last epoch of ``history``.
        history: every epoch so far.
        select: metric that says which are the best; of equals the earlier.
        count: how many are kept.
    """
    best = best_epochs(history, select, count)
    name = best_name(history[-1])
    if history[-1] in best and not last.with_name(name).exists():
        _second_name(last, last.with_name(name))
    wanted = {best_name(entry) for entry in best}
    for former in last.parent.glob("epoch=*.ckpt"):
        if former.name not in wanted:
            former.unlink()


def best_epochs(history: Sequence[Mapping[str, float]], select: str, count: int) -> list[Mapping[str, float]]:
    """Return the ``count`` best entries, the best first; entries that could not be measured come last."""

    def order(entry: Mapping[str, float]) -> tuple[bool, float]:
        value = selection_value(select, entry)
        return math.isnan(value), -value if LARGER_IS_BETTER[select] else value

    return sorted(history, key=order)[:count]


def best_name(entry: Mapping[str, float]) -> str:
    """Return the file name of an epoch's checkpoint; without validation it tells the training loss."""
    start = f"epoch={entry['epoch']:05.0f}"
    if math.isnan(entry["val_loss"]):
        return f"{start}-train_loss={entry['train_loss']:.4f}.ckpt"
    return f"{start}-val_loss={entry['val_loss']:.4f}-val_f1={entry['val_f1']:.4f}.ckpt"


def _second_name(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError:
        with writing(name) as part:
            shutil.copyfile(path, part)
