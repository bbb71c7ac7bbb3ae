"""F1, precision and recall of each class over the threshold, with the chosen one marked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.contract.scores import Floats
from pipeline.report.case import Case, figure_of
from pipeline.report.style import BASE, DASHED, INK, MODEL, OTHER, key, note_absent, panel_title, panels, text_width

_PRECISION, _RECALL = "#009E73", "#CC79A7"


@dataclass(frozen=True)
class Curve:
    """Scores of saying yes at and above each of T thresholds, ascending."""

    threshold: Floats
    precision: Floats
    recall: Floats
    f1: Floats


def threshold_curves(case: Case, columns: int) -> Figure:
    """Draw a panel a class: what another threshold would give on this split, and what the chosen one does.

    Where the likeliest class is said there is no threshold: curves are those of each class by itself, a dashed line is
    the F1 of the likeliest class.
    """
    single = case.decisions.single
    entries = [
        key("F1", MODEL, "-"),
        key("precision", _PRECISION, "-"),
        key("recall", _RECALL, "-"),
        key("F1 of the likeliest class", OTHER, DASHED) if single else key("chosen threshold", OTHER, "-", "o"),
    ]
    title = f"{case.split}: scores over the threshold"
    figure, axes = panels(len(case.labels), columns, (1.72, 1.85), title, case.period, entries)
    stacked = max(text_width(label) for label in case.labels) > 5
    for k, (axis, label) in enumerate(zip(axes, case.labels, strict=True)):
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        if not case.target[:, k].any():
            panel_title(axis, label, "", stacked)
            note_absent(axis)
            continue
        curve, said = curve_of(case.target[:, k], case.probability[:, k]), case.row(label)["f1-score"]
        panel_title(axis, label, f"F1 {figure_of(said)}, best {figure_of(float(curve.f1.max()))}", stacked)
        _draw(axis, curve)
        if single:
            axis.axhline(said, color=OTHER, linewidth=1.0, linestyle=DASHED)
        else:
            _chosen(axis, float(case.decisions.thresholds[k]), said, bool(case.decisions.fallback[k]))
    figure.supxlabel("threshold of the calibrated probability", fontsize=9)
    figure.supylabel("score", fontsize=9)
    return figure


def curve_of(target: NDArray[np.bool_], probability: Floats) -> Curve:
    """Return precision, recall and F1 of N samples at every distinct probability as the threshold."""
    order = np.argsort(-probability, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    hits, said, positives = np.cumsum(target[order])[ends].astype(np.float64), ends + 1.0, max(int(target.sum()), 1)
    scores = hits / said, hits / positives, 2 * hits / (said + positives)
    return Curve(probability[order][ends][::-1], *(values[::-1] for values in scores))


def _draw(axis: Axes, curve: Curve) -> None:
    """Draw steps: a threshold between two probabilities does what the upper one does."""
    x = np.concatenate([[0.0], curve.threshold])
    for values, colour, width in (
        (curve.precision, _PRECISION, 0.9),
        (curve.recall, _RECALL, 0.9),
        (curve.f1, MODEL, 1.5),
    ):
        axis.step(x, np.concatenate([values[:1], values]), where="pre", color=colour, linewidth=width)


def _chosen(axis: Axes, threshold: float, said: float | None, fallback: bool) -> None:
    axis.axvline(threshold, color=OTHER, linewidth=1.0, linestyle=DASHED if fallback else "-")
    axis.plot([threshold], [np.nan if said is None else said], "o", color=OTHER, markersize=4.5, zorder=5)
    if fallback:
        axis.annotate("not fitted", (threshold, 0.02), (-2, 0), textcoords="offset points", fontsize=6.5, color=BASE,
                      ha="right")  # fmt: skip
    axis.tick_params(labelcolor=INK)
