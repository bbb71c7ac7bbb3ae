"""What a network looked at: attributions over maps, images and series, and shares of channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.coast import draw_coast
from pipeline.report.fields import name_degrees
from pipeline.report.style import BASE, FAINT, INK, MODEL, OTHER, key, new_figure, shortened

_SIGNED, _POSITIVE = "RdBu_r", "YlOrBr"
_ISOBARS = 4.0
"""hPa between isobars."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
Numbers = NDArray[Any]


@dataclass(frozen=True)
class MapView:
    """One channel of a map: its field in physical units and what was attributed to each cell, both H × W."""

    name: str
    unit: str
    field: Numbers
    attribution: Numbers
    share: float
    """Of the absolute attribution of all inputs."""


@dataclass(frozen=True)
class Activation:
    """A class activation map (H × W) and the method."""

    values: Numbers
    method: str


@dataclass(frozen=True)
class Place:
    """Latitudes and longitudes of a map's rows and columns, in degrees; counted from 0 where nobody knows them."""

    latitude: Numbers
    longitude: Numbers
    degrees: bool


@dataclass(frozen=True)
class ImageView:
    """An image (H × W × 3 in 0 … 1), what was attributed to each pixel, and its class activation map."""

    name: str
    image: Numbers
    attribution: Numbers
    activation: Activation | None


@dataclass(frozen=True)
class SeriesView:
    """Windows (T × F) in physical units, attributions of each value, and by name what attention read of each step."""

    features: tuple[str, ...]
    units: tuple[str, ...]
    values: Numbers
    attribution: Numbers
    attention: dict[str, Numbers]


Shares = Sequence[tuple[str, float]]


# --- maps ------------------------------------------------------------------------------------------------------------


