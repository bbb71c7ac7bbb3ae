"""The pictures of the scheduled job: the weather map of a day with what is said of it, and a table of some days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.contour import ContourSet
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from pipeline.contract.pressure import PressureMap
from pipeline.report.coast import draw_coast
from pipeline.report.fields import ISOBARS, THICK, TINTS, Grid, isobars, mark, name_degrees, smooth
from pipeline.report.style import BASE, FAINT, INK, MODEL, OTHER, key, look, new_figure, save, shortened, text_width

_MIDDLE, _SPAN = 1012, 32
"""hPa: the colours reach this far on both sides of the middle."""
_SHADES = LinearSegmentedColormap.from_list("probability", ["#ffffff", "#cfe3f2", "#7fb5dc", MODEL, "#003d66"])
_ACROSS = 160
"""Cells on the longer side of the map that isobars are drawn through, or more."""
_MAP_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH, _BARS = 5.6, 3.0, 8.0, 2.5
"""Inches; of the bars the width without their names."""
_SMALL = 7.5
_ROOM = (3.0, 2.2)
"""Degrees of longitude and latitude that a mark takes on the map of a continent's size."""
_LEAST_DAYS, _LEAST_ROWS = 14, 9
_TIME = "%Y-%m-%d %H:%M"


def draw_day(path: Path, record: Mapping[str, Any], pressure: PressureMap | None, dpi: int) -> None:
    """Draw the map of a day beside the calibrated probabilities of its types.

    Args:
        path: the PNG file.
        record: of the day, as ``docs/daily.md`` describes it.
        pressure: isobars are drawn of; without it there are the probabilities only.
        dpi: dots per inch.
    """
    classes = record["classes"]
    labels = record["joiner"].join(record["labels"]) or "no type reaches its threshold"
    with look([*classes, labels]):
        left = _map_width(pressure) if pressure is not None else 0.0
        width = left + _BARS + 0.075 * max(text_width(shortened(name)) for name in classes) + 0.6 + 0.6 * bool(left)
        day = date.fromisoformat(record["date"])
        height = _MAP_HEIGHT if pressure is not None else max(2.0, 0.26 * len(classes) + 0.6)
        figure = new_figure(width, height, f"{day:%Y-%m-%d %a}   {labels}", _detail(record), _legend(record))
        if pressure is None:
            _draw_bars(figure.subplots(), record)
        else:
            axes = figure.subplots(1, 2, width_ratios=[left, _BARS])
            _draw_map(axes[0], record, pressure)
            _draw_bars(axes[1], record, _LEAST_ROWS)
        save(figure, path, dpi)


def _detail(record: Mapping[str, Any]) -> str:
    return f"{record['data']} · {_moment(record)} · {record['run']['name']}"


def _moment(record: Mapping[str, Any]) -> str:
    """Return the time of the map, in UTC and in the zone of the days."""
    time = datetime.fromisoformat(record["times"][0])
    local = time.astimezone(ZoneInfo(record["timezone"]))
    here = f" ({local:%H:%M %Z})" if local.utcoffset() else ""
    more = f", mean of {len(record['times'])} times" if len(record["times"]) > 1 else ""
    return f"{time:{_TIME}} UTC{here}{more}"


def _legend(record: Mapping[str, Any]) -> list[Line2D | Patch]:
    entries: list[Line2D | Patch] = [Patch(color=MODEL, label="predicted"), Patch(color=FAINT, label="not predicted")]
    if any(limit is not None for limit in record["thresholds"].values()):
        entries.append(key("threshold", OTHER, marker="|"))
    return entries


# --- map -------------------------------------------------------------------------------------------------------------


def _map_width(pressure: PressureMap) -> float:
    """Return the inches at which the map, in its true proportions, fills the height."""
    width, height = float(np.ptp(pressure.longitude)) / _grid(pressure).stretch, float(np.ptp(pressure.latitude))
    return float(np.clip((_MAP_HEIGHT - 0.5) * width / height, _LEAST_WIDTH, _MOST_WIDTH))


