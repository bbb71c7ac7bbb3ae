"""Pages of samples: the map, image or series of each, its label, and what the run held probable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.contract.predictions import number
from pipeline.contract.scores import Floats
from pipeline.contract.store import IMAGE, Store
from pipeline.report.fields import Grid, draw_day, what_is_drawn
from pipeline.report.inputs import physical
from pipeline.report.style import BASE, FAINT, INK, MODEL, OTHER, key, new_figure, shortened

_ACROSS = 3
# Inches: of a sample from left to right, and from top to bottom.
_LEFT, _PICTURE, _NAMES, _BAR, _RIGHT = 0.4, 1.75, 0.62, 0.6, 0.3
_WIDTH = _LEFT + _PICTURE + _NAMES + _BAR + _RIGHT
_HEAD, _GAP, _FOOT, _FOOT_OF_MAP = 0.4, 0.14, 0.14, 0.28
_SERIES, _SERIES_ALONE = 0.9, 1.5
_LEAST_WIDTH = 4.4
_LINES = 4
"""Most features of a series that are drawn, each with an axis of its own."""
_BARS = 6
"""Most classes beside a sample."""
_HIDDEN = "#BFBFBF"
Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Page:
    """What all samples of a page have in common."""

    store: Store
    inputs: tuple[str, ...]
    thresholds: Mapping[str, float]
    """By class; NaN where the likeliest class is said."""
    title: str
    detail: str
    note: Callable[[Sample], str] = lambda sample: ""
    """What stands below a sample."""
    pressure: Mapping[int, tuple[Grid, Floats]] = field(default_factory=dict)
    """Pressure at sea level in hPa, by row of the store, for maps of stores without it."""

    def kinds(self) -> tuple[str, str]:
        """Return the inputs that are drawn: a map or an image, and a series; empty where there is none."""
        kinds = {self.store.spec.inputs[name].kind: name for name in reversed(self.inputs)}
        return kinds.get("grid", kinds.get(IMAGE, "")), kinds.get("series", "")


def draw_page(page: Page, samples: Sequence[Sample]) -> Figure:
    """Draw samples in rows of three: left what the network saw, right the likeliest classes with their thresholds."""
    layout = Layout.of(page, any(page.note(sample) for sample in samples))
    across = min(_ACROSS, len(samples))
    rows = -(-len(samples) // across)
    entries = [
        key("class of the label", MODEL, marker="s"),
        key("other class", _HIDDEN, marker="s"),
        *([] if all(np.isnan(value) for value in page.thresholds.values()) else [key("threshold", OTHER, marker="|")]),
    ]
    width = max(across * _WIDTH, _LEAST_WIDTH)
    figure = new_figure(width, rows * layout.height, page.title, _detail(page), entries)
    figure.set_layout_engine("none")
    for place, sample in enumerate(samples):
        row, column = divmod(place, across)
        _sample(Cell(figure, column * _WIDTH, (rows - row) * layout.height), layout, page, sample)
    return figure


def _detail(page: Page) -> str:
    """Return what the page says of itself, and what its maps show."""
    spec = page.store.spec.inputs.get(page.kinds()[0])
    if spec is None or spec.kind == IMAGE:
        return page.detail
    told = what_is_drawn({"msl": "hPa"} if page.pressure else dict(zip(spec.channels, spec.units, strict=True)))
    return f"{page.detail}; {told}"


@dataclass(frozen=True)
class Layout:
    """Heights of the parts of a sample, in inches; 0 where there is none."""

    picture: float
    series: float
    foot: float
    note: float

    @classmethod
    def of(cls, page: Page, noted: bool) -> Layout:
        """Measure a map by its degrees, an image by its pixels."""
        picture, series = page.kinds()
        alone = _SERIES_ALONE if not picture else _SERIES
        of_map = bool(picture) and page.store.spec.inputs[picture].kind != IMAGE
        height = _height_of(page, picture) if picture else 0.0
        return cls(height, alone if series else 0.0, _FOOT_OF_MAP if of_map else _FOOT, 0.16 if noted else 0.0)

    @property
    def height(self) -> float:
        """Of a whole sample."""
        gap = _GAP if self.picture and self.series else 0.0
        return _HEAD + self.picture + gap + self.series + self.foot + self.note


@dataclass(frozen=True)
class Cell:
    """The room of one sample on a page: its left and its upper edge, in inches from the lower left corner."""

    figure: Figure
    left: float
    top: float

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add a panel whose upper left corner is ``x`` right of and ``y`` below the corner of the cell."""
        wide, high = self.figure.get_size_inches()
        box = ((self.left + x) / wide, (self.top - y - height) / high, width / wide, height / high)
        return self.figure.add_axes(box)

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write so that the upper edge is ``y`` below that of the cell."""
        wide, high = self.figure.get_size_inches()
        self.figure.text((self.left + x) / wide, (self.top - y) / high, text, va="top", **style)


def _height_of(page: Page, name: str) -> float:
    """Return the height of a picture that is as wide as there is room, in inches, within limits."""
    spec = page.store.spec.inputs[name]
    if spec.kind == IMAGE:
        return float(np.clip(_PICTURE * spec.shape[1] / spec.shape[2], 0.9, 2.0))
    latitude, longitude = page.store.spec.latitude, page.store.spec.longitude
    south, north = min(latitude), max(latitude)
    across = (max(longitude) - min(longitude)) * np.cos(np.deg2rad((south + north) / 2))
    return float(np.clip(_PICTURE * (north - south) / max(across, 1.0), 0.9, 2.3))


def _sample(cell: Cell, layout: Layout, page: Page, sample: Sample) -> None:
    """Draw one sample into its cell."""
    _head(cell, sample)
    picture, series = page.kinds()
    down = _HEAD
    if picture:
        _picture(cell.axes(_LEFT, down, _PICTURE, layout.picture), page, picture, sample)
        down += layout.picture + _GAP
    if series:
        _series(cell, down, layout.series, page, series, sample)
    height = min(max(layout.picture, layout.series), 0.26 * _BARS)
    _bars(cell.axes(_LEFT + _PICTURE + _NAMES, _HEAD, _BAR, height), page, sample)
    if layout.note:
        cell.text(_LEFT, layout.height - layout.note - 0.02, page.note(sample), fontsize=6, color=BASE)


def _head(cell: Cell, sample: Sample) -> None:
    """Write the day, the label and what was said above a sample."""
    right = set(sample["truth"]) == set(sample["said"])
    name = sample["date"] or sample["id"].rsplit("/", 1)[-1]
    cell.text(_LEFT, 0.06, shortened(name, 34), weight="bold", fontsize=8)
    told = f"label {shortened(sample['label'], 14)}   said {shortened('+'.join(sample['said']) or 'nothing', 18)}"
    cell.text(_LEFT, 0.21, told + ("" if right else "   ✗"), fontsize=7.5, color=INK if right else OTHER)


def _picture(axis: Axes, page: Page, name: str, sample: Sample) -> None:
    values = physical(page.store, name, np.array([sample["row"]]))[0]
    spec = page.store.spec.inputs[name]
    if spec.kind == IMAGE:
        axis.imshow(values, aspect="equal", interpolation="nearest" if max(values.shape) < 100 else "antialiased")
        axis.set(xticks=[], yticks=[])
        axis.set_anchor("NW")
        for spine in axis.spines.values():
            spine.set(visible=True, color=FAINT, linewidth=0.6)
        return
    axis.set_anchor("NW")
    if sample["row"] in page.pressure:
        grid, pressure = page.pressure[sample["row"]]
        draw_day(axis, grid, {"msl": pressure}, {"msl": "hPa"})
        return
    grid = Grid(np.array(page.store.spec.latitude), np.array(page.store.spec.longitude))
    fields = dict(zip(spec.channels, values, strict=True))
    draw_day(axis, grid, fields, dict(zip(spec.channels, spec.units, strict=True)))


def _series(cell: Cell, down: float, height: float, page: Page, name: str, sample: Sample) -> None:
    """Draw the first features of a series below each other, each with its least and its largest value."""
    values = physical(page.store, name, np.array([sample["row"]]))[0]
    names = page.store.spec.inputs[name].channels
    shown = min(_LINES, len(names))
    each = height / shown
    for k in range(shown):
        _line(cell.axes(_LEFT + 0.12, down + k * each, _PICTURE - 0.42, 0.72 * each), values[:, k], names[k])
    if len(names) > shown:
        cell.text(_LEFT + _PICTURE, down + height - 0.12, f"+ {len(names) - shown} more", fontsize=5, color=BASE)


def _line(axis: Axes, values: Floats, name: str) -> None:
    axis.plot(np.arange(1 - len(values), 1), values, color=INK, linewidth=0.9, marker=".", markersize=2)
    axis.set(xticks=[], yticks=[])
    for side in ("left", "bottom"):
        axis.spines[side].set_color(FAINT)
    axis.set_ylabel(shortened(name, 9), rotation=0, ha="right", va="center", fontsize=5, labelpad=2)
    if not np.isnan(values).all():
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        for y, word, va in ((0.0, _short(low, high), "bottom"), (1.0, _short(high, low), "top")):
            axis.annotate(word, (1, y), (2, 0), "axes fraction", "offset points", va=va, fontsize=4.5, color=BASE)


def _short(value: float, other: float) -> str:
    """Return a number in four digits; what is nothing beside the other end of its axis is 0."""
    return "0" if abs(value) < 1e-6 * abs(other) else f"{value:.4g}"


def _bars(axis: Axes, page: Page, sample: Sample) -> None:
    """Draw the likeliest classes and those of the label as bars, with thresholds and numbers."""
    shown = _classes_shown(sample)
    for y, name in enumerate(shown):
        value, true = number(sample["probability"][name]), name in sample["truth"]
        axis.barh(y, value, 0.62, color=MODEL if true else _HIDDEN, zorder=2)
        threshold = number(page.thresholds[name])
        if not np.isnan(threshold):
            axis.plot(
                [threshold] * 2, [y - 0.42, y + 0.42], color=OTHER, linewidth=1.3, zorder=3, solid_capstyle="butt"
            )
        axis.text(1.03, y, f"{value:.2f}", va="center", fontsize=6.5, color=INK if name in sample["said"] else BASE,
                  weight="bold" if name in sample["said"] else "normal")  # fmt: skip
    axis.set(xlim=(0, 1), ylim=(_BARS - 0.4, -0.6), xticks=[])
    axis.set_yticks(range(len(shown)), [shortened(name, 10) for name in shown], fontsize=6.5)
    for label, name in zip(axis.get_yticklabels(), shown, strict=True):
        label.set(
            color=MODEL if name in sample["truth"] else INK, weight="bold" if name in sample["truth"] else "normal"
        )
    axis.tick_params(length=0, pad=2)
    axis.spines["left"].set_color(FAINT)
    axis.spines["bottom"].set_visible(False)


def _classes_shown(sample: Sample) -> list[str]:
    ranked = sorted(sample["probability"], key=lambda name: -number(sample["probability"][name]))
    needed = [name for name in ranked if name in sample["truth"] or name in sample["said"]][:_BARS]
    others = [name for name in ranked if name not in needed][: _BARS - len(needed)]
    return [name for name in ranked if name in {*needed, *others}]
