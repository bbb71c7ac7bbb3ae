"""Looking at studies: one in detail, all of an experiment, or one while it goes on."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.core.artifact import read_json
from pipeline.core.interrupt import Interrupt
from pipeline.tune.plan import Plan
from pipeline.tune.results import STATISTICS, Summary, ranked, winner
from pipeline.tune.roster import at_work
from pipeline.tune.space import stored_values
from pipeline.tune.storage import restore_memory
from pipeline.tune.study import ERROR, Study, existing_study
from pipeline.tune.verdict import confirmation_text

_WATCH_SECONDS = 2.0
_ROWS = 10


def show(plan: Plan) -> str:
    """Return a study in words: counts, best trials, parameters of the best, importances, errors, confirmation."""
    study = existing_study(plan)
    restore_memory(study)
    summary = Summary.of(study)
    lines = [f"{plan.folder.name}: {plan.direction} {plan.metric}; {summary.text}"]
    lines += _best_lines(study)
    for trial in study.counted():
        if ERROR in trial.user_attrs:
            lines.append(f"trial {trial.number} failed: {trial.user_attrs[ERROR]}")
    lines += _importance_lines(plan.folder)
    return "\n".join([*lines, confirmation_text(plan.folder)]).rstrip()


def _best_lines(study: Study) -> list[str]:
    best = winner(study)
    lines = [f"  trial {trial.number:>4}  {trial.value or 0.0:.5f}" for trial in ranked(study)[:_ROWS]]
    if best is not None:
        lines.append(f"best: trial {best.number}")
        lines += [f"  {name}: {value}" for name, value in stored_values(study.plan.space, best.params).items()]
    return lines


def _importance_lines(folder: Path) -> list[str]:
    path = folder / STATISTICS
    found = read_json(path)["importances"] if path.exists() else None
    return ["importance:", *(f"  {name}: {share:.3f}" for name, share in found.items())] if found else []


def list_studies(plan: Plan) -> str:
    """Return a line for each study of the experiment."""
    found = [_study_line(path, path.parent.name) for path in sorted(plan.folder.parent.glob("*/run.json"))]
    return "\n".join(filter(None, found)) or f"{plan.folder.parent}: no studies"


def all_studies(results: Path) -> str:
    """Return a line for each study of each experiment."""
    paths = sorted(results.glob("*/*/run.json"))
    found = [_study_line(path, str(path.parent.relative_to(results))) for path in paths if not path.parent.is_symlink()]
    return "\n".join(filter(None, found)) or f"{results}: no studies"


def _study_line(path: Path, name: str) -> str:
    record = read_json(path)
    if record.get("job") != "tune":
        return ""
    table, workers = path.with_name(STATISTICS), at_work(path.parent)
    found = read_json(table) if table.exists() else {}
    best = "" if found.get("best") is None else f"  best {found['metric']} {found['best']:.5f}"
    # A killed search leaves `running` behind.
    status = f"running ({workers} at work)" if workers else str(record["status"]).replace("running", "interrupted")
    return f"{name}  {status}  {found.get('n_trials', 0)} of {record['n_trials']} trials{best}"


def watch(plan: Plan, interrupt: Interrupt) -> str:
    """Print a line whenever the study has moved, until it is finished or a stop is asked for; return the last."""
    last = ""
    while True:
        study = existing_study(plan)
        restore_memory(study)
        summary = Summary.of(study)
        text = summary.text
        if summary.best is not None:
            text += f"; best {plan.metric} {summary.best.value:.5f} (trial {summary.best.number})"
        if text != last:
            print(text, flush=True)
            last = text
        if study.finished or interrupt.requested():
            return last
        time.sleep(_WATCH_SECONDS)
