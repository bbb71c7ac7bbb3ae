"""Pictures of a search: its course, what each parameter matters, and where the good values lie."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.core.artifact import read_json
from pipeline.report.style import BASE, FAINT, INK, MODEL, OTHER, key, look, new_figure, save, shortened

_MOST_PAIRS = 4
"""Parameters in the contour picture: the most important ones."""
_APART = 0.3
"""Of the distance between two choices, so that trials with the same one are seen."""
_ABSENT = object()
_SHADES = LinearSegmentedColormap.from_list("shades", ["#C6DBEF", "#4292C6", "#08306B"])
_WIDTH = 0.12
"""Of the Gaussian that smooths between trials, as a share of each axis."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Searched:
    """The trials of a search that count."""

    name: str
    metric: str
    direction: str
    rows: list[dict[str, Any]]
    importances: dict[str, float]

    @property
    def complete(self) -> list[dict[str, Any]]:
        """Trials with a value of the whole length."""
        return [row for row in self.rows if row["state"] == "COMPLETE"]

    @property
    def names(self) -> list[str]:
        """Parameters, the most important first."""
        found = dict.fromkeys(name for row in self.rows for name in row["params"])
        return sorted(found, key=lambda name: -self.importances.get(name, 0.0))

    @property
    def detail(self) -> str:
        """What stands beside the title."""
        return f"{self.name}, {len(self.complete)} complete of {len(self.rows)} trials"


@dataclass(frozen=True)
class Scale:
    """Values of a parameter as places on an axis."""

    places: Floats
    """Of the complete trials; NaN where a trial has no such parameter."""
    ends: tuple[float, float]
    ticks: list[float]
    labels: list[str]
    title: str
    numeric: bool

    @property
    def unit(self) -> Floats:
        """The places in 0 … 1."""
        low, high = self.ends
        return np.full_like(self.places, 0.5) if high == low else (self.places - low) / (high - low)


def draw_search(folder: Path, dpi: int = 130) -> tuple[str, ...]:
    """Draw what ``trials_history.json`` of a study's folder tells into ``figures/``; return the names.

    A picture that the trials do not suffice for is left out.
    """
    history, statistics = read_json(folder / "trials_history.json"), read_json(folder / "study_statistics.json")
    rows = [row for row in history["trials"] if not row["begun_again"] and row["state"] != "WAITING"]
    found = Searched(
        history["study_name"], history["metric"], history["direction"], rows, statistics["importances"] or {}
    )
    several = len(found.complete) > 1
    pictures: dict[str, Callable[[Searched], Figure]] = {
        **({"optimization_history.png": history_picture} if found.complete else {}),
        **({"param_importances.png": importances_picture} if found.importances else {}),
        **({"parallel_coordinate.png": parallel_picture, "slice_plot.png": slice_picture} if several else {}),
        **({"contour_plot.png": contour_picture} if several and len(found.names) > 1 else {}),
    }
    with look([]):
        for name, draw in pictures.items():
            save(draw(found), folder / "figures" / name, dpi)
    return tuple(pictures)


def scale_of(found: Searched, name: str) -> Scale:
    """Return where the values of a parameter lie on its axis: the searched range, by decades where it was logarithmic.

    Choices lie side by side in the order in which they are written, trials a little apart.
    """
    about = next(row["distributions"][name] for row in found.rows if name in row["distributions"])
    about = json.loads(about)
    searched, logs = about["attributes"], about["attributes"].get("log", False)
    if "choices" in searched:
        return _choices(found, name, list(searched["choices"]))
    low, high = float(searched["low"]), float(searched["high"])
    column = np.array([row["params"].get(name, np.nan) for row in found.complete], dtype=np.float64)
    if not logs:
        locator = MaxNLocator(4, integer=about["name"].startswith("Int"), steps=[1, 2, 2.5, 5, 10])
        ticks = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
        return Scale(column, (low, high), ticks, [f"{tick:.4g}" for tick in ticks], name, numeric=True)
    ticks = _round_numbers(low, high)
    places, ends = np.log10(column), (math.log10(low), math.log10(high))
    return Scale(places, ends, [math.log10(tick) for tick in ticks], [f"{tick:g}" for tick in ticks], name, True)


def _choices(found: Searched, name: str, choices: list[Any]) -> Scale:
    wanted = [row["stored"].get(name) if name in row["stored"] else _ABSENT for row in found.complete]
    places = np.array([np.nan if value is _ABSENT else choices.index(value) for value in wanted], dtype=np.float64)
    # The golden ratio's multiples spread evenly, however many trials there are.
    apart = _APART * ((np.arange(len(places)) * 0.6180339887) % 1.0 - 0.5)
    labels = [_text(choice) for choice in choices]
    ends = (-0.5, len(choices) - 0.5)
    return Scale(places + apart, ends, [float(at) for at in range(len(choices))], labels, name, numeric=False)


