"""F1 of each class as dots with intervals, beside the best baseline, and the macro mean below."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.contract.predictions import number
from pipeline.report.case import Case, figure_of
from pipeline.report.style import BASE, FAINT, MODEL, OTHER, key, new_figure, shortened

_Limits = list[float | None] | None


def score_dots(case: Case) -> Figure:
    """Draw one row a class: F1 with its interval, the best baseline's F1, and on how many days the class occurs."""
    report, last = case.report, len(case.labels) + 0.35
    best = report["best_baseline"]["macro_f1"]
    baseline = report["baselines"][best]
    title = f"{case.split}: F1 {case.how}"
    figure = new_figure(6.8, 0.25 * len(case.labels) + 1.2, title, case.period, _legend(report, best))
    axis = figure.subplots()
    for k, label in enumerate(case.labels):
        row = case.row(label)
        _row(axis, k, row["f1-score"], _class_interval(report, k), baseline["f1"][k])
        _numbers(axis, k, figure_of(row["f1-score"]), str(row["support"]))
    macro = report["scores"]["macro_f1"]
    _row(axis, last, macro, report["intervals"].get("macro_f1"), baseline["macro_f1"])
    _numbers(axis, last, figure_of(macro), str(report["days"]), weight="bold")
    _numbers(axis, -1.0, "F1", case.unit, color=BASE)
    axis.axhline(last - 0.68, color=BASE, linewidth=0.6)
    _frame(axis, case.labels, last)
    return figure


def _class_interval(report: dict[str, Any], k: int) -> _Limits:
    classes = report["intervals"].get("per_class")
    found: _Limits = classes["f1"][k] if classes else None
    return found


def _row(axis: Axes, y: float, value: float | None, limits: _Limits, baseline: float | None) -> None:
    if value is None:
        axis.text(0.012, y, "does not occur", va="center", color=BASE, fontsize=8)
        return
    if limits is not None:
        axis.plot([number(limit) for limit in limits], [y, y], color=MODEL, linewidth=1.8, solid_capstyle="butt")
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markersize": 4.5, "clip_on": False}
    axis.plot([number(baseline)], [y], "D", color=OTHER, zorder=4, **hollow)
    axis.plot([value], [y], "o", color=MODEL, markersize=6, zorder=5, clip_on=False)


def _numbers(axis: Axes, y: float, score: str, days: str, **style: Any) -> None:
    """Write two columns at the right of the panel, at fixed distances in points."""
    for text, distance in ((score, 34), (days, 76)):
        axis.annotate(
            text,
            (1, y),
            (distance, 0),
            axis.get_yaxis_transform(),
            "offset points",
            ha="right",
            va="center",
            fontsize=8,
            annotation_clip=False,
            **style,
        )


def _frame(axis: Axes, labels: tuple[str, ...], last: float) -> None:
    axis.set(xlim=(0, 1), ylim=(last + 0.6, -0.6), xlabel="F1")
    axis.set_yticks([*range(len(labels)), last], [*(shortened(label, 24) for label in labels), "macro"])
    axis.get_yticklabels()[-1].set_fontweight("bold")
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.grid(axis="x", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _legend(report: dict[str, Any], best: str) -> list[Any]:
    method = report["intervals"]
    block = method["block_days"]
    spread = f"{method['confidence']:.0%} interval" + (f" (blocks of {block} days)" if block > 1 else "")
    entries = [key("model", MODEL, marker="o")]
    if method["resamples"]:
        entries.append(key(spread, MODEL, "-"))
    return [*entries, key(f"best baseline: {best.replace('_', ' ')}", OTHER, marker="D", filled=False)]
