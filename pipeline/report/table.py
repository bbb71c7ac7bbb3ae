"""The scores of a split as a table on the console."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.table import Table

from pipeline.report.case import Case, figure_of
from pipeline.report.subscores import subscore_table

_COLUMNS = ("support", "AP", "threshold", "precision", "recall", "F1")
_WIDTH = 100


def score_table(case: Case) -> Group:
    """Return the tables of one split: classes with their means, the model beside its baselines, parts of the split."""
    warnings = (f"warning: {_plain(warning)}" for warning in case.report["warnings"])
    return Group(_classes(case), _comparison(case), subscore_table(case), *warnings, case.report["note"], "")


def show(tables: list[Group]) -> None:
    """Print to standard output, at a fixed width where that is not a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for table in tables:
        console.print(table)


def _classes(case: Case) -> Table:
    table = Table(title=f"{case.split}: {case.period}", title_justify="left", box=None, pad_edge=False)
    table.add_column("class")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    per_class = case.report["per_class"]
    for k, label in enumerate(case.labels):
        fallback = "*" if per_class["threshold_is_fallback"][k] else ""
        threshold = figure_of(per_class["threshold"][k], 3) + fallback
        table.add_row(_plain(label), *_cells(case.row(label), per_class["average_precision"][k], threshold))
    table.add_section()
    for mean in ("macro", "micro", "weighted", "samples"):
        precision = case.report["scores"]["map"] if mean == "macro" else None
        table.add_row(mean, *_cells(case.row(f"{mean} avg"), precision, ""), style="bold" if mean == "macro" else None)
    if any(per_class["threshold_is_fallback"]):
        table.caption = "* no positives in validation: threshold not fitted"
    return table


def _cells(row: dict[str, Any], average_precision: float | None, threshold: str) -> list[str]:
    first = [str(row["support"]), figure_of(average_precision) if average_precision is not None else "", threshold]
    return first + [figure_of(row[key]) for key in ("precision", "recall", "f1-score")]


def _comparison(case: Case) -> Table:
    report = case.report
    scores = {"map": "mAP", "macro_f1": "macro F1", "micro_f1": "micro F1"}
    if case.decisions.single:
        scores["micro_f1"] = "accuracy"
    if report["excluded"]:
        scores["macro_f1_excluding"] = f"macro F1 without {', '.join(report['excluded'])}"
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for title in scores.values():
        table.add_column(_plain(title), justify="right")
    table.add_row("model", *(figure_of(report["scores"][key], 3) for key in scores), style="bold")
    if report["intervals"]["resamples"]:
        table.add_row(
            f"  {report['intervals']['confidence']:.0%} interval", *_limits(report["intervals"], list(scores))
        )
    for name, values in report["baselines"].items():
        table.add_row(name.replace("_", " "), *(figure_of(values[key], 3) for key in scores))
    table.add_row("uplift over the best", *(f"{_signed(report['uplift'][key])}" for key in scores))
    if report["intervals"]["resamples"]:
        table.add_row("  interval", *_limits(report["intervals"]["uplift"], list(scores)))
    return table


def _limits(intervals: dict[str, Any], keys: list[str]) -> list[str]:
    return [" – ".join(figure_of(limit, 3) for limit in intervals[key]) for key in keys]


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def _plain(text: str) -> str:
    """Keep square brackets in names from being read as markup."""
    return text.replace("[", r"\[")