def _grid(pressure: PressureMap) -> Grid:
    return Grid(pressure.latitude, pressure.longitude)


def _draw_map(axis: Axes, record: Mapping[str, Any], pressure: PressureMap) -> None:
    grid, values = smooth(_grid(pressure), pressure.values, _ACROSS)
    longitude, latitude = grid.longitude, grid.latitude
    levels = isobars(values)
    between = np.arange(_MIDDLE - _SPAN, _MIDDLE + _SPAN + 1, ISOBARS)
    axis.contourf(longitude, latitude, values, levels=between, cmap=TINTS, extend="both", zorder=0)
    draw_coast(axis, float(longitude.min()), float(longitude.max()))
    widths = [1.7 if level % THICK == 0 else 0.8 for level in levels]
    lines = axis.contour(longitude, latitude, values, levels=levels, colors=INK, linewidths=widths, zorder=3)
    _label(axis, lines, record["centres"], pressure)
    for centre in record["centres"]:
        mark(axis, centre, 14, 8)
    axis.set_aspect(grid.stretch)
    axis.set_xlim(longitude.min(), longitude.max())
    axis.set_ylim(latitude.min(), latitude.max())
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60) if max(np.ptp(longitude), np.ptp(latitude)) / step <= 9)
    axis.xaxis.set_major_locator(MultipleLocator(step))
    axis.yaxis.set_major_locator(MultipleLocator(step))
    name_degrees(axis)
    axis.grid(color=BASE, linewidth=0.4, alpha=0.5, linestyle=(0, (2, 3)))
    axis.spines[["top", "right"]].set_visible(True)
    axis.set_title(f"mean sea-level pressure, isobars every {ISOBARS:.0f} hPa", loc="left", fontsize=8, color=BASE)


def _label(axis: Axes, lines: ContourSet, centres: Sequence[Mapping[str, Any]], pressure: PressureMap) -> None:
    """Write the values of isobars into them, but not under the marks of centres nor over the edge."""

    def free(at: tuple[float, float]) -> bool:
        inside = all(
            min(abs(place - axis_of[0]), abs(place - axis_of[-1])) > room / 2
            for place, axis_of, room in zip(at, (pressure.longitude, pressure.latitude), _ROOM, strict=True)
        )
        covered = (
            abs(at[0] - centre["longitude"]) < _ROOM[0] and abs(at[1] - centre["latitude"]) < _ROOM[1]
            for centre in centres
        )
        return inside and not any(covered)

    tried = axis.clabel(lines, fontsize=_SMALL, inline=False)
    places = [label.get_position() for label in tried if free(label.get_position())]
    for label in tried:
        label.remove()
    if not places:
        return
    for label in axis.clabel(lines, fmt="%d", fontsize=_SMALL, inline=True, inline_spacing=3, manual=places):
        label.set_path_effects([withStroke(linewidth=1.5, foreground="white")])


# --- probabilities ---------------------------------------------------------------------------------------------------


def _draw_bars(axis: Axes, record: Mapping[str, Any], least: int = 0) -> None:
    """Draw a bar for each class, in the order of the run; there is room for ``least``, so that few are not huge."""
    classes, said = record["classes"], set(record["labels"])
    values = [record["probability"][name] for name in classes]
    rows = np.arange(len(classes))
    axis.barh(rows, values, 0.72, color=[MODEL if name in said else FAINT for name in classes], zorder=2)
    for row, (name, value) in enumerate(zip(classes, values, strict=True)):
        limit = record["thresholds"][name]
        if limit is not None:
            axis.plot([limit, limit], [row - 0.4, row + 0.4], color=OTHER, linewidth=1.3, zorder=3)
        weight = "bold" if name in said else "normal"
        axis.text(1.02, row, _percent(value), ha="left", va="center", fontsize=8, weight=weight, clip_on=False)
    axis.set_yticks(rows, [shortened(name) for name in classes])
    for name, label in zip(classes, axis.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if name in said else "normal")
    axis.set_ylim(max(len(classes), least) - 0.4, -0.6)
    axis.set_xlim(0, 1.15)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    axis.spines["bottom"].set_bounds(0, 1)
    axis.tick_params(axis="y", length=0)
    axis.set_title("calibrated probability", loc="left", fontsize=8, color=BASE)


