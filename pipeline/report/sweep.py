"""Pictures of a sweep: the scores of all runs of each backbone, how far it is from the best, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline.core.artifact import read_json
from pipeline.core.lock import exclusive
from pipeline.report.style import BASE, FAINT, INK, MODEL, key, look, new_figure, save, shortened
from pipeline.report.sweep_table import TITLES, show_sweep, unit_of

SUMMARY = "summary.json"
SCORES, DIFFERENCES, COST = "scores.png", "differences.png", "cost.png"
_PANELS = ("macro_f1", "weighted_f1", "map")
_COSTS = {"seconds": "seconds", "parameters": "parameters", "peak_memory_mb": "peak memory, MB"}
_LINEAR, _DENSE = 4.0, 60.0
"""Costs that span more than this factor are scaled by powers; more than the other, with a tick a power."""
_RUNS, _MEAN = (-0.32, -0.12), 0.14
"""Where the runs of a row are spread, and where their mean is below them, in rows: so that no dot is covered."""
Entry = Mapping[str, Any]


def show(folder: Path, dpi: int) -> None:
    """Draw the pictures of the sweep in this folder, and print its tables.

    Raises:
        InputError: there is no summary.
        EnvironmentFault: another process works in the folder.
    """
    with exclusive(folder):
        draw_sweep(folder, dpi)
    show_sweep(read_json(folder / SUMMARY))


def draw_sweep(folder: Path, dpi: int) -> tuple[str, ...]:
    """Draw what ``summary.json`` in the folder of a sweep tells into its ``figures/``.

    Returns:
        the names of the pictures; none where no run is finished.

    Raises:
        InputError: there is no summary.
    """
    summary = read_json(folder / SUMMARY)
    if not any(one["finished"] for one in summary["backbones"]):
        return ()
    pictures: dict[str, Callable[[Entry], Figure]] = {SCORES: draw_scores, COST: draw_cost}
    if any(one["differences"] for one in _compared(summary).values()):
        pictures[DIFFERENCES] = draw_differences
    with look([summary["experiment"]]):
        for name, draw in pictures.items():
            save(draw(summary), folder / "figures" / name, dpi)
    return tuple(pictures)


def draw_scores(summary: Entry) -> Figure:
    """Draw one row a backbone, the best on top: a dot each run, their mean and standard deviation, by validation."""
    figure, panels = _rows(summary, "validation scores", len(_PANELS))
    for axis, metric in zip(panels, _PANELS, strict=True):
        _panel(axis, summary, metric, TITLES[metric], "no run finished")
    return figure


def draw_cost(summary: Entry) -> Figure:
    """Draw the score that orders the backbones, and beside it what a run takes: time, size and memory."""
    figure, panels = _rows(summary, "score and cost of a run", 1 + len(_COSTS))
    _panel(panels[0], summary, summary["ordered_by"], TITLES[summary["ordered_by"]], "no run finished")
    for axis, (cost, label) in zip(panels[1:], _COSTS.items(), strict=True):
        _panel(axis, summary, cost, label)
        _scale(axis, [one[cost]["mean"] for one in summary["backbones"] if one[cost]["mean"]])
    return figure


def _rows(summary: Entry, about: str, columns: int) -> tuple[Figure, list[Axes]]:
    """Return a picture with a row for each backbone in so many panels."""
    backbones = summary["backbones"]
    width, height = 2.6 * columns + 1.3, 0.42 * len(backbones) + 0.7
    title, detail = f"{summary['experiment']}: {about}", _over(summary)
    figure = new_figure(width, height, title, detail, [key("a run", BASE, marker="o", filled=False), _mean_key()])
    panels = list(figure.subplots(1, columns, sharey=True))
    panels[0].set_yticks(range(len(backbones)), [_label(one) for one in backbones])
    for label, one in zip(panels[0].get_yticklabels(), backbones, strict=True):
        label.set_fontweight("bold" if one["backbone"] == summary["best"] else "normal")
    return figure, panels


def _panel(axis: Axes, summary: Entry, name: str, label: str, nothing: str = "–") -> None:
    """Draw a score of validation days, or a cost, of all backbones."""
    for place, one in enumerate(summary["backbones"]):
        values, spread = _values(summary, one["backbone"], name), one[name] if name in one else one["val"][name]
        _runs(axis, place, values, spread, nothing)
    _frame(axis, label, len(summary["backbones"]))


def _mean_key() -> Line2D:
    return key("mean ± sd", MODEL, "-", marker="o")


def _over(summary: Entry) -> str:
    folds, seeds = len(summary["folds"]), len(summary["seeds"])
    return f"{folds} fold{'s' * (folds > 1)} × {seeds} seed{'s' * (seeds > 1)}"


def _label(one: Entry) -> str:
    name = shortened(one["backbone"], 28)
    return name if one["finished"] == one["planned"] else f"{name}\n{one['finished']} of {one['planned']} runs"


def _values(summary: Entry, backbone: str, metric: str) -> list[float]:
    rows = [row for row in summary["runs"] if row["backbone"] == backbone and row["val"]]
    values = [row[metric] if metric in row else row["val"][metric] for row in rows]
    measured = [value for value in values if value is not None]
    return measured if len(set(measured)) > 1 else measured[:1]


def _runs(axis: Axes, place: int, values: list[float], spread: Entry, nothing: str) -> None:
    if not values:
        axis.annotate(
            nothing,
            (0.5, place),
            xycoords=axis.get_yaxis_transform(),
            ha="center",
            va="center",
            color=BASE,
            fontsize=8,
        )
        return
    heights = place + (np.linspace(*_RUNS, len(values)) if len(values) > 1 else np.full(1, np.mean(_RUNS)))
    axis.plot(values, heights, "o", color=BASE, markerfacecolor="white", markersize=3.5, markeredgewidth=0.7)
    mean, deviation = spread["mean"], spread["sd"] or 0.0
    axis.plot([mean - deviation, mean + deviation], [place + _MEAN] * 2, color=MODEL, linewidth=1.8, zorder=4)
    axis.plot([mean], [place + _MEAN], "o", color=MODEL, markersize=6, zorder=5)


def _frame(axis: Axes, label: str, rows: int) -> None:
    axis.set(ylim=(rows - 0.5, -0.5), xlabel=label)
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.margins(x=0.08)
    axis.grid(axis="x", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _compared(summary: Entry) -> dict[str, Entry]:
    return {one["backbone"]: one["against_best"] for one in summary["backbones"] if one["against_best"]}


def draw_differences(summary: Entry) -> Figure:
    """Draw how far each backbone is from the best: a dot each fold (or seed), their mean and standard deviation."""
    compared, unit, metric = _compared(summary), unit_of(summary), TITLES[summary["ordered_by"]]
    legend = [key(f"a {unit}", BASE, marker="o", filled=False), _mean_key()]
    title = f"{summary['experiment']}: {metric} minus that of {shortened(str(summary['best']), 28)}"
    figure = new_figure(7.0, 0.42 * len(compared) + 0.7, title, _over(summary), legend)
    axis = figure.subplots()
    axis.axvline(0, color=INK, linewidth=0.8)
    for place, against in enumerate(compared.values()):
        _runs(axis, place, list(against["differences"].values()), against, f"no {unit} in common")
    _frame(axis, f"difference of {metric} on validation days", len(compared))
    axis.set_yticks(range(len(compared)), [shortened(name, 28) for name in compared])
    return figure


def _scale(axis: Axes, values: list[float]) -> None:
    """Scale a cost by powers where it spans more than a factor of four."""
    axis.xaxis.set_major_formatter(FuncFormatter(_short))
    span = max(values) / min(values) if values else 1.0
    if span > _LINEAR:
        axis.set_xscale("log", nonpositive="clip")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if span < _DENSE else (1.0,)))
        axis.xaxis.set_major_formatter(FuncFormatter(_short))
        axis.xaxis.set_minor_formatter(NullFormatter())


def _short(value: float, _: int | None = None) -> str:
    """Return a count as on the axis of a small panel: 16 k, 4.9 M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g} {letter}"
    return f"{value:g}"
