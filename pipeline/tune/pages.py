"""Pages for a browser, drawn by Plotly; the five share one copy of its program."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from pipeline.core.artifact import write_text
from pipeline.core.logs import log

if TYPE_CHECKING:
    from optuna.importance import BaseImportanceEvaluator

    from pipeline.tune.study import Study

FOLDER, PROGRAM = "html", "plotly.min.js"
_MOST = 6
"""Parameters in a contour page: it has a panel for each pair."""


def write_pages(study: Study, folder: Path, evaluator: BaseImportanceEvaluator) -> list[str]:
    """Write ``html/<plot>.html`` of each plot that the trials suffice for; return their names.

    ``plotly.min.js`` (5 MB) lies beside them once, so that the pages work without internet.
    """
    try:
        program = import_module("plotly.offline").get_plotlyjs()
    except ImportError:
        log.warning("no HTML pages: the package plotly is not installed; the PNG pictures tell the same")
        return []
    kept = _kept(study)
    complete = [trial for trial in kept.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if not complete:
        return []
    write_text(folder / FOLDER / PROGRAM, program)
    written = []
    for name, draw in _plots(kept, evaluator).items():
        try:
            with warnings.catch_warnings(), _quiet():
                warnings.simplefilter("ignore")
                figure = draw()
        except (ValueError, RuntimeError, ImportError, KeyError) as error:
            log.warning("%s.html: %s", name, str(error).splitlines()[0])
            continue
        text = figure.to_html(include_plotlyjs=PROGRAM, full_html=True, div_id=name)
        write_text(folder / FOLDER / f"{name}.html", text)
        written.append(f"{name}.html")
    return written


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's remarks on parameters with few values out of the log; the plots show it."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _kept(study: Study) -> optuna.Study:
    """Return a study of the trials that count."""
    kept = optuna.create_study(direction=study.plan.direction, study_name=study.optuna.study_name)
    kept.add_trials([trial for trial in study.counted() if trial.state.is_finished()])
    return kept


def _plots(kept: optuna.Study, evaluator: BaseImportanceEvaluator) -> dict[str, Callable[[], Any]]:
    import optuna.visualization as draw

    chosen = _contoured(kept)
    return {
        "optimization_history": lambda: draw.plot_optimization_history(kept),
        "param_importances": lambda: draw.plot_param_importances(kept, evaluator=evaluator),
        "parallel_coordinate": lambda: draw.plot_parallel_coordinate(kept),
        "slice_plot": lambda: draw.plot_slice(kept),
        **({"contour_plot": lambda: draw.plot_contour(kept, params=chosen)} if len(chosen) > 1 else {}),
    }


def _contoured(kept: optuna.Study) -> list[str]:
    """Return the parameters of a contour page: those of most complete trials that took several values."""
    complete = [trial for trial in kept.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    found: dict[str, list[Any]] = {}
    for trial in complete:
        for name, value in trial.params.items():
            found.setdefault(name, []).append(value)
    several = [name for name, values in found.items() if len(set(map(str, values))) > 1]
    return sorted(sorted(several, key=lambda name: -len(found[name]))[:_MOST])
