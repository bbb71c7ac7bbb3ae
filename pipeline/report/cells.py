"""Tables of numbers as coloured cells, and bars in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.style import BASE, FAINT, INK, MODEL, key, new_figure, shortened, text_width

Numbers = NDArray[Any]


def draw_cells(
    title: str,
    detail: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Numbers,
    label: str,
    signed: bool,
    below: str = "",
) -> Figure:
    """Draw a table of rows × columns as coloured cells, with numbers where they fit; grey: not measured.

    Args:
        title: of the picture.
        detail: what it was made from.
        rows: names.
        columns: names; left out where there are more than fit.
        values: rows × columns.
        label: of the colours.
        signed: whether 0 is in the middle of the colours.
        below: label of the columns.
    """
    longest = max(text_width(shortened(name, 20)) for name in rows)
    upright = max(text_width(shortened(name, 20)) for name in columns) > 5
    cell = 0.42 if len(columns) <= 24 else max(0.1, 10.0 / len(columns))
    width = len(columns) * cell + 0.085 * longest + 1.0
    room = 0.075 * max(text_width(shortened(name, 20)) for name in columns) if upright else 0.2
    figure = new_figure(max(width, 4.2), len(rows) * 0.27 + room + 0.5 + 0.2 * bool(below), title, detail)
    axis = figure.subplots()
    finite = values[np.isfinite(values)]
    most = max(float(np.abs(finite).max()) if finite.size else 1.0, 1e-12)
    digits = 1 if most < 10 else 0
    cells = axis.imshow(
        np.ma.masked_invalid(values), cmap="RdBu_r" if signed else "Blues", vmin=-most if signed else 0, vmax=most,
        aspect="auto",
    )  # fmt: skip
    axis.set_facecolor(FAINT)
    axis.set_yticks(np.arange(len(rows)), [shortened(name, 20) for name in rows])
    if len(columns) <= 24:
        names = [shortened(name, 20) for name in columns]
        axis.set_xticks(np.arange(len(columns)), names, rotation=90 if upright else 0)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = abs(value) > 0.6 * most
                text = f"{value:.{digits}f}".replace("-", "−")
                text = text.removeprefix("−") if float(f"{value:.{digits}f}") == 0 else text
                axis.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else INK)
    else:
        axis.set_xticks([])
    axis.tick_params(length=0)
    axis.set_xlabel(below)
    bar = figure.colorbar(cells, ax=axis, pad=0.02, aspect=30, fraction=0.05)
    bar.set_label(label, fontsize=8)
    bar.outline.set_visible(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def draw_ways(title: str, detail: str, names: Sequence[str], straight: Numbers, through: Numbers) -> Figure:
    """Draw what reaches each class's logit straight from the features, and what through the reasoning layer."""
    legend = [
        key("straight from the features", BASE, marker="s"),
        key("through the reasoning layer", MODEL, marker="s"),
    ]
    figure = new_figure(6.4, 0.32 * len(names) + 0.6, title, detail, legend)
    axis = figure.subplots()
    places = np.arange(len(names))
    axis.barh(places - 0.19, straight, 0.36, color=BASE)
    axis.barh(places + 0.19, through, 0.36, color=MODEL)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_yticks(places, [shortened(name, 24) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel("mean contribution to the logit of samples with the class, from the mean sample")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    return figure
