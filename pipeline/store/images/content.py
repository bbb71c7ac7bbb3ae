"""Everything about a store of images but their pixels: targets, windows, splits and what the preflight says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import SPLITS
from pipeline.core import logs
from pipeline.core.errors import InputError
from pipeline.store.config import StoreConfig, target_of
from pipeline.store.images.bars import bar_numbers, span
from pipeline.store.images.classes import compare_splits, ordered_classes
from pipeline.store.images.folds import Samples, split_images
from pipeline.store.images.listing import list_images
from pipeline.store.images.pictures import Listing, Picture
from pipeline.store.images.series import Series, microseconds, read_series
from pipeline.store.images.windows import Windows, align
from pipeline.store.labels import Labels, encode, refuse_other_number
from pipeline.store.moments import Moments, refuse_constant
from pipeline.store.sections.images import ImagesConfig
from pipeline.store.splits import Marks


@dataclass(frozen=True)
class Content:
    """What the settings make of the files, before an image is opened."""

    config: StoreConfig
    images: ImagesConfig
    listing: Listing
    series: Series | None
    labels: Labels
    samples: Samples
    windows: Windows | None
    span: int
    """Bars that an image and its window cover."""
    embargo: int
    folds: dict[str, Marks]

    @property
    def pictures(self) -> list[Picture]:
        """Return the images in the order of the store."""
        return self.listing.pictures

    def training(self, fold: str) -> NDArray[np.int64]:
        """Return the rows of the training images of a fold."""
        return np.flatnonzero(self.folds[fold] == "train").astype(np.int64)

    def series_scales(self) -> dict[str, Moments]:
        """Return, for each fold, the moments of each feature over the rows in its training windows.

        Raises:
            InputError: a feature is constant or empty there.
        """
        if self.windows is None:
            return {}
        scales = {fold: self.windows.scale(self.training(fold)) for fold in self.folds}
        for fold, scale in scales.items():
            refuse_constant(scale, self.windows.features, f"fold {fold}")
        return scales

    def without(self, kept: NDArray[np.bool_]) -> Content:
        """Return the content of the images ``kept`` alone: files that cannot be read are as if they were not there."""
        if kept.all():
            return self
        pictures = [picture for picture, good in zip(self.pictures, kept.tolist(), strict=True) if good]
        return _content(self.config, self.images, replace(self.listing, pictures=pictures), self.series)


def read_content(config: StoreConfig, home: Path) -> Content:
    """List the images, read the series and check all settings against them; relative paths start from ``home``.

    Raises:
        InputError: a file name, a label, a time, a number or a split is not as it must be.
    """
    if config.images is None:
        raise RuntimeError("no store.images in the settings")
    listing = list_images(config.images, home)
    if config.split.by in ("auto", "folders") and listing.folders:
        compare_splits(listing.folders)
    series = None
    if config.series is not None:
        if not listing.timed:
            raise InputError("store.series: images have no times; name them after the convention, or list them by time")
        groups = sorted({picture.group for picture in listing.pictures})
        series = read_series(config.series, home, groups)
    return _content(config, config.images, listing, series)


def _content(config: StoreConfig, images: ImagesConfig, listing: Listing, series: Series | None) -> Content:
    labels = _labels(config, listing)
    samples = _samples(listing, series)
    windows = None
    if series is not None and config.series is not None and samples.time is not None:
        windows = align(series, config.series, samples.time, samples.group)
    covered = span(listing.bars, config.series)
    embargo = covered - 1 if config.split.embargo is None else config.split.embargo
    folds = split_images(samples, config.split, embargo)
    return Content(config, images, listing, series, labels, samples, windows, covered, embargo, folds)


def _labels(config: StoreConfig, listing: Listing) -> Labels:
    target, pictures = target_of(config), listing.pictures
    if target.kind == "single_label":
        folders = sorted(set().union(*listing.folders.values())) if listing.folders else []
        classes = ordered_classes([(one.label, one.number) for one in pictures], target.classes, folders)
        target = target.model_copy(update={"classes": classes})
    labels = encode([one.label for one in pictures], [one.id for one in pictures], target)
    refuse_other_number(labels.classes, config.target)
    if labels.repeated:
        logs.log.warning("labels: %d labels name a type twice; it counts once", labels.repeated)
    if len(labels.classes) < 2:
        raise InputError(f"store.images: one class only ({labels.classes[0]}); there is nothing to tell apart")
    return labels


def _samples(listing: Listing, series: Series | None) -> Samples:
    pictures = listing.pictures
    group = np.array([one.group for one in pictures], np.str_)
    time = date = None
    bar = np.zeros(len(pictures), np.int64)
    if listing.timed:
        time = _moments(pictures)
        date = np.array([f"{one.local:%Y-%m-%d}" for one in pictures], "datetime64[D]")
        bar = bar_numbers(time, group, series)
    given = np.array([one.split for one in pictures], np.str_)
    if not np.isin(given, ("", *SPLITS)).all():
        raise RuntimeError("splits are train, val or test")
    return Samples(given, time, date, group, np.array([one.label for one in pictures], np.str_), bar)


def _moments(pictures: Sequence[Picture]) -> NDArray[np.int64]:
    return np.array([microseconds(one.time) for one in pictures if one.time is not None], np.int64)
