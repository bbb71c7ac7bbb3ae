"""The confusion matrix of classes that exclude each other: K × K, coloured by the share of each true class."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.contract.scores import Floats
from pipeline.core.choose import choose
from pipeline.report.case import Case
from pipeline.report.config import ConfusionConfig
from pipeline.report.confusion import readable_on
from pipeline.report.style import BASE, shortened, text_width

_POINTS = 72.0
"""Points an inch."""
_WIDTH_OF_DIGIT = 0.62
"""Of the font size."""


def confusion_matrix(case: Case, config: ConfusionConfig) -> Figure:
    """Draw how often each class (rows) was taken for each class (columns), with the settings of ``config``.

    Raises:
        InputError: no such colour map.
    """
    colours = choose({name: colormaps[name] for name in colormaps}, config.cmap, "report.confusion_matrix.cmap")
    counts = matrix(case.target, case.chosen)
    figure = Figure(figsize=config.figsize, facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    axis = figure.subplots()
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    image = axis.imshow(share, cmap=colours, vmin=0, vmax=1, aspect="auto")
    bar = figure.colorbar(image, ax=axis, fraction=0.046, pad=0.02)
    bar.set_label("share of the true class", fontsize=config.label_fontsize * 0.8)
    bar.outline.set_visible(False)
    _write_numbers(axis, counts, share, colours, _size_that_fits(counts, config))
    _name_axes(axis, case, config)
    return figure


def matrix(target: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Floats:
    """Return counts K × K of N samples with one class each, rows truth, columns said."""
    classes = target.shape[1]
    place = target.argmax(axis=1) * classes + chosen.argmax(axis=1)
    return np.bincount(place, minlength=classes * classes).reshape(classes, classes).astype(np.float64)


def _size_that_fits(counts: Floats, config: ConfusionConfig) -> float:
    digits = len(f"{counts.max():.0f}")
    cell = 0.7 * config.figsize[0] / len(counts) * _POINTS
    return min(config.fontsize, cell / (digits + 0.6) / _WIDTH_OF_DIGIT)


def _write_numbers(axis: Axes, counts: Floats, share: Floats, colours: Colormap, size: float) -> None:
    for (row, column), value in np.ndenumerate(counts):
        red, green, blue, _ = colours(share[row, column])
        colour = readable_on((red, green, blue))
        weight = "bold" if row == column else "normal"
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=size, fontweight=weight)


def _name_axes(axis: Axes, case: Case, config: ConfusionConfig) -> None:
    accuracy = case.report["scores"]["accuracy"]
    axis.set_title(config.title, fontsize=config.title_fontsize, loc="left", weight="bold")
    detail = f"{case.split}, {case.period}, accuracy {accuracy:.1%}"
    axis.set_xlabel(f"{config.xlabel}\n", fontsize=config.label_fontsize)
    axis.figure.supxlabel(detail, fontsize=config.label_fontsize * 0.75, color=BASE)
    axis.set_ylabel(config.ylabel, fontsize=config.label_fontsize)
    names = [shortened(name) for name in case.labels]
    places = range(len(names))
    # Names that are wider than their column are written upwards.
    widest = max(text_width(name) for name in names) * config.label_fontsize * 0.6
    turned = widest > 0.75 * config.figsize[0] / len(names) * _POINTS
    axis.set_xticks(places, names, fontsize=config.label_fontsize * 0.9, rotation=90 if turned else 0)
    axis.set_yticks(places, names, fontsize=config.label_fontsize * 0.9)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
