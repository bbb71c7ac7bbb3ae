"""Checkpoints: everything that a run needs to go on at the exact step where it was, loadable without running code.

Random numbers are functions of (seed, epoch, step), so a position replaces the state of every generator.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.core.artifact import writing
from pipeline.core.errors import InputError

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
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    """Epochs since the last gain of ``min_delta``."""
    stop_value: float | None = None
    """Value that a gain is measured from for early stopping."""
    finished: bool = False


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

    Through memory, because torch turns the error of a full disk into one that does not say so.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with writing(path) as part:
        part.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path, identity: dict[str, Any]) -> tuple[Progress, dict[str, Any]]:
    """Read a checkpoint of a run with the same identity.

    Raises:
        InputError: broken, of another format, or of other channels, classes or settings (which are named).
    """
    raw = load_tensors(path)
    if raw.get("format") != FORMAT:
        raise InputError(
            f"{path}: checkpoint of format {raw.get('format')!r}, this program reads {FORMAT}; start --new"
        )
    for name, value in identity.items():
        if raw["identity"].get(name) != value:
            raise InputError(
                f"{path}: trained with {name} {raw['identity'].get(name)}, this run has {value}; "
                "use the config it was trained with, or start a run of its own with --new"
            )
    return Progress(**raw["progress"]), raw


def load_tensors(path: Path) -> dict[str, Any]:
    """Read a file that ``torch.save`` wrote, tensors and plain values only.

    Raises:
        InputError: not such a file, truncated, or holding objects that could run code.
    """
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than weights and plain values, refused because it could run code"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(f"{path}: not a readable checkpoint ({reason}); delete it and train again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a checkpoint, found a {type(value).__name__}")
    return value


def keep_best(last: Path, entry: dict[str, float]) -> None:
    """Give ``last`` a second name that tells its scores, and drop the name of the former best.

    A link costs nothing; ``last.ckpt`` is always replaced, never rewritten, so the link keeps its contents. Where the
    file system has no links it is copied.
    """
    name = f"epoch={entry['epoch']:05.0f}-val_loss={entry['val_loss']:.4f}-val_f1={entry['val_f1']:.4f}.ckpt"
    best = last.with_name(name)
    if not best.exists():
        try:
            os.link(last, best)
        except OSError:
            with writing(best) as part:
                shutil.copyfile(last, part)
    for former in last.parent.glob("epoch=*.ckpt"):
        if former != best:
            former.unlink()
