"""Pictures of a feature importance: columns against the null, gain, stability over folds, scores, and the search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.core.artifact import read_json
from pipeline.report.style import BASE, FAINT, INK, MODEL, OTHER, key, look, new_figure, save, shortened

_MOST = 30
"""Columns in a picture; the CSV has all."""
_ROW = 0.21
_DPI = 110
Result = dict[str, Any]


def draw_importance(run: Path, dpi: int = _DPI) -> tuple[str, ...]:
    """Draw ``importance.json`` of a run folder into ``figures/``, and return the names of the pictures."""
    result = read_json(run / "importance.json")
    pictures: dict[str, Callable[[Result], Figure]] = {
        "importance_permutation.png": permutation,
        "importance_gain.png": gain,
        "importance_stability.png": stability,
        "importance_scores.png": scores,
        "importance_classes.png": classes,
    }
    if len(result["search"]["blocks"][0]["values"]) > 1:
        pictures["importance_search.png"] = search
    with look([*(row["column"] for row in result["columns"]), *result["data"]["classes"]]):
        for name, draw in pictures.items():
            save(draw(result), run / "figures" / name, dpi)
    return tuple(pictures)


def permutation(result: Result) -> Figure:
    """Draw permutation importance, each fold and their mean, beside the 95 % quantile of shuffled labels."""
    rows = result["columns"][:_MOST]
    legend = [
        key("selected", MODEL, marker="o"),
        key("not selected", BASE, marker="o"),
        key("one fold", BASE, marker="|"),
    ]
    if rows[0]["null_q95"] is not None:
        legend.append(key("95 % of shuffled labels stay below", OTHER, marker="D", filled=False))
    figure, axis = _rows(rows, _title(result, "permutation importance"), _detail(result), legend)
    for y, row in enumerate(rows):
        _dot(axis, y, row, "permutation", "permutation_folds")
        if row["null_q95"] is not None:
            axis.plot([row["null_q95"]], [y], "D", color=OTHER, markerfacecolor="white", markersize=4, zorder=4)
    axis.axvline(0, color=BASE, linewidth=0.8)
    axis.set_xlabel("loss of macro-F1 on held-out folds when the column is shuffled")
    return figure


def gain(result: Result) -> Figure:
    """Draw the share of each column in the gain of splits and, where measured, its mean |SHAP| in a second panel."""
    rows = sorted(result["columns"], key=lambda row: -row["gain_share"])[:_MOST]
    shap = rows[0]["shap"] is not None
    legend = [
        key("selected", MODEL, marker="o"),
        key("not selected", BASE, marker="o"),
        key("one fold", BASE, marker="|"),
    ]
    figure = new_figure(
        8.6 if shap else 6.6,
        _ROW * len(rows) + 0.8,
        _title(result, "gain of splits, training"),
        _detail(result),
        legend,
    )
    axes = figure.subplots(1, 2 if shap else 1, sharey=True, squeeze=False)[0]
    for axis, name, label in zip(
        axes,
        (("gain_share", "gain_share_folds"), ("shap", "shap_folds")),
        ("share of gain", "mean |SHAP|, held-out folds (log-odds)"),
        strict=False,
    ):
        _frame(axis, rows)
        for y, row in enumerate(rows):
            _dot(axis, y, row, *name)
        axis.set_xlabel(label)
        axis.set_xlim(left=0)
    _bold(axes[0], rows)
    return figure


def stability(result: Result) -> Figure:
    """Draw the rank of columns on each fold; a ring where the fold alone would select the column."""
    rows = [row for row in result["columns"] if row["frequency"] > 0 or row["selected"]][:_MOST]
    rows = rows or result["columns"][:_MOST]
    folds = len(result["stability"]["of_fold"])
    both = [result["stability"][name] for name in ("jaccard", "jaccard_by_chance")]
    values = "" if both[0] is None else f"overlap of choices (Jaccard) {both[0]:.2f}, by chance {both[1]:.2f}"
    figure = new_figure(
        4.4 + 0.4 * folds,
        0.24 * len(rows) + 0.6,
        "rank of columns on each fold",
        values,
        [key("this fold alone would select it", OTHER, marker="o", filled=False)],
    )
    axis = figure.subplots()
    rank = _ranks(result, rows)
    lowest = max(len(result["columns"]), 2)
    axis.pcolormesh(-rank, cmap=colormaps["Blues"], vmin=-lowest, vmax=0.4 * lowest)
    for (y, fold), number in np.ndenumerate(rank):
        axis.text(fold + 0.5, y + 0.52, str(number), ha="center", va="center", fontsize=7.5, color=INK)
        if rows[y]["column"] in result["stability"]["of_fold"][fold]:
            axis.plot([fold + 0.5], [y + 0.5], "o", color=OTHER, markerfacecolor="none", markersize=12)
    axis.set_yticks(np.arange(len(rows)) + 0.5, [_name(row) for row in rows])
    axis.set_xticks(np.arange(folds) + 0.5, [f"fold {number + 1}" for number in range(folds)])
    axis.invert_yaxis()
    axis.tick_params(length=0)
    _bold(axis, rows)
    return figure


def _ranks(result: Result, rows: list[Result]) -> Any:
    """Return the rank of some columns among all on each fold, 1 the most important."""
    table = np.array([row["permutation_folds"] for row in result["columns"]])
    rank = 1 + (-table).argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    place = {row["column"]: number for number, row in enumerate(result["columns"])}
    return rank[[place[row["column"]] for row in rows]]


def classes(result: Result) -> Figure:
    """Draw F1 of each class on the last block, beside that of saying the class as often at random."""
    names, table = list(result["data"]["classes"]), np.array(result["test"]["confusion"], np.float64)
    happened, said = table.sum(axis=1) / table.sum(), table.sum(axis=0) / table.sum()
    # Of independent forecasts a share h·s is right: F1 = 2 h s / (h + s).
    chance = 2 * happened * said / np.maximum(happened + said, 1e-12)
    legend = [key("model", MODEL, marker="o"), key("said as often at random", BASE, marker="s", filled=False)]
    block = result["data"]["test"]
    detail = f"{block['judged']} samples, {block['first'][:10]} to {block['last'][:10]}"
    figure = new_figure(6.0, 0.26 * len(names) + 0.6, "F1 of classes, last block", detail, legend)
    axis = figure.subplots()
    for y, value in enumerate(result["test"]["f1"]):
        if value is None:
            continue
        axis.plot([chance[y], value], [y, y], color=MODEL, linewidth=1.0, alpha=0.5)
        axis.plot([chance[y]], [y], "s", color=BASE, markerfacecolor="white", markersize=5)
        axis.plot([value], [y], "o", color=MODEL, markersize=6)
    counts = table.sum(axis=1).astype(int)
    labels = [f"{shortened(name, 20)} ({count})" for name, count in zip(names, counts, strict=True)]
    axis.set_yticks(np.arange(len(names)), labels)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(left=-0.02)
    axis.set_xlabel("F1 (in brackets: samples of the class)")
    axis.grid(axis="both", color=FAINT, linewidth=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    return figure


def scores(result: Result) -> Figure:
    """Draw macro-F1 of each fold and of the last block, with baselines and shuffled labels."""
    found, test = result["scores"], result["test"]
    places = np.arange(len(found["macro_f1"]) + 1)
    legend = [
        key("model", MODEL, marker="o"),
        key("most frequent class", BASE, marker="s", filled=False),
        key("last known class", OTHER, marker="D", filled=False),
    ]
    if found["null"]:
        legend.append(key("shuffled labels, mean of folds", BASE, marker="_"))
    figure = new_figure(6.8, 3.2, _title(result, "macro-F1"), _detail(result), legend)
    axis = figure.subplots()
    for name, marker, colour in (("majority", "s", BASE), ("persistence", "D", OTHER)):
        values = [*found["baselines"][name], test["baselines"][name], np.mean(found["baselines"][name])]
        axis.plot([*places, len(places)], values, marker, color=colour, markerfacecolor="white", markersize=6)
    axis.plot(places, [*found["macro_f1"], test["macro_f1"]], "o", color=MODEL, markersize=7)
    if test["interval_95"]:
        axis.plot([places[-1]] * 2, test["interval_95"], color=MODEL)
    mean = len(places)
    axis.plot([mean], [found["mean"]], "o", color=MODEL, markersize=7, zorder=4)
    if found["null"]:
        axis.plot(
            [mean] * len(found["null"]["macro_f1"]), found["null"]["macro_f1"], "_", color=BASE, markersize=14, zorder=2
        )
    axis.set_xticks(
        [*places, mean], [*(f"fold {number + 1}" for number in places[:-1]), "last block", "mean of\nfolds"]
    )
    axis.axvline(places[-1] - 0.5, color=FAINT, linewidth=0.8)
    axis.axvline(mean - 0.5, color=FAINT, linewidth=0.8)
    axis.set_ylim(bottom=0)
    axis.grid(axis="y", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    return figure


def search(result: Result) -> Figure:
    """Draw the searches, by the best trial so far on inner folds, and what they gained on blocks they did not see."""
    blocks = result["search"]["blocks"]
    names = [_block(block["block"]) for block in blocks]
    legend = [
        key("before the search", BASE, marker="o", filled=False),
        key("after it", MODEL, marker="o"),
        key("last block", OTHER, "-"),
        key("a fold", MODEL, "-"),
    ]
    detail = f"{result['search']['trials']} trials for each of {len(blocks)} blocks"
    figure = new_figure(8.4, 2.9, "search", detail, legend)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1), sharey=False)
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        best = np.maximum.accumulate(np.array(block["values"], np.float64))
        left.plot(
            best, color=OTHER if last else MODEL, drawstyle="steps-post", alpha=1 if last else 0.65, linewidth=1.2
        )
    left.set(xlabel="trial (0: the config's own parameters)", ylabel="best macro-F1 so far, inner folds")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    before = [*result["scores"]["macro_f1_of_config"], result["test"]["macro_f1_of_config"]]
    after = [*result["scores"]["macro_f1"], result["test"]["macro_f1"]]
    for place, pair in enumerate(zip(before, after, strict=True)):
        colour = OTHER if place == len(before) - 1 else MODEL
        right.plot([place, place], pair, color=colour, linewidth=1.0)
        right.plot([place], pair[:1], "o", color=BASE, markerfacecolor="white", markersize=6)
        right.plot([place], pair[1:], "o", color=colour, markersize=6)
    right.set_xticks(np.arange(len(names)), names)
    right.set(ylabel="macro-F1 on the block itself", xlim=(-0.5, len(names) - 0.5))
    for axis in (left, right):
        axis.grid(axis="y", color=FAINT, linewidth=0.6)
        axis.set_axisbelow(True)
    return figure


def _block(name: str) -> str:
    return name.replace(" ", "\n")


def _chance(result: Result) -> str:
    """Return whether the score is above that of shuffled labels; empty if they were not compared."""
    p_value = result["scores"]["p_value"]
    if p_value is None:
        return ""
    above = p_value <= result["settings"]["null"]["level"]
    return f"{'above chance' if above else 'not above chance'} (p {p_value:.3f})"


def _title(result: Result, title: str) -> str:
    """Put into a title that nothing was found: a picture goes around without its report."""
    said = _chance(result)
    return f"{title}: {said}" if said.startswith("not") else title


def _detail(result: Result) -> str:
    data, said = result["data"], _chance(result)
    if said.startswith("not"):
        # The title says so, and leaves less room.
        return f"{data['samples']} samples"
    before = f"{said} · " if said else ""
    return f"{before}{data['samples']} samples, {data['first'][:10]} to {data['last'][:10]}"


def _name(row: Result) -> str:
    return shortened(row["column"], 26)


def _rows(rows: list[Result], title: str, detail: str, legend: list[Any]) -> tuple[Figure, Axes]:
    figure = new_figure(7.2, _ROW * len(rows) + 0.8, title, detail, legend)
    axis = figure.subplots()
    _frame(axis, rows)
    _bold(axis, rows)
    return figure, axis


def _frame(axis: Axes, rows: list[Result]) -> None:
    axis.set_yticks(np.arange(len(rows)), [_name(row) for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="both", color=FAINT, linewidth=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _bold(axis: Axes, rows: list[Result]) -> None:
    for text, row in zip(axis.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row["selected"] else "normal")


def _dot(axis: Axes, y: int, row: Result, mean: str, folds: str) -> None:
    colour = MODEL if row["selected"] else BASE
    values = row[folds]
    axis.plot([min(values), max(values)], [y, y], color=colour, linewidth=1.0, alpha=0.5)
    axis.plot(values, [y] * len(values), "|", color=colour, markersize=6, alpha=0.8)
    axis.plot([row[mean]], [y], "o", color=colour, markersize=5, zorder=5)
