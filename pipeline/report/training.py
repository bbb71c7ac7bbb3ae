"""Pictures of a training under way: loss, accuracy with the rate, rates of groups, and the course of gradients."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from pipeline.contract.scores import Floats
from pipeline.core.errors import InputError
from pipeline.report.style import BASE, FAINT, INK, MODEL, OTHER, key, look, new_figure, save

METRICS, GRADIENTS = "metrics.csv", "gradient_trace.csv"
_RATE = "lr_"
Table = dict[str, Floats]


def draw_training(run: Path, log_scale: bool = True, dpi: int = 110) -> tuple[str, ...]:
    """Draw what ``metrics.csv`` and ``gradient_trace.csv`` of a run hold so far into ``figures/``.

    Args:
        run: the run folder.
        log_scale: whether rates of groups are drawn on a logarithmic axis.
        dpi: dots an inch.

    Returns:
        the names of the pictures.
    """
    pictures: dict[str, Callable[[], Figure]] = {}
    if (run / METRICS).exists():
        metrics = read_table(run / METRICS)
        rates = {name.removeprefix(_RATE): values for name, values in metrics.items() if name.startswith(_RATE)}
        pictures["training_loss.png"] = lambda: loss(metrics, run.name)
        if "val_accuracy" in metrics or "train_accuracy" in metrics:
            pictures["training_accuracy.png"] = lambda: accuracy(metrics, run.name, with_rate=len(rates) < 2)
        if len(rates) > 1:
            pictures["layer_wise_lr.png"] = lambda: group_rates(metrics["epoch"], rates, run.name, log_scale)
    if (run / GRADIENTS).exists():
        trace = read_table(run / GRADIENTS)
        pictures["gradient_timeline.png"] = lambda: gradient_timeline(trace, run.name)
        pictures["gradient_heatmap.png"] = lambda: gradient_heatmap(trace, run.name)
    with look([]):
        for name, draw in pictures.items():
            save(draw(), run / "figures" / name, dpi)
    return tuple(pictures)


def read_table(path: Path) -> Table:
    """Read a CSV of numbers as one array a column, NaN where a cell is empty.

    Raises:
        InputError: a cell is not a number.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = list(csv.reader(stream))
    try:
        values = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows]).reshape(-1, len(header))
    except ValueError as error:
        raise InputError(f"{path}: not a table of numbers ({error}); delete it, training writes it again") from None
    return {name: values[:, place] for place, name in enumerate(header)}


def loss(metrics: Table, title: str) -> Figure:
    """Draw training and validation loss over epochs."""
    figure = new_figure(6.4, 3.6, title, "loss")
    axis = figure.subplots()
    _lines(axis, metrics, {"train_loss": ("training", BASE), "val_loss": ("validation", MODEL)})
    axis.set_ylabel("loss")
    return figure


def accuracy(metrics: Table, title: str, with_rate: bool) -> Figure:
    """Draw training and validation accuracy over epochs; with one rate for all parameters, that on a second axis."""
    figure = new_figure(6.4, 3.6, title, "accuracy and learning rate" if with_rate else "accuracy")
    axis = figure.subplots()
    _lines(axis, metrics, {"train_accuracy": ("training", BASE), "val_accuracy": ("validation", MODEL)})
    axis.set_ylabel("accuracy")
    if with_rate and (metrics["learning_rate"] > 0).any():
        other = axis.twinx()
        other.plot(metrics["epoch"], metrics["learning_rate"], color=OTHER, linewidth=1.0, drawstyle="steps-mid")
        other.set_ylabel("learning rate", color=OTHER)
        _decades(other)
        other.spines["right"].set_visible(True)
        other.spines["right"].set_color(OTHER)
        other.tick_params(axis="y", which="both", colors=OTHER)
    return figure


def group_rates(epoch: Floats, rates: Table, title: str, log_scale: bool) -> Figure:
    """Draw the rate of each group of parameters over epochs."""
    figure = new_figure(6.4, 3.8, title, "learning rate of each group")
    axis = figure.subplots()
    _named_lines(axis, epoch, rates)
    axis.set_ylabel("learning rate")
    if log_scale and any((values > 0).any() for values in rates.values()):
        _decades(axis)
    return figure


def gradient_timeline(trace: Table, title: str) -> Figure:
    """Draw the size of gradients of each block over epochs, on a logarithmic axis."""
    figure = new_figure(6.4, 4.0, title, "size of gradients, each block")
    axis = figure.subplots()
    _named_lines(axis, trace["epoch"], _blocks(trace))
    axis.set_ylabel("gradient norm")
    _decades(axis)
    return figure


def gradient_heatmap(trace: Table, title: str) -> Figure:
    """Draw blocks over epochs, coloured by the logarithm of their gradients' size."""
    blocks = _blocks(trace)
    figure = new_figure(6.4, 0.24 * len(blocks) + 1.0, title, "log₁₀ of the gradients' size")
    axis = figure.subplots()
    values = np.stack(list(blocks.values()))
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.where(values > 0, np.log10(values), np.nan)
    epoch = trace["epoch"]
    edges = np.append(epoch - 0.5, epoch[-1] + 0.5)
    image = axis.pcolormesh(edges, np.arange(len(blocks) + 1), power, cmap=colormaps["cividis"])
    axis.set_yticks(np.arange(len(blocks)) + 0.5, list(blocks))
    axis.invert_yaxis()
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_facecolor(FAINT)
    figure.colorbar(image, ax=axis, fraction=0.05, pad=0.02)
    return figure


def _blocks(trace: Table) -> Table:
    return {name: values for name, values in trace.items() if name != "epoch"}


def _lines(axis: Axes, metrics: Table, lines: dict[str, tuple[str, str]]) -> None:
    shown = {name: look_ for name, look_ in lines.items() if name in metrics and not np.isnan(metrics[name]).all()}
    for name, (_, colour) in shown.items():
        axis.plot(metrics["epoch"], metrics[name], color=colour, marker="o" if len(metrics["epoch"]) == 1 else None)
    axis.legend(handles=[key(label, colour, "-") for label, colour in shown.values()], loc="best")
    _epochs(axis)


def _named_lines(axis: Axes, epoch: Floats, lines: Table) -> None:
    """Draw many lines, coloured from the first to the last, named beside the panel."""
    colours = colormaps["viridis"](np.linspace(0.0, 0.9, len(lines)))
    for (name, values), colour in zip(lines.items(), colours, strict=True):
        marker = "o" if len(epoch) == 1 else None
        axis.plot(epoch, values, color=colour, label=name, marker=marker, markersize=4)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5 if len(lines) > 10 else 8.5)
    _epochs(axis)


def _decades(axis: Axes) -> None:
    """Scale by decades, with numbers such as 1e-3: the style draws no formulas."""
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e-0", "e-")))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _epochs(axis: Axes) -> None:
    axis.set_xlabel("epoch", color=INK)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(axis="y", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
