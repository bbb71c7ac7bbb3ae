"""The summary of a sweep as tables on the console: validation first, test days apart and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from pipeline.report.case import figure_of

_WIDTH = 180
_MOST_UNITS = 14
"""Folds or seeds that stand in columns of their own."""
TITLES = {
    "macro_f1": "macro F1",
    "macro_f1_cross_fit": "cross-fit",
    "macro_f1_excluding": "without",
    "weighted_f1": "weighted F1",
    "map": "mAP",
    "val_loss": "loss",
}
Entry = Mapping[str, Any]


def show_sweep(summary: Entry) -> None:
    """Print the tables to standard output, at a fixed width where that is not a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(sweep_tables(summary))


def sweep_tables(summary: Entry) -> Group:
    """Return the backbones with their validation scores, how they compare, the test days, and what failed."""
    parts: list[RenderableType] = [*_titled(_validation(summary)), ""]
    if any(one["against_best"] and one["against_best"]["pairs"] for one in summary["backbones"]):
        parts += [*_titled(_differences(summary)), ""]
    parts += [*_titled(_costs(summary)), "", summary["notes"]["val"]]
    if any(one["test"]["runs"] for one in summary["backbones"]):
        parts += ["", *_titled(_test(summary)), summary["notes"]["test"]]
    stand_ins = [one for one in summary["backbones"] if one["stand_ins"]]
    for one in stand_ins:
        parts.append(escape(f"warning: {one['backbone']} was NOT trained in every run; {one['stand_ins']} stood in"))
    missing = [row for row in summary["runs"] if row["status"] != "finished"]
    if missing:
        parts += ["", *_titled(_missing(missing))]
    return Group(*parts)


def _shown(summary: Entry) -> list[str]:
    return [name for name in TITLES if name != "macro_f1_excluding" or summary["excluded"]]


def _title(name: str, summary: Entry) -> str:
    return f"without {', '.join(summary['excluded'])}" if name == "macro_f1_excluding" else TITLES[name]


def _validation(summary: Entry) -> Table:
    folds, seeds = len(summary["folds"]), len(summary["seeds"])
    over = f"{folds} fold{'s' * (folds > 1)}, {seeds} seed{'s' * (seeds > 1)}"
    table = _table(f"validation: mean ± sd over {over}; ordered by {TITLES[summary['ordered_by']]}")
    titles = (_title(name, summary) for name in _shown(summary))
    for title in ("runs", "best epoch", *titles):
        table.add_column(escape(title), justify="right", no_wrap=True)
    for one in summary["backbones"]:
        scores = (plus_minus(one["val"][name]) for name in _shown(summary))
        name = one["backbone"] + ("*" if one["stand_ins"] else "")
        bold = "bold" if one["backbone"] == summary["best"] else None
        runs = f"{one['finished']}/{one['planned']}"
        table.add_row(escape(name), runs, plus_minus(one["best_epoch"], 0), *scores, style=bold)
    return table


def _costs(summary: Entry) -> Table:
    table = _table("cost of a run: mean ± sd")
    for title in ("seconds", "epochs", "parameters", "peak MB"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in summary["backbones"]:
        memory = plus_minus(one["peak_memory_mb"], 0)
        cells = (plus_minus(one["seconds"], 1), plus_minus(one["epochs"], 0), _mean(one["parameters"], 0), memory)
        table.add_row(escape(one["backbone"]), *cells)
    return table


def _differences(summary: Entry) -> Table:
    """Return the difference to the best in each fold (or with each seed), where they fit on a page, and p."""
    unit = unit_of(summary)
    units = [str(name) for name in summary[f"{unit}s"]] if len(summary[f"{unit}s"]) <= _MOST_UNITS else []
    title = f"{TITLES[summary['ordered_by']]} minus that of {escape(str(summary['best']))}, by {unit}"
    table = _table(title)
    for name in (*units, "mean ± sd", "better in", "worse in", "p (signs)", "p (ranks)"):
        table.add_column(escape(name), justify="right", no_wrap=True)
    for one in summary["backbones"]:
        against = one["against_best"]
        if against:
            found, pairs = against["differences"], against["pairs"]
            spread = "" if against["sd"] is None else f" ± {against['sd']:.3f}"
            cells = [*(_signed(found.get(name)) for name in units), f"{_signed(against['mean'])}{spread}"]
            cells += [f"{against[side]} of {pairs}" for side in ("better", "worse")]
            cells += [figure_of(against[p], 3) if against["enough"] else "–" for p in ("p_sign", "p_wilcoxon")]
            table.add_row(escape(one["backbone"]), *cells)
    table.caption = f"p: exact and two-sided; with fewer than 6 {unit}s there is none, because it could not be small"
    return table


def unit_of(summary: Entry) -> str:
    """Return what a pair is: a fold, or a seed where there is one fold."""
    return "fold" if len(summary["folds"]) > 1 else "seed"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def _test(summary: Entry) -> Table:
    table = _table("TEST days: judged, chosen by nothing")
    names = [name for name in _shown(summary) if name not in ("macro_f1_cross_fit", "val_loss")]
    pooled = any(one["test"]["pooled"]["seeds"] for one in summary["backbones"])
    titles = ["runs", *(_title(name, summary) for name in names)]
    for title in [*titles, *(["pooled: days", "macro F1", "weighted F1", "mAP"] if pooled else [])]:
        table.add_column(escape(title), justify="right", no_wrap=True)
    for one in summary["backbones"]:
        test = one["test"]
        together = test["pooled"]
        cells = [str(test["runs"]), *(plus_minus(test[name]) for name in names)]
        if pooled and together["seeds"]:
            means = (plus_minus(together[name]) for name in ("macro_f1", "weighted_f1", "map"))
            cells += [str(together["days"]), *means]
        table.add_row(escape(one["backbone"]), *cells)
    if pooled:
        table.caption = "pooled: the test days of all folds together, each day judged by the model that never saw it"
    return table


def _missing(rows: Sequence[Entry]) -> Table:
    table = _table("runs without scores")
    for title in ("fold", "seed", "status"):
        table.add_column(title)
    table.add_column("error", overflow="fold")
    for row in rows:
        table.add_row(
            escape(row["backbone"]), escape(row["fold"]), str(row["seed"]), row["status"], escape(row["error"] or "")
        )
    return table


def _table(title: str) -> Table:
    table = Table(title=title, box=None, pad_edge=False)
    table.add_column("backbone", no_wrap=True)
    return table


def _titled(table: Table) -> list[RenderableType]:
    """Return a table and its title as lines of their own: as parts of the table they would break at its width."""
    title, caption = table.title, table.caption
    table.title = table.caption = None
    return [part for part in (f"[italic]{title}[/italic]", table, caption) if part is not None]


def plus_minus(spread: Entry, digits: int = 3) -> str:
    """Return ``mean ± sd``, without the sd where there is one value only."""
    mean = figure_of(spread["mean"], digits)
    return mean if spread["sd"] is None else f"{mean} ± {spread['sd']:.{digits}f}"


def _mean(spread: Entry, digits: int) -> str:
    return "–" if spread["mean"] is None else f"{spread['mean']:,.{digits}f}"
