"""The report stage: reports, predictions and history of a run in, ``figures/*.png`` and a console table out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.contract.predictions import CALIBRATION, THRESHOLDS, fresh_files, made_from, predictions_path
from pipeline.core.artifact import describe_files, read_json, write_json
from pipeline.core.config import signature
from pipeline.core.errors import InputError
from pipeline.core.lock import exclusive
from pipeline.report.case import Case, load_case
from pipeline.report.config import FORMAT, ReportConfig
from pipeline.report.confusion import confusion_matrices
from pipeline.report.curves import pr_curves, reliability
from pipeline.report.dots import score_dots
from pipeline.report.loss import loss_curve
from pipeline.report.matrix import confusion_matrix
from pipeline.report.style import look, save
from pipeline.report.subscores import subscore_dots
from pipeline.report.table import score_table, show
from pipeline.report.threshold_curves import threshold_curves

FIGURES, INDEX, HISTORY = "figures", "index.json", "history.json"


@dataclass(frozen=True)
class Drawn:
    """Whether the pictures were there already, and their names."""

    fresh: bool
    names: tuple[str, ...]


def report(config: ReportConfig, run: Path) -> Drawn:
    """Draw the pictures of ``run`` unless they are there, and print its table.

    Raises:
        InputError: the run was not trained, tuned or evaluated, or one of these is older than the one before.
        EnvironmentFault: another process works in the folder, or it cannot be written.
    """
    cases = [
        load_case(run, split) for split in ("val", "test") if split == "val" or predictions_path(run, split).exists()
    ]
    with exclusive(run):
        stamp = made_from([FORMAT, signature(config)], run, _inputs(cases))
        names = fresh_files(run / FIGURES / INDEX, stamp)
        if names is None:
            drawn = _draw(config, run, cases)
            files = describe_files(run / FIGURES, drawn)
            write_json(run / FIGURES / INDEX, {"files": files, "made_from": stamp})
    show([score_table(case) for case in cases])
    return Drawn(names is not None, tuple(names if names is not None else drawn))


def _inputs(cases: list[Case]) -> list[str]:
    splits = [name for case in cases for name in (f"predictions_{case.split}.npz", f"{case.split}_report.json")]
    return [HISTORY, THRESHOLDS, CALIBRATION, *splits]


def _draw(config: ReportConfig, run: Path, cases: list[Case]) -> list[str]:
    if not (run / HISTORY).exists():
        raise InputError(f"{run / HISTORY}: no such file; train first, to the end (python jobs/train.py <config>)")
    history = read_json(run / HISTORY)
    pictures: dict[str, Callable[[], Figure]] = {"loss_curve.png": lambda: loss_curve(history, run.name)}
    for case in cases:
        pictures |= _of_split(case, config)
    with look([*cases[0].labels, *_texts(config)]):
        for name, draw in pictures.items():
            save(draw(), run / FIGURES / name, config.dpi)
    return list(pictures)


def _texts(config: ReportConfig) -> list[str]:
    matrix = config.confusion_matrix
    return [matrix.title, matrix.xlabel, matrix.ylabel]


def _of_split(case: Case, config: ReportConfig) -> dict[str, Callable[[], Figure]]:
    columns = config.columns

    def confusion() -> Figure:
        if case.decisions.single:
            return confusion_matrix(case, config.confusion_matrix)
        return confusion_matrices(case, columns)

    return {
        f"confusion_{case.split}.png": confusion,
        f"pr_curves_{case.split}.png": lambda: pr_curves(case, columns),
        f"reliability_{case.split}.png": lambda: reliability(case, columns),
        f"scores_{case.split}.png": lambda: score_dots(case),
        f"subscores_{case.split}.png": lambda: subscore_dots(case),
        f"threshold_curves_{case.split}.png": lambda: threshold_curves(case, columns),
    }
