"""Small multiples over classes: precision–recall curves with the chosen threshold, and reliability diagrams."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, reliability_bins
from pipeline.report.case import Case, figure_of
from pipeline.report.style import BASE, DASHED, FAINT, MODEL, OTHER, key, note_absent, panel_title, panels, text_width

_SIZE = (1.72, 1.85)
_BINS = 10


def pr_curves(case: Case, columns: int) -> Figure:
    """Draw precision over recall for each class, the chosen threshold, and the share of days as the line of chance."""
    entries = [
        key("model", MODEL, "-"),
        key("likeliest class" if case.decisions.single else "tuned threshold", OTHER, marker="o"),
        key(f"share of {case.unit} (chance)", BASE, DASHED),
    ]
    title = f"{case.split}: precision and recall"
    figure, axes = panels(len(case.labels), columns, _SIZE, title, case.period, entries)
    precision, stacked = case.report["per_class"]["average_precision"], _stacked(case)
    for k, (axis, label) in enumerate(zip(axes, case.labels, strict=True)):
        _frame(axis)
        if not case.target[:, k].any():
            panel_title(axis, label, "", stacked)
            note_absent(axis)
            continue
        panel_title(axis, label, f"AP {figure_of(precision[k])}   n = {case.report['support'][k]}", stacked)
        axis.step(*pr_points(case.target[:, k], case.raw[:, k]), where="pre", color=MODEL, linewidth=1.4)
        axis.axhline(case.target[:, k].mean(), color=BASE, linewidth=0.9, linestyle=DASHED)
        row = case.row(label)
        axis.plot([row["recall"]], [row["precision"]], "o", color=OTHER, markersize=5, zorder=5, clip_on=False)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    return figure


def pr_points(target: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Return recall and precision at every distinct score, recall ascending, from recall 0 at the first precision."""
    order = np.argsort(score, kind="stable")[::-1]
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits = np.cumsum(target[order])[ends]
    recall, precision = hits / hits[-1], hits / (ends + 1)
    return np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision])


def reliability(case: Case, columns: int) -> Figure:
    """Draw how often a class occurred over how probable it was said to be, before and after calibration."""
    entries = [
        key("before calibration", BASE, "-", "o", filled=False),
        key(f"calibrated (larger dots: more {case.unit})", MODEL, "-", "o"),
    ]
    title = f"{case.split}: reliability of probabilities"
    figure, axes = panels(len(case.labels), columns, _SIZE, title, case.period, entries)
    scores, stacked = case.report["per_class"], _stacked(case)
    before, after = _points(case.target, case.raw), _points(case.target, case.probability)
    for k, (axis, label) in enumerate(zip(axes, case.labels, strict=True)):
        _frame(axis)
        if not case.target[:, k].any():
            panel_title(axis, label, "", stacked)
            note_absent(axis)
            continue
        old, new = (figure_of(scores[name][k]) for name in ("ece_before_calibration", "ece"))
        panel_title(axis, label, f"ECE {old} → {new}", stacked)
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1.0, zorder=0)
        _draw_points(axis, before[k], BASE, filled=False)
        _draw_points(axis, after[k], MODEL, filled=True)
    figure.supxlabel("probability", fontsize=9)
    figure.supylabel("frequency", fontsize=9)
    return figure


def _stacked(case: Case) -> bool:
    return max(text_width(label) for label in case.labels) > 5


def _points(target: NDArray[np.bool_], probability: Floats) -> list[tuple[Floats, Floats, Floats]]:
    """Return for each class: mean probability, frequency and number of days of each bin that holds any."""
    bins = reliability_bins(target, probability, _BINS)
    found = []
    for k in range(target.shape[1]):
        full = bins.count[:, k] > 0
        count = bins.count[full, k]
        found.append((bins.probability[full, k] / count, bins.happened[full, k] / count, count))
    return found


def _draw_points(axis: Axes, points: tuple[Floats, Floats, Floats], colour: str, filled: bool) -> None:
    probability, frequency, count = points
    size = np.clip(3 * np.sqrt(count), 4, 45)
    face = colour if filled else "white"
    axis.plot(probability, frequency, color=colour, linewidth=1.0, zorder=2)
    axis.scatter(probability, frequency, size, face, edgecolor=colour, linewidth=0.9, zorder=3, clip_on=False)


def _frame(axis: Axes) -> None:
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