def draw_maps(
    title: str, detail: str, views: Sequence[MapView], activation: Activation | None, place: Place, shares: Shares
) -> Figure:
    """Draw attributions as colours under the isolines of each channel, the activation map, and the channels' shares."""
    panels = len(views) + (activation is not None)
    columns = min(3, panels)
    rows = -(-panels // columns)
    width, height = 2.3, float(np.clip(2.1 * _slope(place), 1.3, 3.0)) + 0.3
    legend = [
        key("speaks for the class", "#B2182B", marker="s"),
        key("speaks against it", "#2166AC", marker="s"),
        key("isolines of the field", INK, "-"),
    ]
    figure = new_figure(columns * width + 2.2, rows * height + 0.7, title, detail, legend)
    heights = [height] * rows + [0.1]
    parts = figure.add_gridspec(rows + 1, columns + 1, width_ratios=[width] * columns + [1.5], height_ratios=heights)
    axes = [figure.add_subplot(parts[n // columns, n % columns]) for n in range(panels)]
    limit = _limit([view.attribution for view in views])
    power = int(np.floor(np.log10(limit)))
    for axis, view in zip(axes, views, strict=False):
        scaled, most = view.attribution / 10.0**power, limit / 10.0**power
        cells = _shade(axis, place, scaled, _SIGNED, -most, most)
        unit = _isolines(axis, place, view)
        _map_frame(axis, place, f"{view.name}{f' ({unit})' if unit else ''}", f"{view.share:.0%}")
    _bar(
        figure,
        cells,
        figure.add_subplot(parts[rows, :columns]),
        f"contribution of a cell to the logit, 10{str(power).translate(_RAISED)}",
    )
    if activation is not None:
        _shade(axes[-1], place, activation.values, _POSITIVE, 0.0, max(float(activation.values.max()), 1e-12))
        _isolines(axes[-1], place, views[0])
        _map_frame(axes[-1], place, _METHODS[activation.method], f"isolines: {views[0].name}")
    _share_bars(figure.add_subplot(parts[:rows, columns]), shares, 7 * rows)
    return figure


_METHODS = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM"}


def _stretch(place: Place) -> float:
    """Return how much longer a degree of latitude is drawn than one of longitude: true to the middle of the map."""
    return float(1 / max(np.cos(np.radians(np.mean(place.latitude))), 0.2)) if place.degrees else 1.0


def _slope(place: Place) -> float:
    """Return the height of a map over its width, as drawn."""
    tall, wide = (max(float(np.ptp(values)), 1e-6) for values in (place.latitude, place.longitude))
    return tall * _stretch(place) / wide


def _limit(values: Sequence[Numbers]) -> float:
    """Return the end of a common colour scale: few cells lie beyond it."""
    return max(float(np.quantile(np.abs(np.concatenate([v.ravel() for v in values])), 0.995)), 1e-12)


def _shade(axis: Axes, place: Place, values: Numbers, colours: str, low: float, high: float) -> Any:
    return axis.pcolormesh(
        place.longitude, place.latitude, values, cmap=colours, vmin=low, vmax=high, shading="nearest", rasterized=True
    )


def _isolines(axis: Axes, place: Place, view: MapView) -> str:
    """Draw the isolines of the field and return the unit of their numbers."""
    values, unit = _readable(view.field, view.unit)
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.max() - finite.min() <= 0 or min(values.shape) < 2:
        return unit
    low, high = (float(value) for value in np.quantile(finite, [0.01, 0.99]))
    levels: Any
    if view.unit == "hPa" and np.median(finite) > 500 and high - low > 2 * _ISOBARS:
        levels = np.arange(np.ceil(low / _ISOBARS), high / _ISOBARS + 1) * _ISOBARS
    else:
        levels = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    lines = axis.contour(
        place.longitude, place.latitude, values, levels=levels, colors=INK, linewidths=0.6, negative_linestyles="dashed"
    )
    axis.clabel(lines, list(levels)[::2], fontsize=6, fmt=lambda value: f"{value:g}")
    return unit


def _readable(values: Numbers, unit: str) -> tuple[Numbers, str]:
    """Return values times a power of ten that makes short numbers of them, and their unit with that power."""
    finite = np.abs(values[np.isfinite(values)])
    typical = float(np.quantile(finite, 0.9)) if finite.size else 0.0
    power = int(np.floor(np.log10(typical))) if typical > 0 else 0
    unit = "" if unit == "1" else re.sub(r"(?<=[a-zA-Z])-?\d", lambda found: found.group().translate(_RAISED), unit)
    if -3 < power < 5:
        return values, unit
    return values / 10.0**power, f"10{str(power).translate(_RAISED)} {unit}".strip()


def _map_frame(axis: Axes, place: Place, title: str, detail: str) -> None:
    axis.set_title(title, loc="left", fontsize=8, weight="bold")
    axis.set_title(detail, loc="right", fontsize=8)
    axis.set_aspect(_stretch(place))
    axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 3, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 3, 5, 10]))
    axis.tick_params(labelsize=7)
    if place.degrees:
        draw_coast(axis, float(np.min(place.longitude)), float(np.max(place.longitude)))
        name_degrees(axis)
    else:
        axis.invert_yaxis()
    for side in ("top", "right"):
        axis.spines[side].set_visible(True)


def _bar(figure: Figure, cells: Any, axis: Axes, label: str) -> None:
    bar = figure.colorbar(cells, cax=axis, orientation="horizontal", extend="both")
    bar.set_label(label, fontsize=8)
    bar.locator = MaxNLocator(5)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)