def _round_numbers(low: float, high: float) -> list[float]:
    """Return powers of ten inside a range, or where there are fewer than two, 1, 2 and 5 times powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) > 1:
            return inside[:: 1 + (len(inside) - 1) // 5]
    return [low, high]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _values(found: Searched) -> Floats:
    return np.array([row["value"] for row in found.complete], dtype=np.float64)


def history_picture(found: Searched) -> Figure:
    """Draw the value of every trial and the best so far; where pruned trials stand at the foot."""
    pruned = [row["number"] for row in found.rows if row["state"] == "PRUNED"]
    failed = [row["number"] for row in found.rows if row["state"] == "FAIL"]
    entries = [key("complete", MODEL, marker="o"), key("best so far", OTHER, "-")]
    entries += [key(f"pruned ({len(pruned)})", BASE, marker="|")] if pruned else []
    entries += [key(f"failed ({len(failed)})", INK, marker="x")] if failed else []
    figure = new_figure(6.4, 3.0, "Course of the search", found.detail, entries)
    axis = figure.subplots()
    numbers = np.array([row["number"] for row in found.complete])
    values = _values(found)
    best = np.maximum.accumulate(values) if found.direction == "maximize" else np.minimum.accumulate(values)
    axis.step(np.append(numbers, max(row["number"] for row in found.rows)), np.append(best, best[-1]), where="post",
              color=OTHER)  # fmt: skip
    axis.plot(numbers, values, "o", color=MODEL, markersize=4)
    for marks, marker, colour in ((pruned, "|", BASE), (failed, "x", INK)):
        axis.plot(marks, np.full(len(marks), 0.02), marker, color=colour, transform=axis.get_xaxis_transform())
    _axes(axis, "trial", found.metric)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def importances_picture(found: Searched) -> Figure:
    """Draw the share of each parameter in the variance of the metric."""
    names = list(found.importances)
    figure = new_figure(6.4, 0.5 + 0.3 * len(names), "Importance of parameters", found.detail)
    axis = figure.subplots()
    shares = [found.importances[name] for name in names]
    axis.barh(names, shares, color=MODEL, height=0.6)
    for place, share in enumerate(shares):
        axis.annotate(f"{share:.2f}", (share, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.08 * max(shares) if max(shares) > 0 else 1)
    axis.set_xlabel(f"share in the variance of {found.metric}", color=INK)
    return figure


def parallel_picture(found: Searched) -> Figure:
    """Draw each trial as a line through its parameters, the good ones dark and on top."""
    scales = [scale_of(found, name) for name in found.names]
    figure = new_figure(max(6.4, 1.25 * (len(scales) + 1)), 3.6, "Parameters side by side", found.detail)
    axis = figure.subplots()
    values = _values(found)
    colours = _colours(found, values)
    columns = [scale.unit for scale in scales]
    for place in _from_worst(found, values):
        heights = [column[place] for column in columns]
        axis.plot(range(len(scales)), heights, color=colours.to_rgba(values[place]), linewidth=1.1, alpha=0.85)
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for place, scale in enumerate(scales):
        axis.axvline(place, color=FAINT, linewidth=0.8, zorder=0)
        low, high = scale.ends
        for tick, label in zip(scale.ticks, scale.labels, strict=True):
            at = 0.5 if high == low else (tick - low) / (high - low)
            axis.annotate(shortened(label, 14), (place, at), (3, 0), textcoords="offset points", size=7.5,
                          va="center", path_effects=halo, zorder=5)  # fmt: skip
    axis.set_xticks(range(len(scales)), [shortened(scale.title, 24) for scale in scales], rotation=15, ha="right")
    axis.set_yticks([])
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlim(-0.15, len(scales) - 0.6)
    axis.spines["left"].set_visible(False)
    figure.colorbar(colours, ax=axis, label=found.metric, pad=0.02, aspect=30)
    return figure


def slice_picture(found: Searched) -> Figure:
    """Draw the metric against each parameter; later trials are darker."""
    scales = [scale_of(found, name) for name in found.names]
    columns = min(len(scales), 4)
    rows = -(-len(scales) // columns)
    entries = [key("early trials", "#C6DBEF", marker="o"), key("late trials", "#08306B", marker="o")]
    figure = new_figure(max(6.4, 2.2 * columns + 0.4), 2.1 * rows, "Metric by parameter", found.detail, entries)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    order = Normalize(0, max(len(found.complete) - 1, 1))
    for axis, scale in itertools.zip_longest(grid.ravel(), scales):
        if scale is None:
            axis.set_visible(False)
            continue
        axis.scatter(scale.places, _values(found), c=np.arange(len(found.complete)), cmap=_SHADES, norm=order, s=16,
                     edgecolors="white", linewidths=0.3)  # fmt: skip
        _ticks(axis, scale)
        axis.grid(axis="y", color=FAINT, linewidth=0.6)
    for row in grid:
        row[0].set_ylabel(found.metric, color=INK)
    return figure


def contour_picture(found: Searched) -> Figure:
    """Draw the metric over pairs of the most important parameters: trials as points, shaded between numbers."""
    scales = [scale_of(found, name) for name in found.names[:_MOST_PAIRS]]
    pairs = list(itertools.combinations(scales, 2))
    columns = min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    detail = f"shaded: mean of trials nearby; {found.detail}" if columns > 1 else found.detail
    figure = new_figure(max(6.4, 2.8 * columns + 0.8), 2.4 * rows, "Metric over pairs of parameters", detail)
    grid = figure.subplots(rows, columns, squeeze=False)
    values = _values(found)
    colours = _colours(found, values)
    for axis, pair in itertools.zip_longest(grid.ravel(), pairs):
        if pair is None:
            axis.set_visible(False)
            continue
        _surface(axis, pair[0], pair[1], values, colours)
        face = colours.to_rgba(values)
        axis.scatter(pair[0].places, pair[1].places, c=face, s=20, edgecolors="white", linewidths=0.6)
        _ticks(axis, pair[0])
        axis.set_yticks(pair[1].ticks, [shortened(label, 10) for label in pair[1].labels])
        axis.set_ylim(*_with_margin(pair[1]))
        axis.set_ylabel(shortened(pair[1].title, 26), color=INK)
    figure.colorbar(colours, ax=list(grid.ravel()), label=found.metric, pad=0.02, aspect=20 * rows)
    return figure


def _surface(axis: Axes, across: Scale, up: Scale, values: Floats, colours: ScalarMappable) -> None:
    """Shade between trials: their mean, weighted by a Gaussian of the distance, where one is near."""
    if not (across.numeric and up.numeric):
        return  # nothing lies between two choices
    valid = ~(np.isnan(across.places) | np.isnan(up.places))
    if valid.sum() < 4:
        return
    steps = np.linspace(0, 1, 80)
    near = [np.exp(-0.5 * ((steps[:, None] - scale.unit[valid]) / _WIDTH) ** 2) for scale in (up, across)]
    weights = near[0][:, None, :] * near[1][None, :, :]
    mean = (weights * values[valid]).sum(2) / np.maximum(weights.sum(2), 1e-12)
    shown = np.ma.masked_where(weights.max(2) < np.exp(-2.0), mean)
    places = [low + steps * (high - low) for low, high in (across.ends, up.ends)]
    axis.pcolormesh(*places, shown, cmap=colours.cmap, norm=Normalize(*colours.get_clim()), alpha=0.4, linewidth=0,
                    shading="nearest", rasterized=True)  # fmt: skip


def _colours(found: Searched, values: Floats) -> ScalarMappable:
    name = "viridis_r" if found.direction == "maximize" else "viridis"
    # The worst few would take the whole range of colours.
    low, high = (np.quantile(values, 0.1), values.max()) if found.direction == "maximize" else (
        values.min(), np.quantile(values, 0.9))  # fmt: skip
    return ScalarMappable(Normalize(float(low), float(high)), colormaps[name])


def _from_worst(found: Searched, values: Floats) -> Sequence[int]:
    order = np.argsort(values)
    return [int(place) for place in (order if found.direction == "maximize" else order[::-1])]


def _with_margin(scale: Scale) -> tuple[float, float]:
    low, high = scale.ends
    margin = 0.04 * (high - low) if high > low else 0.5
    return low - margin, high + margin


def _ticks(axis: Axes, scale: Scale) -> None:
    labels = [shortened(label, 10) for label in scale.labels]
    long = sum(map(len, labels)) > 18
    axis.set_xticks(scale.ticks, labels, rotation=25 if long else 0, ha="right" if long else "center")
    axis.set_xlim(*_with_margin(scale))
    axis.set_xlabel(shortened(scale.title, 28), color=INK)


def _axes(axis: Axes, x: str, y: str) -> None:
    axis.set_xlabel(x, color=INK)
    axis.set_ylabel(y, color=INK)
    axis.grid(axis="y", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
