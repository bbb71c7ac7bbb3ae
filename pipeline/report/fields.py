"""A map of a day: isobars every 4 hPa with highs and lows, or the next best of the fields that there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.contract.pressure import Centre, PressureMap
from pipeline.contract.scores import Floats
from pipeline.report.coast import draw_coast
from pipeline.report.style import BASE, INK

ISOBARS, THICK = 4.0, 20.0
"""hPa between isobars, and between the thick ones."""
_MIDDLE, _SPREAD = 1012.0, 34.0
"""hPa of the middle colour, and from there to the outermost."""
TINTS = LinearSegmentedColormap.from_list("pressure", ["#9dbbd9", "#dfe9f2", "#ffffff", "#f8ead6", "#ecc188"])
_COLOURS = {"H": "#1f4e9c", "L": "#b3261e"}
_ACROSS = 120
"""Cells on the longer side of a panel: coarser maps are interpolated, so that lines do not look broken."""


@dataclass(frozen=True)
class Grid:
    """Where the values of a map are: degrees of latitude (H) and longitude (W), each ascending or descending."""

    latitude: Floats
    longitude: Floats

    @property
    def stretch(self) -> float:
        """How much longer a degree of latitude is than one of longitude, in the middle; at most 5."""
        return 1 / max(float(np.cos(np.deg2rad((self.latitude.min() + self.latitude.max()) / 2))), 0.2)


def draw_day(axis: Axes, grid: Grid, fields: Mapping[str, Floats], units: Mapping[str, str]) -> None:
    """Draw the fields of one day that say most about its weather, as :func:`what_is_drawn` tells in words.

    Pressure at sea level as isobars, else geopotential as height lines; without either, the first vorticity or the
    first field as colours, and wind as arrows.

    Args:
        axis: an empty panel.
        grid: where values are.
        fields: H × W values by channel, in ``units``.
        units: of each channel.
    """
    _frame(axis, grid)
    draw_coast(axis, float(grid.longitude.min()), float(grid.longitude.max()))
    kind, names = _chosen(units)
    if kind == "isobars":
        _isobars(axis, grid, fields[names[0]] * (0.01 if units[names[0]] == "Pa" else 1.0))
    elif kind == "lines":
        _lines(axis, *smooth(grid, fields[names[0]]))
    else:
        _shade(axis, grid, fields[names[0]])
        if len(names) == 3:
            _arrows(axis, grid, fields[names[1]], fields[names[2]])


def what_is_drawn(units: Mapping[str, str]) -> str:
    """Return in words what :func:`draw_day` shows of fields with these units."""
    kind, names = _chosen(units)
    told = f"{names[0]} ({units[names[0]]})"
    if kind == "isobars":
        return f"isobars every {ISOBARS:.0f} hPa"
    if kind == "lines":
        return f"lines: {told}"
    return f"colours: {told}" + (f", arrows: {names[1]}, {names[2]}" if len(names) == 3 else "")


def _chosen(units: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return how a day is drawn, and of which fields."""
    pressure = next((name for name in ("msl", "slp", "mslp") if units.get(name) in ("hPa", "Pa", "mbar")), None)
    if pressure:
        return "isobars", [pressure]
    height = next((name for name in units if re.fullmatch(r"z\d+|gh\d+", name)), None)
    if height:
        return "lines", [height]
    shaded = next((name for name in units if re.match(r"vo|zeta", name)), next(iter(units)))
    return "colours", [shaded, *_wind(units)]


def _wind(names: Iterable[str]) -> list[str]:
    """Return the first pair of fields u… and v…."""
    every = list(names)
    found = ((name, f"v{name[1:]}") for name in every if name.startswith("u"))
    return next(([u, v] for u, v in found if v in every), [])


def _isobars(axis: Axes, grid: Grid, pressure: Floats) -> None:
    fine, values = smooth(grid, pressure)
    levels = isobars(values)
    x, y = fine.longitude, fine.latitude
    axis.contourf(x, y, values, levels, cmap=TINTS, zorder=1, vmin=_MIDDLE - _SPREAD, vmax=_MIDDLE + _SPREAD)
    widths = [1.3 if level % THICK == 0 else 0.6 for level in levels]
    lines = axis.contour(x, y, values, levels, colors=INK, linewidths=widths, zorder=2)
    shown = [level for level in levels if level % (2 * ISOBARS) == 0]
    axis.clabel(lines, shown, fontsize=5, fmt="%d", inline_spacing=1)
    for centre in PressureMap(grid.latitude, grid.longitude, pressure).centres():
        mark(axis, centre, 9, 5)


def isobars(pressure: Floats) -> Floats:
    """Return the values of isobars (hPa) below, in and above a field."""
    return np.arange(ISOBARS * np.floor(np.nanmin(pressure) / ISOBARS), np.nanmax(pressure) + 2 * ISOBARS, ISOBARS)


