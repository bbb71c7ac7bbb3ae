"""What a finished run's folder says: settings, scale, calibration and thresholds. Nothing else is needed to predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import CALIBRATION, THRESHOLDS, Decisions, load_decisions
from pipeline.contract.store import load_store_spec
from pipeline.core.artifact import read_json, sha256
from pipeline.core.errors import InputError
from pipeline.core.logs import log
from pipeline.derive.config import DeriveConfig
from pipeline.store.config import StoreConfig
from pipeline.store.moments import Moments
from pipeline.train.config import TrainConfig

MODEL, NORM = "model.pt", "norm.json"
Degrees = tuple[float, ...]


class Settings(Protocol):
    """The sections of a run's config that predicting reads."""

    @property
    def derive(self) -> DeriveConfig:
        """Raw files to fields."""

    @property
    def store(self) -> StoreConfig:
        """Fields, or images and series, to arrays."""

    @property
    def train(self) -> TrainConfig:
        """Arrays to logits."""


@dataclass(frozen=True)
class FixedScale(Moments):
    """A scale that is known, not measured."""

    deviation: NDArray[np.float64]

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of each channel."""
        return self.deviation


@dataclass(frozen=True)
class FinishedRun:
    """A run folder, read."""

    path: Path
    settings: Settings
    norm: dict[str, Any]
    decisions: Decisions
    stores: Path
    """Where the stores of its data set are, if they are on this machine."""

    @property
    def of_images(self) -> bool:
        """Whether it was trained on images."""
        return self.settings.store.images is not None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path.name

    def fold_scale(self) -> dict[str, dict[str, Any]]:
        """Return mean and std of each input's channels over the training days of the run's fold."""
        return {name: {key: one[key] for key in ("mean", "std")} for name, one in self.norm["inputs"].items()}

    def stored_scale(self) -> dict[str, dict[str, Any]]:
        """Return the scale that values were stored by, before the affine map to that of the fold (see the store)."""
        return {name: one.get("stored") or self.fold_scale()[name] for name, one in self.norm["inputs"].items()}

    def scale(self, name: str) -> FixedScale:
        """Return the stored scale of one input as numbers."""
        mean, std = (np.asarray(self.stored_scale()[name][key], np.float64) for key in ("mean", "std"))
        return FixedScale(np.ones_like(mean), mean, np.zeros_like(mean), std)

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of the files that decide its predictions."""
        return {name: sha256(self.path / name) for name in (MODEL, NORM, CALIBRATION, THRESHOLDS)}


def open_run(path: Path, settings: Settings, stores: Path) -> FinishedRun:
    """Read the folder of a run; ``stores`` need not exist.

    Raises:
        InputError: the training or the thresholds are not finished, or files do not belong together.
    """
    for name in (MODEL, NORM):
        if not (path / name).exists():
            raise InputError(f"{path}: no {name}, so its training is not finished; run the train job again")
    norm = read_json(path / NORM)
    return FinishedRun(path, settings, norm, load_decisions(path, tuple(norm["classes"])), stores)


def grid_of(run: FinishedRun, shape: tuple[int, ...], store: Path) -> tuple[Degrees, Degrees] | None:
    """Return latitudes and longitudes that the run was trained on; ``None`` if nobody knows them any more.

    Args:
        run: whose ``norm.json`` says it, unless an older program wrote that.
        shape: of one sample, C × H × W.
        store: the folder of the store it was trained on, which may be elsewhere.
    """
    if "grid" in run.norm:
        return tuple(run.norm["grid"]["latitude"]), tuple(run.norm["grid"]["longitude"])
    if (store / "store.json").exists():
        spec = load_store_spec(store)
        return spec.latitude, spec.longitude
    log.warning(
        "%s: norm.json does not tell the grid of the training and the store is not here; only the number of points "
        "(%d × %d) is compared",
        run.name, *shape[1:],
    )  # fmt: skip
    return None