def _share_bars(axis: Axes, shares: Shares, room: int) -> None:
    """Draw shares of channels, the largest on top; with ``room`` for so many, those that do not fit are one bar."""
    most = max(room, 8)
    ranked = sorted(shares, key=lambda one: -one[1])
    if len(ranked) > most:
        rest = ranked[most - 1 :]
        ranked = [*ranked[: most - 1], (f"{len(rest)} others", sum(share for _, share in rest))]
    places = np.arange(len(ranked))
    values = [100 * share for _, share in ranked]
    axis.barh(places, values, color=MODEL, height=0.62)
    axis.set_yticks(places, [shortened(name, 16) for name, _ in ranked])
    axis.set_ylim(max(len(ranked), room) - 0.4, -0.6)
    axis.set_xlim(0, max(values) * 1.28 if max(values) > 0 else 1)
    for place, value in zip(places, values, strict=True):
        axis.annotate(f"{value:.0f}", (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axis.set_title("share of attribution, %", loc="left", fontsize=8)
    axis.tick_params(axis="y", length=0, labelsize=7)
    axis.set_xticks([])
    for side in ("bottom", "left"):
        axis.spines[side].set_visible(False)


# --- images ----------------------------------------------------------------------------------------------------------


def draw_images(title: str, detail: str, views: Sequence[ImageView]) -> Figure:
    """Draw a row for each view: the image, its attributions over it, and the activation map over it."""
    with_map = any(view.activation is not None for view in views)
    height, width = views[0].image.shape[:2]
    side = 2.1
    tall = float(np.clip(side * height / width, 1.2, 3.0))
    columns = 2 + with_map
    legend = [key("speaks for the class", "#B2182B", marker="s"), key("speaks against it", "#2166AC", marker="s")]
    figure = new_figure(columns * side + 0.4, len(views) * (tall + 0.3) + 0.1, title, detail, legend)
    grid = figure.subplots(len(views), columns, squeeze=False)
    for axes, view in zip(grid, views, strict=True):
        grey = view.image.mean(axis=2)
        axes[0].imshow(view.image)
        axes[0].set_title(shortened(view.name, 30), loc="left", fontsize=8)
        limit = _limit([view.attribution])
        _over(axes[1], grey, view.attribution, _SIGNED, Normalize(-limit, limit), "integrated gradients")
        if view.activation is not None:
            most = max(float(view.activation.values.max()), 1e-12)
            _over(
                axes[2], grey, view.activation.values, "inferno", Normalize(0, most), _METHODS[view.activation.method]
            )
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set(visible=True, color=FAINT)
    return figure


def _over(axis: Axes, grey: Numbers, values: Numbers, colours: str, scale: Normalize, title: str) -> None:
    """Draw values over a faint image, the more opaque the larger they are."""
    axis.imshow(0.55 + 0.45 * grey, cmap="gray", vmin=0, vmax=1)
    size = np.clip(np.abs(values) / max(abs(float(scale.vmax or 1.0)), 1e-12), 0, 1)
    axis.imshow(values, cmap=colours, norm=scale, alpha=np.clip(0.1 + 0.9 * size**0.7, 0, 1) * (size > 0.02))
    axis.set_title(title, loc="left", fontsize=8)


# --- series ----------------------------------------------------------------------------------------------------------


def draw_series(title: str, detail: str, view: SeriesView, most: int) -> Figure:
    """Draw each feature of a window over its steps on a ground coloured by attribution; attention above them."""
    order = np.argsort(-np.abs(view.attribution).sum(axis=0), kind="stable")[:most]
    shares = np.abs(view.attribution).sum(axis=0) / max(float(np.abs(view.attribution).sum()), 1e-30)
    rows = len(order) + bool(view.attention)
    legend = [key("speaks for the class", "#B2182B", marker="s"), key("speaks against it", "#2166AC", marker="s")]
    figure = new_figure(6.8, rows * 0.95 + 0.4, title, detail, legend)
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    steps = np.arange(-len(view.values) + 1, 1)
    if view.attention:
        _attention(axes[0], steps, view.attention)
    limit = _limit([view.attribution])
    for axis, feature in zip(axes[bool(view.attention) :], order, strict=True):
        values, unit = _readable(view.values[:, feature], view.units[feature])
        low, high = _range(values)
        axis.imshow(
            view.attribution[None, :, feature], extent=(steps[0] - 0.5, 0.5, low, high), aspect="auto",
            cmap=_SIGNED, vmin=-limit, vmax=limit, alpha=0.75,
        )  # fmt: skip
        axis.plot(steps, values, color=INK, linewidth=1.2, marker="o", markersize=2.5)
        axis.set_ylim(low, high)
        name = shortened(view.features[feature], 26)
        axis.set_title(f"{name}{f' ({unit})' if unit else ''}   {shares[feature]:.0%}", loc="left", fontsize=8, pad=3)
        axis.yaxis.set_major_locator(MaxNLocator(3))
    axes[-1].set_xlabel("steps before the end of the window")
    axes[-1].set_xlim(steps[0] - 0.5, 0.5)
    axes[-1].xaxis.set_major_locator(MaxNLocator(11, integer=True))
    return figure


def _attention(axis: Axes, steps: Numbers, attention: dict[str, Numbers]) -> None:
    for (name, weights), colour in zip(attention.items(), (MODEL, OTHER, BASE), strict=False):
        axis.plot(steps, 100 * weights, color=colour, drawstyle="steps-mid", label=name)
    axis.axhline(100 / len(steps), color=BASE, linewidth=0.8, linestyle=":")
    axis.set_ylim(0, 115 * max(float(weights.max()) for weights in attention.values()))
    axis.set_title("attention, % (dotted: all steps alike)", loc="left", fontsize=8, pad=3)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, fontsize=7.5, borderaxespad=0, borderpad=0)
    axis.yaxis.set_major_locator(MaxNLocator(3))


def _range(values: Numbers) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    room = 0.12 * (high - low) or 0.5
    return low - room, high + room
