"""Two runs compared: differences of scores and of each class's F1, with their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.contract.predictions import number
from pipeline.report.case import figure_of
from pipeline.report.style import BASE, FAINT, INK, MODEL, key, new_figure, shortened


def draw_comparison(run: str, other: str, split: str, found: dict[str, Any]) -> Figure:
    """Draw one row a score and a class: the difference run − other, its interval, and both values.

    Differences whose interval leaves out zero are filled. The Brier score, of which less is better, is turned round.
    """
    rows = [_whole(found, name) for name in found["differences"]]
    classes = [_class(entry) for entry in found["per_class"]]
    method = found["method"]
    spread = f"{method['confidence']:.0%} interval" + (
        f" (blocks of {method['block_days']} days)" if method["block_days"] > 1 else ""
    )
    legend = [key("difference", MODEL, marker="o", filled=False), key("beyond chance", MODEL, marker="o")]
    legend += [key(spread, MODEL, "-")] if method["resamples"] else []
    detail = f"{found['samples']} samples; right of zero: {run} is better"
    figure = new_figure(
        6.8, 0.25 * (len(rows) + len(classes) + 1) + 0.9, f"{split}: {run} against {other}", detail, legend
    )
    axis = figure.subplots()
    places = [*range(len(rows)), *np.arange(len(classes)) + len(rows) + 0.7]
    for y, row in zip(places, [*rows, *classes], strict=True):
        _row(axis, y, row)
    _frame(axis, places, [row["name"] for row in (*rows, *classes)], len(rows))
    _numbers(axis, -1.0, ("this", "other"), BASE)
    return figure


def _whole(found: dict[str, Any], name: str) -> dict[str, Any]:
    one, sign = found["differences"][name], -1.0 if name == "brier" else 1.0
    limits = sorted(sign * number(limit) for limit in one["interval"])
    digits = 3 if name == "brier" else 2
    values = tuple(figure_of(found["scores"][which][name], digits) for which in ("run", "against"))
    label = one["name"] + (" (less is better)" if name == "brier" else "")
    return {"name": label, "value": sign * number(one["value"]), "interval": limits, "values": values}


def _class(entry: dict[str, Any]) -> dict[str, Any]:
    f1 = entry["f1"]
    return {
        "name": f"F1 of {shortened(entry['class'], 16)}",
        "value": number(f1["difference"]),
        "interval": [number(limit) for limit in f1["interval"]],
        "values": (figure_of(f1["run"]), figure_of(f1["against"])),
    }


def _row(axis: Axes, y: float, row: dict[str, Any]) -> None:
    if np.isnan(row["value"]):
        axis.text(0, y, "does not occur", va="center", ha="center", color=BASE, fontsize=8)
        return
    low, high = row["interval"]
    clear = low > 0 or high < 0
    axis.plot([low, high], [y, y], color=MODEL, linewidth=1.8, solid_capstyle="butt")
    axis.plot(
        [row["value"]], [y], "o", color=MODEL, markerfacecolor=MODEL if clear else "white", markersize=5.5, zorder=5
    )
    _numbers(axis, y, row["values"], INK)


def _numbers(axis: Axes, y: float, values: tuple[str, ...], colour: str) -> None:
    for text, distance in zip(values, (34, 76), strict=True):
        axis.annotate(
            text, (1, y), (distance, 0), axis.get_yaxis_transform(), "offset points",
            ha="right", va="center", fontsize=8, annotation_clip=False, color=colour,
        )  # fmt: skip


def _frame(axis: Axes, places: list[float], names: list[str], first_class: int) -> None:
    widest = max((abs(limit) for limit in axis.get_xlim()), default=0.1)
    axis.set(xlim=(-widest, widest), ylim=(places[-1] + 0.6, -0.6), xlabel="difference")
    axis.set_yticks(places, names)
    axis.axvline(0, color=INK, linewidth=0.9, zorder=1)
    axis.axhline(first_class - 0.15, color=BASE, linewidth=0.6)
    axis.grid(axis="x", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
