"""New images, with or without windows of series: decoded and aligned like those of the training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import InputSpec
from pipeline.core.errors import InputError, shorten
from pipeline.core.logs import log
from pipeline.core.times import read_time, to_utc, zone
from pipeline.predict.config import PredictConfig
from pipeline.predict.finished import FinishedRun
from pipeline.predict.given import Given
from pipeline.predict.samples import Piece, Samples, plain_piece
from pipeline.store.images.names import EXPECTED, Name, parse_name
from pipeline.store.images.pixels import BrokenImage, Fit, decode, fit_of, read_bytes
from pipeline.store.images.series import microseconds, read_series
from pipeline.store.images.table import csv_rows
from pipeline.store.images.windows import Windows, align

IMAGE, SERIES = "image", "series"
_MOST_TOLD = 5
_WINDOW_BYTES = 1 << 26
Specs = Mapping[str, InputSpec]


@dataclass(frozen=True)
class Chart:
    """An image file and what is known of it before it is opened."""

    path: Path
    id: str
    group: str = ""
    time: datetime | None = None
    """UTC, without a zone."""
    local: datetime | None = None
    """As written."""


@dataclass
class Charts:
    """New images in order of time, of their paths where they have none."""

    run: FinishedRun
    specs: Specs
    charts: list[Chart]
    windows: Windows | None
    fit: Fit
    workers: int
    skip_broken: bool
    _held: tuple[int, NDArray[np.float32]] = (0, np.empty(0, np.float32))
    """Number of the first window in memory, and the windows."""

    @property
    def samples(self) -> Samples:
        """All images."""
        times = ["" if one.time is None else f"{one.time.isoformat(timespec='seconds')}Z" for one in self.charts]
        dates = ["" if one.local is None else f"{one.local:%Y-%m-%d}" for one in self.charts]
        columns = [one.id for one in self.charts], times, dates, [one.group for one in self.charts]
        return Samples(*(np.array(column, np.str_) for column in columns))

    def piece(self, first: int, last: int) -> Piece:
        """Read the images and windows from number ``first`` up to, not including, ``last``."""
        arrays: dict[str, NDArray[Any]] = {}
        bad = np.zeros(last - first, np.bool_)
        if IMAGE in self.specs:
            arrays[IMAGE], bad = self._images(self.charts[first:last])
        if SERIES in self.specs and self.windows is not None:
            arrays[SERIES] = self._series(self.windows, first, last)
        piece = plain_piece(arrays, last - first)
        return Piece(arrays, bad, piece.filled, piece.strange, piece.strangest)

    def _series(self, windows: Windows, first: int, last: int) -> NDArray[np.float32]:
        """Return standardised windows, n × T × F; those of many samples are made at once and kept."""
        start, held = self._held
        if not (start <= first and last <= start + len(held)):
            size = windows.size * len(windows.features) * 4
            rows = np.zeros(len(windows), np.bool_)
            rows[first : max(last, first + _WINDOW_BYTES // size)] = True
            start, held = first, np.concatenate(list(windows.take(rows).blocks(self.run.scale(SERIES))))
            self._held = start, held
        return held[first - start : last - start]

    def _images(self, charts: Sequence[Chart]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return pixels, n × 3 × H × W, and which files cannot be read.

        Raises:
            InputError: one cannot, and may not be left out; or it has another size than those of the training.
        """
        pixels = np.zeros((len(charts), *self.specs[IMAGE].shape), np.uint8)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="predict-image") as pool:
            faults = list(pool.map(self._decode, charts, pixels))
        found = {one.id: fault for one, fault in zip(charts, faults, strict=True) if fault}
        if found and not self.skip_broken:
            lines = [f"{one.path}: {found[one.id]}" for one in charts if one.id in found]
            advice = "; mend or remove it, or use --skip-broken"
            raise InputError("\n".join(line + advice for line in lines[:_MOST_TOLD]))
        for name, fault in found.items():
            log.warning("%s is left out: %s", name, fault)
        return pixels, np.array([bool(fault) for fault in faults], np.bool_)

    def _decode(self, chart: Chart, row: NDArray[np.uint8]) -> str:
        """Decode a file into ``row`` (3 × H × W); return why it cannot be read, or nothing."""
        try:
            values = decode(read_bytes(chart.path), self.fit).values.transpose(2, 0, 1)
        except BrokenImage as error:
            return str(error)
        if values.shape != row.shape:
            raise InputError(
                f"{chart.path}: {values.shape[1]} × {values.shape[2]} pixels (height × width), {self.run.name} was "
                f"trained on {row.shape[1]} × {row.shape[2]} (store.images.size was not set); bring it to that size"
            )
        row[...] = values
        return ""


