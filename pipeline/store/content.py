"""Everything about a store but its fields: days, targets, splits, scalars and what the preflight says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.derived import DerivedSpec
from pipeline.core import logs
from pipeline.core.errors import InputError, shorten
from pipeline.store.channels import Channel, chosen_channels, chosen_scalars
from pipeline.store.config import StoreConfig, target_of
from pipeline.store.days import Days, read_days
from pipeline.store.labels import Labels, encode, refuse_other_number
from pipeline.store.preflight import preflight, warn
from pipeline.store.splits import Marks, split_days
from pipeline.store.window import Window, window


@dataclass(frozen=True)
class Content:
    """What the settings make of the derived data, before any field is read."""

    config: StoreConfig
    derived: Path
    upstream: DerivedSpec
    channels: list[Channel]
    window: Window
    scalars: list[str]
    days: Days
    labels: Labels
    folds: dict[str, Marks]
    preflight: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Return the names of the channels."""
        return [channel.name for channel in self.channels]

    def training(self, fold: str) -> NDArray[np.int64]:
        """Return the rows of the training days of a fold."""
        return np.flatnonzero(self.folds[fold] == "train").astype(np.int64)


def read_content(config: StoreConfig, derived: Path, upstream: DerivedSpec) -> Content:
    """Read days and labels of the derived data in ``derived`` and check all settings against them.

    Raises:
        InputError: a channel, a label, a split or a day is not as it must be.
    """
    channels, scalars = chosen_channels(config, upstream), chosen_scalars(config, upstream)
    cells = window(upstream.latitude, upstream.longitude, config.region, config.coarsen)
    days, unlabelled = _labelled(read_days(derived, upstream, scalars), config)
    labels = encode(days.label.tolist(), days.date.astype(str).tolist(), target_of(config))
    refuse_other_number(labels.classes, config.target)
    if labels.repeated:
        logs.log.warning("labels: %d labels name a type twice; it counts once", labels.repeated)
    folds = split_days(days.date, config.split)
    report = preflight(days.date, labels, folds, unlabelled, config.split.by == "random_days")
    warn(report)
    return Content(config, derived, upstream, channels, cells, scalars, days, labels, folds, report)


def _labelled(days: Days, config: StoreConfig) -> tuple[Days, int]:
    """Return the days with a label, and how many have none."""
    lost = days.date[days.label == ""]
    if len(lost) == len(days):
        raise InputError("labels: no day has one; set derive.labels.files to CSV files with these dates and run derive")
    if len(lost) and config.unlabelled == "error":
        raise InputError(
            f"store.unlabelled: {len(lost)} of {len(days)} days have no label ({shorten(lost)}); "
            "add them to the label file and run derive, or set store.unlabelled: drop"
        )
    if len(lost):
        logs.log.info("labels: %d of %d days have none and are dropped (%s)", len(lost), len(days), shorten(lost, 3))
    return days.take(np.flatnonzero(days.label != "")), len(lost)
