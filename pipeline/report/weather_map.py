"""The pictures of the scheduled job: the weather map of a day with what is said of it, and a table of some days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.contour import ContourSet
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from pipeline.core.logs import log
from pipeline.report.style import BASE, FAINT, INK, MODEL, OTHER, key, look, new_figure, save, shortened, text_width

_STEP, _BOLD = 4, 20
"""hPa between isobars, and between thick ones."""
_MIDDLE, _SPAN = 1012, 32
"""hPa: the colours reach this far on both sides of the middle."""
_TINTS = LinearSegmentedColormap.from_list("pressure", ["#a9c4df", "#dfe9f2", "#ffffff", "#f8ead6", "#eec892"])
_SHADES = LinearSegmentedColormap.from_list("probability", ["#ffffff", "#cfe3f2", "#7fb5dc", MODEL, "#003d66"])
_FINE = 0.25
"""Degrees between the points that isobars are drawn through."""
_MAP_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH, _BARS = 5.6, 3.0, 8.0, 2.5
"""Inches; of the bars the width without their names."""
_CENTRES = {"H": "#1f4e9c", "L": "#b3261e"}
_SMALL = 7.5
_ROOM = (3.0, 2.2)
"""Degrees of longitude and latitude that a mark takes on the map of a continent's size."""
_COAST = ("physical", "coastline")
_RESOLUTIONS = ("50m", "110m", "10m")
_LEAST_DAYS, _LEAST_ROWS = 14, 9
_TIME = "%Y-%m-%d %H:%M"


class Pressure(Protocol):
    """Mean sea-level pressure."""

    @property
    def latitude(self) -> NDArray[np.float64]:
        """Degrees, descending."""

    @property
    def longitude(self) -> NDArray[np.float64]:
        """Degrees, ascending."""

    @property
    def values(self) -> NDArray[np.float64]:
        """hPa, latitude × longitude."""


def draw_day(path: Path, record: Mapping[str, Any], pressure: Pressure | None, dpi: int) -> None:
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


def _map_width(pressure: Pressure) -> float:
    """Return the inches at which the map, in its true proportions, fills the height."""
    height = float(np.ptp(pressure.latitude))
    width = float(np.ptp(pressure.longitude)) * _shrink(pressure)
    return float(np.clip((_MAP_HEIGHT - 0.5) * width / height, _LEAST_WIDTH, _MOST_WIDTH))


def _shrink(pressure: Pressure) -> float:
    return float(np.cos(np.deg2rad(np.mean(pressure.latitude))))


def _draw_map(axis: Axes, record: Mapping[str, Any], pressure: Pressure) -> None:
    longitude, latitude, values = _refined(pressure)
    levels = np.arange(np.floor(values.min() / _STEP) * _STEP, values.max() + _STEP, _STEP)
    between = np.arange(_MIDDLE - _SPAN, _MIDDLE + _SPAN + 1, _STEP)
    axis.contourf(longitude, latitude, values, levels=between, cmap=_TINTS, extend="both", zorder=0)
    _draw_coast(axis, pressure)
    widths = [1.7 if level % _BOLD == 0 else 0.8 for level in levels]
    lines = axis.contour(longitude, latitude, values, levels=levels, colors=INK, linewidths=widths, zorder=3)
    _label(axis, lines, record["centres"], pressure)
    for centre in record["centres"]:
        _mark(axis, centre)
    axis.set_aspect(1 / _shrink(pressure))
    axis.set_xlim(longitude[0], longitude[-1])
    axis.set_ylim(latitude[-1], latitude[0])
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60) if max(np.ptp(longitude), np.ptp(latitude)) / step <= 9)
    axis.xaxis.set_major_locator(MultipleLocator(step))
    axis.yaxis.set_major_locator(MultipleLocator(step))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda at, _: _degrees((at + 180) % 360 - 180, "E", "W")))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda at, _: _degrees(at, "N", "S")))
    axis.grid(color=BASE, linewidth=0.4, alpha=0.5, linestyle=(0, (2, 3)))
    axis.spines[["top", "right"]].set_visible(True)
    axis.set_title("mean sea-level pressure, isobars every 4 hPa", loc="left", fontsize=8, color=BASE)