def _percent(value: float) -> str:
    """Return a probability in percent, never 0 or 100 where it is not."""
    if 0 < value < 0.005:
        return "<1"
    return ">99" if 0.995 <= value < 1 else f"{100 * value:.0f}"


# --- some days -------------------------------------------------------------------------------------------------------


def draw_recent(path: Path, records: Sequence[Mapping[str, Any]], dpi: int) -> None:
    """Draw a table of consecutive days: classes down, days across, shaded by probability, dots where predicted.

    Args:
        path: the PNG file.
        records: of days in order, at least one of them classified; a day between them may be missing.
        dpi: dots per inch.
    """
    known = {date.fromisoformat(record["date"]): record for record in records}
    classes = list(dict.fromkeys(name for record in records for name in record.get("classes", ())))
    last = max(known)
    first = min(*known, last - timedelta(_LEAST_DAYS - 1))
    days = [first + timedelta(number) for number in range((last - first).days + 1)]
    table = np.full((len(classes), len(days)), np.nan)
    for column, day in enumerate(days):
        for name, value in known.get(day, {}).get("probability", {}).items():
            table[classes.index(name), column] = value
    legend = [key("predicted", INK, marker="o"), Patch(color=FAINT, label="not classified")]
    if any(record.get("data") == "ERA5T" for record in records):
        legend.append(key("preliminary (ERA5T)", OTHER, marker="s"))
    with look(classes):
        width, height = 1.6 + 0.3 * len(days), 0.26 * len(classes) + 1.0
        figure = new_figure(
            max(width, 6.0), height, "Weather types", f"{first} to {last}, calibrated probability", legend
        )
        axis = figure.subplots()
        _draw_table(axis, table, dpi)
        for column, day in enumerate(days):
            _note_day(axis, column, known.get(day, {}), classes)
        _name_table(axis, days, classes)
        image = axis.images[0]
        figure.colorbar(
            image, ax=axis, fraction=0.03, pad=0.01, ticks=[0, 0.5, 1], format=lambda v, _: f"{100 * v:.0f} %"
        )
        save(figure, path, dpi)


def _draw_table(axis: Axes, table: NDArray[np.float64], dpi: int) -> None:
    colours = _SHADES.with_extremes(bad=FAINT)
    axis.imshow(np.ma.masked_invalid(table), cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    rows, columns = table.shape
    axis.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=1.2)
    axis.tick_params(which="minor", length=0)
    axis.spines[:].set_visible(False)


def _note_day(axis: Axes, column: int, record: Mapping[str, Any], classes: Sequence[str]) -> None:
    for name in record.get("labels", ()):
        row = classes.index(name)
        dark = record["probability"][name] > 0.55
        axis.plot(column, row, "o", markersize=4.5, color="white" if dark else INK, zorder=3)
    if record.get("data") == "ERA5T":
        axis.plot(column, -0.85, "s", markersize=3.5, color=OTHER, clip_on=False)


def _name_table(axis: Axes, days: Sequence[date], classes: Sequence[str]) -> None:
    every = max(1, -(-len(days) // 16))
    axis.set_xticks(range(0, len(days), every), [f"{day:%d}\n{day:%b}" for day in days[::every]], fontsize=7.5)
    axis.set_yticks(range(len(classes)), [shortened(name) for name in classes])
    axis.tick_params(which="major", length=0)
