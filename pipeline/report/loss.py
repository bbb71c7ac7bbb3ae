"""The loss curve: losses, validation scores and learning rate over epochs, and where the kept weights come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.contract.predictions import number
from pipeline.report.style import BASE, DASHED, FAINT, INK, MODEL, OTHER, key, new_figure

_LOSSES = {"train_loss": ("training loss", BASE), "val_loss": ("validation loss", MODEL)}
_SCORES = {"val_map": ("validation mAP", MODEL), "val_f1": ("validation macro F1 at 0.5", OTHER)}

_PLATE: dict[str, Any] = {"frameon": True, "edgecolor": "none", "framealpha": 0.9, "fancybox": False}
"""White below a legend that lies on grid lines."""


def loss_curve(history: dict[str, Any], title: str) -> Figure:
    """Draw ``history.json``: three panels above each other, the chosen epoch marked by the metric that chose it."""
    epochs = history["epochs"]
    chosen = f"weights of epoch {history['best_epoch']}: {_reason(history)}"
    figure = new_figure(7.0, 6.0, title, chosen)
    axes: list[Axes] = list(figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1.3]))
    loss, score, rate = axes
    _lines(loss, epochs, _LOSSES)
    loss.set_ylabel("loss")
    _lines(score, epochs, _scores(epochs[-1]))
    score.set(ylabel="score", ylim=(0, None))
    _lines(rate, epochs, {"lr": ("learning rate", INK)})
    _rate_axis(rate, [entry["lr"] for entry in epochs if entry["lr"] > 0])
    for axis in axes:
        axis.axvline(history["best_epoch"], color=INK, linewidth=0.9, linestyle=DASHED)
    rate.set_xlim(0.5, max(epochs[-1]["epoch"], 2) + 0.5)
    if history["select"] != "last":
        panel = loss if history["select"] == "val_loss" else score
        panel.plot([history["best_epoch"]], [number(history["best"])], "o", color=INK, markersize=5.5, zorder=5)
    figure.align_ylabels(axes)
    return figure


def _scores(entry: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the scores to draw; where a sample has one class (accuracy is measured) F1 is of the likeliest."""
    single = {"val_f1": ("validation macro F1 of the likeliest class", OTHER)} if "val_accuracy" in entry else {}
    return _SCORES | single


def _reason(history: dict[str, Any]) -> str:
    if history["select"] == "last":
        return "the last"
    return f"best {history['select']} {number(history['best']):.4f}"


def _lines(axis: Axes, epochs: list[dict[str, Any]], lines: dict[str, tuple[str, str]]) -> None:
    x = np.array([entry["epoch"] for entry in epochs])
    marker = "o" if len(x) == 1 else None
    for name, (_, colour) in lines.items():
        axis.plot(x, [number(entry.get(name)) for entry in epochs], color=colour, marker=marker, markersize=4)
    axis.grid(axis="y", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    if len(lines) > 1:
        axis.legend(handles=[key(label, colour, "-") for label, colour in lines.values()], loc="best", **_PLATE)


def _rate_axis(axis: Axes, rates: list[float]) -> None:
    """Scale by decades; without rates above zero (the last of a schedule can be zero) there is nothing to scale."""
    axis.set(ylabel="learning rate", xlabel="epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not rates:
        return
    # A schedule that ends near zero would fill the panel with its last epoch: three decades are enough to see it.
    low = max(min(rates), max(rates) / 1000)
    axis.set(yscale="log", ylim=(low / 1.6, max(rates) * 1.6))
    subs = (1.0,) if max(rates) / low > 30 else (1.0, 2.0, 5.0)
    axis.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e-0", "e-")))
