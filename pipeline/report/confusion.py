"""Confusion matrices of a multi-label split: two by two for each class."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.contract.scores import Floats
from pipeline.report.case import Case, figure_of
from pipeline.report.style import BASE, INK, panel_title, panels

_COLOURS = colormaps["Blues"]
_DARKEST = 0.6


def confusion_matrices(case: Case, columns: int) -> Figure:
    """Draw one panel a class: rows are what was, columns what was said; counts, and their share of the row."""
    title = f"{case.split}: confusion at the tuned thresholds"
    figure, axes = panels(len(case.labels), columns, (1.72, 2.02), title, case.period)
    for k, (axis, label) in enumerate(zip(axes, case.labels, strict=True)):
        _panel(axis, matrix(case.target[:, k], case.chosen[:, k]))
        row = case.row(label)
        panel_title(axis, label, f"F1 {figure_of(row['f1-score'])}    n = {row['support']}", stacked=True)
    figure.supxlabel("said by the model", fontsize=9)
    figure.supylabel("truth", fontsize=9)
    return figure


def matrix(target: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Floats:
    """Return counts 2 × 2 of N days, rows truth (no, yes), columns said (no, yes)."""
    return np.bincount(2 * target + chosen, minlength=4).reshape(2, 2).astype(np.float64)


def _panel(axis: Axes, counts: Floats) -> None:
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    axis.imshow(share, cmap=_COLOURS, vmin=0, vmax=1 / _DARKEST)
    for (row, column), value in np.ndenumerate(counts):
        colour = readable_on(_COLOURS(share[row, column] * _DARKEST)[:3])
        percent = f"{share[row, column]:.0%}" if total[row, 0] else "–"
        axis.text(column, row - 0.1, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=10)
        axis.text(column, row + 0.24, percent, ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks([0, 1], ["no", "yes"])
    axis.set_yticks([0, 1], ["no", "yes"])
    axis.tick_params(length=0)
    axis.axhline(0.5, color="white", linewidth=1.5)
    axis.axvline(0.5, color="white", linewidth=1.5)
    for spine in axis.spines.values():
        spine.set(visible=True, color=BASE, linewidth=0.5)


def readable_on(background: tuple[float, float, float]) -> str:
    """Return white or ink, whichever has the higher contrast (WCAG 2.1, relative luminance of sRGB)."""
    channels = np.asarray(background)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    ink = 0.016  # luminance of #222222
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / (ink + 0.05) else INK