def open_charts(run: FinishedRun, specs: Specs, given: Given, config: PredictConfig) -> Charts:
    """List new images, and find the windows of their series if the run reads them.

    Raises:
        InputError: no images, no series, or names, times or numbers that are not as they must be.
    """
    images = run.settings.store.images
    if images is None:
        raise RuntimeError("not a run of images")
    charts = _list(given, images.timezone, images.names != "any")
    if not charts:
        raise InputError(f"command line: no image among the new files; {run.name} was trained on images")
    windows = _windows(run, specs[SERIES], charts, given.series) if SERIES in specs else None
    workers = config.workers or len(os.sched_getaffinity(0))
    return Charts(run, specs, charts, windows, fit_of(images), workers, config.skip_broken)


def _list(given: Given, timezone: str, read_names: bool) -> list[Chart]:
    place = zone(timezone, "store.images.timezone")
    charts = [one for path in given.lists for one in _listed(path, place)]
    files = [Chart(path, path.relative_to(given.base).as_posix()) for path in given.images]
    charts += _named(files, place) if read_names else files
    twice = len({one.id for one in charts}) < len(charts)
    charts = [Chart(one.path, str(one.path), one.group, one.time, one.local) for one in charts] if twice else charts
    first = datetime.min
    return sorted(charts, key=lambda one: (one.time or first, one.id))


def _listed(table: Path, place: ZoneInfo) -> Iterator[Chart]:
    """Yield the images of a CSV list with the columns ``file`` and, where known, ``time`` and ``group``."""
    rows = csv_rows(table, "new files")
    _, header = next(rows)
    for line, cells in rows:
        row = dict(zip(header, cells, strict=True))
        path, time = table.parent / row["file"], None
        if not row["file"] or not path.is_file():
            raise InputError(f"{table}:{line}: {row['file'] or 'empty file name'}: no such file (looked for {path})")
        if row.get("time"):
            time = read_time(row["time"])
            if time is None:
                raise InputError(f"{table}:{line}: time {row['time']!r}; expected a time such as 2024-01-31 09:15")
        utc = None if time is None else to_utc(time, place)
        yield Chart(path, row["file"], row.get("group", ""), utc, None if time is None else time.replace(tzinfo=None))


def _named(charts: list[Chart], place: ZoneInfo) -> list[Chart]:
    """Add times and groups where all names follow the convention."""
    parsed = [parse_name(one.path.stem) for one in charts]
    names = [name for name in parsed if name is not None]
    if len(names) < len(charts):
        if names:
            wrong = [one.id for one, name in zip(charts, parsed, strict=True) if name is None]
            log.warning("%d of %d names give no time (%s): none is used", len(wrong), len(charts), shorten(wrong, 3))
        return charts
    frames: dict[str, set[str]] = {}
    for name in names:
        frames.setdefault(name.dataset, set()).add(name.timeframe)

    def group(name: Name) -> str:
        return name.dataset if len(frames[name.dataset]) == 1 else f"{name.dataset}_{name.timeframe}"

    return [
        Chart(one.path, one.id, group(name), to_utc(name.time, place), name.time)
        for one, name in zip(charts, names, strict=True)
    ]


def _windows(run: FinishedRun, spec: InputSpec, charts: Sequence[Chart], files: Sequence[Path]) -> Windows:
    """Find the window of each image; features are taken by name, in the order of the training."""
    series = run.settings.store.series
    if series is None:
        raise RuntimeError("not a run with series")
    if not files:
        raise InputError(
            f"command line: {run.name} reads windows of {spec.shape[0]} rows of {shorten(spec.channels)}; give the CSV "
            "file of the series as well"
        )
    late = [one.id for one in charts if one.time is None]
    if late:
        raise InputError(f"{late[0]}: no time, so its window of the series cannot be found; name images {EXPECTED}")
    own = series.model_copy(update={"files": [str(path) for path in files], "feature_columns": list(spec.channels)})
    groups = np.array([one.group for one in charts], np.str_)
    time = np.array([microseconds(one.time) for one in charts if one.time is not None], np.int64)
    try:
        windows = align(read_series(own, Path(), sorted(set(groups.tolist()))), own, time, groups)
    except InputError as error:
        text = str(error)
        raise InputError(text.replace("store.series.files: ", "new files: ").replace("store.series: ", "")) from None
    empty = int((windows.steps == 0).sum())
    if empty:
        log.warning("series: %d of %d images have no row in their window; only the image speaks", empty, len(charts))
    return windows
