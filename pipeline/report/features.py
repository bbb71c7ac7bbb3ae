"""What features and channels are worth: samples on a plane by class and split, and what permuting channels costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.cells import draw_cells
from pipeline.report.style import BASE, FAINT, INK, MODEL, OTHER, key, new_figure, panel_title, panels, shortened

_MARKERS = {"train": ".", "val": "o", "test": "^"}
_MOST_COLOURS = 20
_MOST_ROWS = 40
Flags = NDArray[np.bool_]
Row = Mapping[str, Any]


def draw_plane(
    axes_are: str, detail: str, points: NDArray[Any], target: Flags, whose: NDArray[Any], classes: Sequence[str]
) -> Figure:
    """Draw samples with one class in its colour, those with several or none in grey; splits by marker.

    Args:
        axes_are: what the axes are.
        detail: how many samples there are.
        points: N × 2.
        target: N × K.
        whose: N names of splits.
        classes: K names.
    """
    shown = [k for k in np.argsort(-target.sum(axis=0), kind="stable") if target[:, k].any()][:_MOST_COLOURS]
    colours = dict(zip(sorted(int(k) for k in shown), _colours(len(shown)), strict=True))
    splits = [name for name in _MARKERS if (whose == name).any()]
    title = f"what the head reads: {axes_are}"
    legend = [key(name, INK, marker=_MARKERS[name], filled=name != "val") for name in splits]
    figure = new_figure(7.2, 5.2, title, detail, legend)
    axis = figure.subplots()
    one = target.sum(axis=1) == 1
    for split in splits:
        here = whose == split
        other = here & ~(one & target[:, list(colours)].any(axis=1))
        _scatter(axis, points[other], "#BBBBBB", split, 0.5)
        for k, colour in colours.items():
            _scatter(axis, points[here & one & target[:, k]], colour, split, 0.85)
    entries = [key(shortened(classes[k], 22), colour, marker="o") for k, colour in colours.items()]
    if not one.all() or len(colours) < target.any(axis=0).sum():
        entries.append(key("several or others", "#BBBBBB", marker="o"))
    axis.legend(handles=entries, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handletextpad=0.2)
    _plain(axis)
    return figure


def draw_classes(
    axes_are: str, detail: str, points: NDArray[Any], target: Flags, whose: NDArray[Any], classes: Sequence[str]
) -> Figure:
    """Draw a panel for each class: its samples over all others, training and other samples in two colours."""
    shown = [k for k in range(len(classes)) if target[:, k].any()]
    legend = [
        key("train", MODEL, marker="o"),
        key("val", OTHER, marker="o"),
        *([key("test", INK, marker="o")] if (whose == "test").any() else []),
        key("without the class", FAINT, marker="o"),
    ]
    columns = min(5, len(shown))
    title = f"what the head reads, by class: {axes_are}"
    figure, axes = panels(len(shown), columns, (1.7, 1.75), title, detail, legend)
    colours = {"train": MODEL, "val": OTHER, "test": INK}
    for axis, k in zip(axes, shown, strict=True):
        has = target[:, k]
        axis.scatter(points[~has, 0], points[~has, 1], s=3, c=FAINT, linewidths=0)
        for split, colour in colours.items():
            some = points[has & (whose == split)]
            axis.scatter(some[:, 0], some[:, 1], s=7, c=colour, linewidths=0, alpha=0.8)
        panel_title(axis, shortened(classes[k], 16), f"n = {has.sum()}", stacked=True)
        _plain(axis)
    return figure


def _colours(count: int) -> list[Any]:
    """Return colours that differ in hue and lightness."""
    if count <= 10:
        return list(colormaps["tab10"].colors[:count])  # type: ignore[attr-defined]
    return list(colormaps["tab20"].colors[:count])  # type: ignore[attr-defined]


def _scatter(axis: Axes, points: NDArray[Any], colour: Any, split: str, alpha: float) -> None:
    hollow = split == "val"
    axis.scatter(
        points[:, 0], points[:, 1], s=14 if split == "train" else 20, marker=_MARKERS[split], alpha=alpha,
        facecolors="none" if hollow else [colour], edgecolors=[colour], linewidths=0.9 if hollow else 0,
    )  # fmt: skip


def _plain(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.tick_params(labelbottom=False)
    for spine in axis.spines.values():
        spine.set(visible=True, color=FAINT)


def draw_importance(table: Sequence[Row], detail: str, confidence: float) -> Figure:
    """Draw for each column what average precision and macro-F1 lose when it is permuted, with intervals."""
    rows = list(table[:_MOST_ROWS])
    legend = [key(f"mean, {confidence:.0%} interval", MODEL, "-", "o"), key("a permutation", BASE, marker="|")]
    legend.append(key("interval holds 0", BASE, "-", "o"))
    figure = new_figure(7.4, 0.25 * len(rows) + 0.6, "what permuting a channel costs", detail, legend)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, measure, label in zip(axes, ("map", "macro_f1"), ("loss of mAP", "loss of macro-F1"), strict=True):
        axis.axvline(0, color=INK, linewidth=0.8)
        for place, row in enumerate(rows):
            _dot(axis, place, row[measure])
        axis.set_xlabel(label)
        axis.grid(axis="x", color=FAINT, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0].set_yticks(np.arange(len(rows)), [shortened(row["name"], 28) for row in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _dot(axis: Axes, place: int, of: Row) -> None:
    low, high = of["interval"]
    colour = BASE if low <= 0 <= high else MODEL
    axis.plot([low, high], [place, place], color=colour, linewidth=1.3)
    axis.plot(of["repeats"], [place] * len(of["repeats"]), "|", color=BASE, markersize=6, alpha=0.6)
    axis.plot([of["drop"]], [place], "o", color=colour, markersize=5, zorder=4)


def draw_class_importance(table: Sequence[Row], detail: str, classes: Sequence[str]) -> Figure:
    """Draw what the average precision of each class loses, as cells of columns × classes, in hundredths."""
    rows = list(table[:_MOST_ROWS])
    values = 100 * np.array([row["average_precision"] for row in rows], np.float64)
    names = [row["name"] for row in rows]
    title = "what permuting costs each class"
    return draw_cells(title, detail, names, list(classes), values, "loss of average precision, hundredths", signed=True)
