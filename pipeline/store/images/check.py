"""A look at what a store would hold, before it is made: counts, sizes, ranges, alignment, a contact sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import DEFAULT_FOLD, SPLITS
from pipeline.core import logs
from pipeline.core.artifact import writing
from pipeline.core.errors import shorten
from pipeline.store.config import StoreConfig
from pipeline.store.images.content import Content, read_content
from pipeline.store.images.decode import cores
from pipeline.store.images.pictures import Picture
from pipeline.store.images.pixels import BrokenImage, Fit, Pixels, decode, fit_of, header, read_bytes
from pipeline.store.images.preflight import preflight, table
from pipeline.store.images.sheet import Row, Thumbnail, draw_sheet
from pipeline.store.images.windows import Windows

_ALIGNED = 10
_PER_SPLIT = {"train": 4, "val": 2, "test": 2}
_MOST_CLASSES = 40


def check_images(config: StoreConfig, root: Path, home: Path, dataset: str) -> tuple[str, Path]:
    """Return what the settings would store, as text, and the path of a contact sheet, ``root/check.png``.

    Headers of all files are read; only the images of the sheet are decoded.

    Raises:
        InputError: as for the making of the store, but files that cannot be read are listed.
        EnvironmentFault: the sheet cannot be written.
    """
    content = read_content(config, home)
    fit = fit_of(content.images)
    sheet = root / "check.png"
    rows, values = _rows(content, fit)
    report = preflight(content, {})
    for line in report["warnings"]:
        logs.log.warning("%s", line)
    stored = "as the files" if fit.size is None else f"{fit.size[0]} × {fit.size[1]} ({fit.policy})"
    with writing(sheet) as part:
        draw_sheet(
            f"{dataset}: {len(content.pictures)} images of {len(content.labels.classes)} classes",
            f"stored {stored}; evenly spread over each class and split",
            rows,
        ).save(part, "PNG")
    parts = [table(report), "", *_headers(content, fit), f"stored size: {stored}", *values, *_series(content)]
    return "\n".join(parts), sheet


def _headers(content: Content, fit: Fit) -> Iterator[str]:
    """Yield how many files there are of each size, mode and format, and those whose header cannot be read."""

    def look(picture: Picture) -> tuple[tuple[int, int], str, str] | str:
        try:
            return header(read_bytes(picture.path), fit.max_pixels)
        except BrokenImage as error:
            return f"{picture.id}: {error}"

    with ThreadPoolExecutor(cores(content.images.workers)) as pool:
        found = list(pool.map(look, content.pictures))
    facts = [entry for entry in found if not isinstance(entry, str)]
    sizes = Counter(f"{size[0]} × {size[1]}" for size, _, _ in facts)
    kinds = Counter(f"{kind} {mode}" for _, mode, kind in facts)
    yield f"height × width: {_counted(sizes)}"
    yield f"format and mode: {_counted(kinds)}"
    broken = [entry for entry in found if isinstance(entry, str)]
    if broken:
        yield f"cannot be read: {len(broken)} files: {shorten(broken)}"


def _counted(counts: Counter[str]) -> str:
    return shorten(f"{name} ({count} files)" for name, count in counts.most_common())


def _rows(content: Content, fit: Fit) -> tuple[list[Row], list[str]]:
    """Return the rows of the sheet, and lines on the values of the images in it."""
    marks = content.folds[DEFAULT_FOLD]
    rows, histograms = [], []
    classes = content.labels.classes
    for number, name in enumerate(classes[:_MOST_CLASSES]):
        mine = content.labels.target[:, number] == 1
        thumbnails = []
        for place in _spread(mine, marks):
            pixels = _decoded(content.pictures[place], fit)
            if pixels is not None:
                histograms.append(pixels.histogram)
            shown = None if pixels is None else pixels.values
            thumbnails.append(Thumbnail(shown, str(marks[place]), _caption(content.pictures[place])))
        counts = [f"{split} {int((mine & (marks == split)).sum())}" for split in SPLITS]
        rows.append(Row(name, "\n".join(counts), thumbnails))
    if len(classes) > _MOST_CLASSES:
        logs.log.info("the sheet shows the first %d of %d classes", _MOST_CLASSES, len(classes))
    return rows, _values(histograms)


def _spread(mine: NDArray[np.bool_], marks: NDArray[np.str_]) -> list[int]:
    """Choose images of a class evenly over each split."""
    chosen = list[int]()
    for split, count in _PER_SPLIT.items():
        rows = np.flatnonzero(mine & (marks == split))
        chosen += rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))].tolist()
    return chosen


def _decoded(picture: Picture, fit: Fit) -> Pixels | None:
    try:
        return decode(read_bytes(picture.path), fit)
    except BrokenImage:
        return None


def _caption(picture: Picture) -> str:
    return picture.path.stem if picture.local is None else f"{picture.local:%Y-%m-%d %H:%M}"


def _values(histograms: Sequence[NDArray[np.int64]]) -> list[str]:
    if not histograms:
        return []
    total, levels = np.sum(histograms, axis=0), np.arange(256)
    parts = []
    for name, counts in zip(("red", "green", "blue"), total, strict=True):
        there = np.flatnonzero(counts)
        parts.append(f"{name} {there[0]} to {there[-1]}, mean {(counts @ levels) / counts.sum():.1f}")
    return [f"values of {len(histograms)} images: {'; '.join(parts)}"]


def _series(content: Content) -> Iterator[str]:
    windows, time = content.windows, content.samples.time
    if windows is None or time is None:
        return
    yield ""
    yield f"windows: {windows.size} rows × {len(windows.features)} features"
    yield f"{'feature':<20}{'min':>12}{'mean':>12}{'max':>12}{'empty':>8}"
    rows = np.concatenate([bars.values for bars in windows.bars])
    for name, column in zip(windows.features, rows.T, strict=True):
        valid = column[~np.isnan(column)]
        low, mean, high = (valid.min(), valid.mean(), valid.max()) if len(valid) else (np.nan,) * 3
        yield f"{name:<20}{low:>12.5g}{mean:>12.5g}{high:>12.5g}{len(column) - len(valid):>8}"
    yield ""
    yield f"{'time of the image':<21}{'first row':<21}{'last row':<21}{'rows':>5}  image"
    for place in np.unique(np.linspace(0, len(time) - 1, min(_ALIGNED, len(time))).astype(int)).tolist():
        yield f"{_stamp(int(time[place])):<21}{_edges(windows, place)}  {content.pictures[place].id}"


def _edges(windows: Windows, place: int) -> str:
    bars, steps = windows.bars[windows.series[place]], int(windows.steps[place])
    first, last = (int(edge[place]) for edge in (windows.first, windows.last))
    ends = [_stamp(int(bars.time[row])) for row in (first, last)] if steps else ["-", "-"]
    return f"{ends[0]:<21}{ends[1]:<21}{steps:>5}"


def _stamp(moment: int) -> str:
    return f"{np.datetime64(moment, 'us').astype('datetime64[s]')}Z"
