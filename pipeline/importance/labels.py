"""The class of each row of a series: from a column, a CSV file, names of images, or a return over the next rows."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.core import logs
from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.core.times import zone
from pipeline.importance.config import ImportanceConfig
from pipeline.importance.indicators import DAY, log_return
from pipeline.importance.sections import RuleConfig
from pipeline.importance.series import Series
from pipeline.importance.sheet import NO_LABEL, microseconds, read_sheet

Texts = NDArray[np.str_]
_NAME = re.compile(
    r"(?P<dataset>.+)_(?P<timeframe>\d+(?:min|mo|[smhdwMHDW]))_(?P<day>\d{8})_?(?P<clock>\d{4})(?:_label_\d+)?"
)
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def row_classes(config: ImportanceConfig, home: Path, series: list[Series]) -> list[Texts]:
    """Return the class of each row of each series; empty text where it has none.

    Raises:
        InputError: the source of labels cannot be read, or goes with no row.
    """
    labels = config.labels
    place = zone(config.data.timezone, "data.timezone")
    if labels.rule is not None:
        return [by_rule(one, labels.rule) for one in series]
    if labels.file:
        return _by_file(config, home / labels.file, series, place)
    if labels.images:
        return _by_images(labels.images, home, series, place)
    return [np.array(one.classes, np.str_) for one in series]


def by_rule(series: Series, rule: RuleConfig) -> Texts:
    """Return ``up``, ``flat`` or ``down`` by the return over the next ``horizon`` rows.

    Raises:
        InputError: there is no such column.
    """
    if rule.column not in series.columns:
        names = list(series.columns)
        raise InputError(f"labels.rule.column: no column {rule.column!r}{near(rule.column, names)}")
    past = log_return(series.columns[rule.column], rule.horizon)[rule.horizon :]
    ahead = np.concatenate([past, np.full(len(series.time) - len(past), np.nan)])
    flat = "flat" if rule.dead_band > 0 else ""
    classes = np.where(ahead > rule.dead_band, "up", np.where(ahead < -rule.dead_band, "down", flat))
    return np.where(np.isnan(ahead), "", classes)


def _by_file(config: ImportanceConfig, path: Path, series: list[Series], place: ZoneInfo) -> list[Texts]:
    sheet = read_sheet(path, "labels.file")
    column = config.labels.column or "label"
    sheet.need([column], "labels.column")
    time_column = sheet.time_column("", "its header")
    time = sheet.times(time_column, place)
    daily = all(len(text) <= len("2024-01-31") for text in sheet.column(time_column))
    owners = sheet.column("dataset_id") if "dataset_id" in sheet.header else [""] * len(time)
    known: dict[tuple[str, int], str] = {}
    for row, text in enumerate(sheet.column(column)):
        key = (owners[row], int(time[row]))
        if key in known:
            raise InputError(f"{path}:{sheet.lines[row]}: a second label of this time; keep one")
        known[key] = "" if text.lower() in NO_LABEL else text
    return _matched(known, series, daily, f"labels.file: {path}", place)


def _by_images(folders: list[str], home: Path, series: list[Series], place: ZoneInfo) -> list[Texts]:
    known: dict[tuple[str, int], str] = {}
    names = {one.name for one in series}
    for folder in folders:
        files = sorted(path for path in (home / folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
        if not files:
            raise InputError(f"labels.images: {home / folder}: no image in this folder")
        for path in files:
            found = _NAME.fullmatch(path.stem)
            if found is None:
                raise InputError(
                    f"labels.images: {path}: expected {{dataset}}_{{timeframe}}_{{YYYYMMDD}}_{{HHMM}}_label_{{k}}.png"
                )
            framed = f"{found['dataset']}_{found['timeframe']}"
            owner = "" if len(series) == 1 else framed if framed in names else found["dataset"]
            key = (owner, _moment(path, found["day"] + found["clock"], place))
            if known.setdefault(key, path.parent.name) != path.parent.name:
                raise InputError(f"labels.images: {path}: an image of this time is in {known[key]!r} as well; keep one")
    return _matched(known, series, False, "labels.images", place)


def _moment(path: Path, digits: str, place: ZoneInfo) -> int:
    try:
        return microseconds(datetime.strptime(digits, "%Y%m%d%H%M"), place)
    except ValueError:
        raise InputError(f"labels.images: {path}: {digits} is not a date and time (YYYYMMDDHHMM)") from None


def _matched(
    known: dict[tuple[str, int], str], series: list[Series], daily: bool, origin: str, place: ZoneInfo
) -> list[Texts]:
    """Give labels to the rows of their time, or of their day (in ``place``)."""
    result = []
    used = set[tuple[str, int]]()
    for one in series:
        keys = _days(one, place, origin) if daily else one.time.tolist()
        pairs = [next((key for key in ((one.name, moment), ("", moment)) if key in known), None) for moment in keys]
        used |= {key for key in pairs if key is not None}
        result.append(np.array([known[key] if key else "" for key in pairs], np.str_))
    if not used:
        raise InputError(f"{origin}: no label has the time of a row; times are compared in UTC, see data.timezone")
    if len(used) < len(known):
        logs.log.info("%s: %d of %d labels go with no row", origin, len(known) - len(used), len(known))
    return result


def _days(series: Series, place: ZoneInfo, origin: str) -> list[int]:
    """Return the midnight (in UTC) of the local day of each row."""
    local = local_times(series.time, place)
    if len(np.unique(local // DAY)) < len(local):
        raise InputError(f"{origin}: dates without a clock, but {series.name} has several rows a day; give times")
    return [microseconds(datetime.fromisoformat(str(np.datetime64(int(day), "D"))), place) for day in local // DAY]


def local_times(time: NDArray[np.int64], place: ZoneInfo) -> NDArray[np.int64]:
    """Return times of UTC (microseconds) as shown by the clocks of ``place``."""
    if place.key == "UTC":
        return time
    shown = np.empty_like(time)
    for row, moment in enumerate(time.tolist()):
        offset = datetime.fromtimestamp(moment / 1e6, place).utcoffset()
        shown[row] = moment + (int(offset.total_seconds() * 1e6) if offset else 0)
    return shown


def class_names(config: ImportanceConfig, rows: list[Texts]) -> tuple[str, ...]:
    """Return the classes in their order.

    Raises:
        InputError: there are fewer than two, or one that the config names does not occur.
    """
    found = sorted({text for texts in rows for text in np.unique(texts).tolist()} - {""})
    wanted = config.labels.classes
    absent = [name for name in wanted if name not in found]
    if absent:
        raise InputError(f"labels.classes: {shorten(absent)} does not occur; the labels are {shorten(found, 20)}")
    chosen = tuple(wanted or found)
    if len(chosen) < 2:
        raise InputError(f"labels: {len(chosen)} class ({shorten(chosen)}); at least two are needed")
    return chosen