def _refined(pressure: Pressure) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return longitude, latitude and values on a grid so fine that isobars are smooth; points of the field are kept."""
    axes, values = [pressure.latitude, pressure.longitude], pressure.values
    for place, axis in enumerate(axes):
        times = max(1, int(np.ceil(abs(axis[1] - axis[0]) / _FINE - 1e-6)))
        at = np.arange((len(axis) - 1) * times + 1) / times
        axes[place] = np.interp(at, np.arange(len(axis)), axis)
        values = _between(np.moveaxis(values, place, 0), at)
        values = np.moveaxis(values, 0, place)
    return axes[1], axes[0], values


def _between(values: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of ``values`` at fractional places by cubic convolution (Keys 1981, a = -1/2)."""
    first = np.minimum(at.astype(np.int64), len(values) - 2)
    t = (at - first)[:, None]
    ends = [2 * values[:1] - values[1:2], values, 2 * values[-1:] - values[-2:-1]]
    a, b, c, d = (np.concatenate(ends)[first + shift] for shift in range(4))
    return np.asarray(b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))


def _degrees(value: float, above: str, below: str) -> str:
    side = above if value > 0 else below if value < 0 else ""
    return f"{abs(value):g}°{side}"


def _label(axis: Axes, lines: ContourSet, centres: Sequence[Mapping[str, Any]], pressure: Pressure) -> None:
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


def _mark(axis: Axes, centre: Mapping[str, Any]) -> None:
    """Write the letter of a centre and its pressure below, on white so that lines do not cross them."""
    place, colour = (centre["longitude"], centre["latitude"]), _CENTRES[centre["kind"]]
    white = [withStroke(linewidth=3, foreground="white")]
    look_of: dict[str, Any] = {"ha": "center", "color": colour, "weight": "bold", "path_effects": white, "zorder": 6}
    axis.annotate(centre["kind"], place, (0, -1), textcoords="offset points", va="bottom", fontsize=14, **look_of)
    number = f"{centre['hpa']:.0f}"
    axis.annotate(number, place, (0, -1), textcoords="offset points", va="top", fontsize=8, **look_of)


def _draw_coast(axis: Axes, pressure: Pressure) -> None:
    """Draw coastlines where cartopy and its data are installed; nothing is fetched."""
    west, east = float(pressure.longitude[0]), float(pressure.longitude[-1])
    lines = _coastlines()
    # A map may count its longitudes beyond 180°, or from below −180° on.
    shifted = [line + np.array([turn, 0]) for line in lines for turn in (-360, 0, 360)]
    near = [line for line in shifted if line[:, 0].max() >= west and line[:, 0].min() <= east]
    axis.add_collection(LineCollection(near, colors="#6b7a5a", linewidths=0.8, zorder=2), autolim=False)


def _coastlines() -> list[NDArray[np.float64]]:
    """Return coastlines of Natural Earth as points of longitude and latitude; none where they are not installed."""
    if find_spec("cartopy") is None:
        return []
    reader, category, name = import_module("cartopy.io.shapereader"), *_COAST
    downloader = import_module("cartopy.io").Downloader
    for resolution in _RESOLUTIONS:
        words = {"resolution": resolution, "category": category, "name": name}
        words["config"] = import_module("cartopy").config
        source = downloader.from_config(("shapefiles", "natural_earth", resolution, category, name))
        for file in (source.pre_downloaded_path(words), source.target_path(words)):
            if file is not None and Path(file).exists():
                shapes = reader.Reader(str(file)).geometries()
                return [np.asarray(line.coords)[:, :2] for shape in shapes for line in getattr(shape, "geoms", [shape])]
    log.info("no coastlines on the map: cartopy is installed, its Natural Earth data are not")
    return []


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