def mark(axis: Axes, centre: Centre, letter: float, number: float) -> None:
    """Write the letter of a centre and its pressure below, in these font sizes, on white so that no line crosses."""
    place, white = (centre["longitude"], centre["latitude"]), [withStroke(linewidth=letter / 4.5, foreground="white")]
    colour = _COLOURS[centre["kind"]]
    style: dict[str, Any] = {"ha": "center", "color": colour, "weight": "bold", "path_effects": white, "zorder": 6}
    axis.annotate(centre["kind"], place, (0, -1), textcoords="offset points", va="bottom", fontsize=letter, **style)
    value = f"{centre['hpa']:.0f}"
    axis.annotate(value, place, (0, -1), textcoords="offset points", va="top", fontsize=number, **style)


def _lines(axis: Axes, grid: Grid, values: Floats) -> None:
    levels = MaxNLocator(12).tick_values(float(np.nanmin(values)), float(np.nanmax(values)))
    axis.contourf(grid.longitude, grid.latitude, values, levels, cmap=colormaps["RdYlBu_r"], alpha=0.45, zorder=1)
    axis.contour(grid.longitude, grid.latitude, values, levels, colors=INK, linewidths=0.7, zorder=2)


def _shade(axis: Axes, grid: Grid, values: Floats) -> None:
    fine, values = smooth(grid, values)
    top = float(np.nanpercentile(np.abs(values), 98)) or 1.0
    # Values of both signs are coloured around zero, others from their least to their largest.
    low = -top if np.nanmin(values) < 0 < np.nanmax(values) else float(np.nanmin(values))
    levels = np.linspace(low, top if top > low else low + 1.0, 15)
    axis.contourf(fine.longitude, fine.latitude, values, levels, cmap=colormaps["RdBu_r"], extend="both", zorder=1)


def _arrows(axis: Axes, grid: Grid, u: Floats, v: Floats) -> None:
    """Draw wind as arrows, about 16 across the map."""
    step = max(1, len(grid.longitude) // 16)
    pick = (slice(step // 2, None, step),) * 2
    x, y = np.meshgrid(grid.longitude, grid.latitude)
    axis.quiver(x[pick], y[pick], u[pick], v[pick], color=INK, width=0.006, zorder=3)


def smooth(grid: Grid, values: Floats, across: int = _ACROSS) -> tuple[Grid, Floats]:
    """Return a finer map through the same points, by cubic convolution (Keys 1981, a = -1/2).

    It has at least ``across`` cells on its longer side. A map with gaps, or of less than 3 points, stays as it is.
    """
    times = int(np.ceil(across / max(max(values.shape) - 1, 1)))
    if times < 2 or min(values.shape) < 3 or np.isnan(values).any():
        return grid, values
    values = _finer(_finer(values, times).T, times).T
    return Grid(_finer(grid.latitude, times), _finer(grid.longitude, times)), values


def _finer(values: Floats, times: int) -> Floats:
    """Interpolate along the first axis with cubics whose slopes are central differences; ends go straight on."""
    before, after = 2 * values[:1] - values[1:2], 2 * values[-1:] - values[-2:-1]
    points = np.concatenate([before, values, after])
    t = (np.arange(times) / times).reshape(-1, *[1] * values.ndim)
    a, b, c, d = points[:-3], points[1:-2], points[2:-1], points[3:]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([np.moveaxis(curve, 0, 1).reshape(-1, *values.shape[1:]), values[-1:]])


def _frame(axis: Axes, grid: Grid) -> None:
    """Set limits, degrees on the axes, and the shape that distances have in the middle of the map."""
    south, north = float(grid.latitude.min()), float(grid.latitude.max())
    west, east = float(grid.longitude.min()), float(grid.longitude.max())
    axis.set(xlim=(west, east), ylim=(south, north))
    axis.set_aspect(grid.stretch)
    axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 3, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 3, 5, 10]))
    name_degrees(axis)
    axis.tick_params(labelsize=6, length=2, pad=1.5)
    for spine in axis.spines.values():
        spine.set(visible=True, color=BASE, linewidth=0.6)


def name_degrees(axis: Axes) -> None:
    """Write degrees with their side (E, W, N, S) on both axes; longitudes may count on beyond 180° or below −180°."""
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _degrees((value + 180) % 360 - 180, "EW")))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _degrees(value, "NS")))


def _degrees(value: float, sides: str) -> str:
    # The meridians 0 and 180 and the equator lie on neither side.
    side = "" if value == 0 or abs(value) == 180 else sides[int(value < 0)]
    return f"{abs(value):g}°{side}"
