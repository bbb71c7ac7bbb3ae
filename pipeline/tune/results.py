"""What a search found, as files: best parameters, all trials, statistics, and a config that trains the best."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from pipeline.core.artifact import read_json, write_json, write_text
from pipeline.core.errors import InputError
from pipeline.core.logs import log
from pipeline.tune.pages import write_pages
from pipeline.tune.space import stored_values
from pipeline.tune.study import ERROR, RETRY_OF, RUN, Study, again

BEST, HISTORY, STATISTICS, OPTIMIZED, CONFIRM = (
    "best_params.json", "trials_history.json", "study_statistics.json", "optimized_config.yaml", "confirm.json",
)  # fmt: skip
_ORDER = "complete", "pruned", "failed", "running"
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


@dataclass(frozen=True)
class Summary:
    """How many trials ended how, and the best."""

    metric: str
    counts: dict[str, int]
    lost: int
    """Trials of killed or stopped workers, begun again under another number."""
    target: int
    best: FrozenTrial | None

    @classmethod
    def of(cls, study: Study) -> Summary:
        """Return how a study stands."""
        counted = study.counted()
        found = Counter(_STATES[trial.state] for trial in counted)
        lost = len(again(study.trials()))
        return cls(study.plan.metric, {name: found[name] for name in _ORDER}, lost, study.target, best_trial(study))

    @property
    def text(self) -> str:
        """The counts in words."""
        shown = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count)
        count = sum(self.counts.values())
        return f"{count} of {max(count, self.target)} trials: {shown or 'none'}"


def ranked(study: Study) -> list[FrozenTrial]:
    """Return the complete trials, the best first; of equals the earlier."""
    sign = -1.0 if study.plan.direction == "maximize" else 1.0
    complete = [trial for trial in study.counted() if trial.state == TrialState.COMPLETE and trial.value is not None]
    return sorted(complete, key=lambda trial: (sign * float(trial.value or 0.0), trial.number))


def best_trial(study: Study) -> FrozenTrial | None:
    """Return the best complete trial; pruned ones saw less training and are not compared."""
    return next(iter(ranked(study)), None)


def write_results(study: Study, final: bool) -> None:
    """Write all tables; when the search has ended, the optimized config and pages for a browser as well."""
    plan = study.plan
    write_history(study)
    best = winner(study)
    importances = _importances(study) if final else None
    write_json(plan.folder / STATISTICS, _statistics(study, importances))
    write_json(plan.folder / BEST, _best(study, best))
    if best is not None:
        values = stored_values(plan.space, best.params)
        write_text(plan.folder / OPTIMIZED, plan.ground.dump(plan.full(values)))
    if final and plan.config.pictures:
        write_pages(study, plan.folder, evaluator(plan.config.study.seed))


def winner(study: Study) -> FrozenTrial | None:
    """Return the best trial: that of the confirmation where there was one."""
    confirmed = confirmed_row(study)
    if confirmed is None:
        return best_trial(study)
    return next((trial for trial in study.trials() if trial.number == confirmed["number"]), None)


def confirmed_row(study: Study) -> dict[str, Any] | None:
    """Return the winner's row of the confirmation: trial, mean, spread and values over seeds."""
    path = study.plan.folder / CONFIRM
    rows = read_json(path)["trials"] if path.exists() else []
    return rows[0] if rows else None


def write_history(study: Study) -> None:
    """Write every trial, those that were begun again under another number too."""
    lost = again(study.trials())
    rows = [_row(study, trial, trial.number in lost) for trial in study.trials()]
    facts = {"study_name": study.optuna.study_name, "metric": study.plan.metric, "direction": study.plan.direction}
    write_json(study.plan.folder / HISTORY, {**facts, "trials": rows})


def _row(study: Study, trial: FrozenTrial, lost: bool) -> dict[str, Any]:
    values = stored_values(study.plan.space, trial.params)
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        "params": values,
        "settings": study.plan.settings(values),
        "run": trial.user_attrs.get(RUN),
        "error": trial.user_attrs.get(ERROR),
        "retry_of": trial.user_attrs.get(RETRY_OF),
        "begun_again": lost,
        "intermediate_values": trial.intermediate_values,
        "datetime_start": None if trial.datetime_start is None else trial.datetime_start.isoformat(),
        "datetime_complete": None if trial.datetime_complete is None else trial.datetime_complete.isoformat(),
        "stored": trial.params,
        "distributions": {name: distribution_to_json(item) for name, item in trial.distributions.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
    }


def _best(study: Study, best: FrozenTrial | None) -> dict[str, Any]:
    plan = study.plan
    values = None if best is None else stored_values(plan.space, best.params)
    return {
        "study_name": study.optuna.study_name,
        "metric": plan.metric,
        "direction": plan.direction,
        "best_value": None if best is None else best.value,
        "best_params": values,
        "settings": None if values is None else plan.settings(values),
        "trial": None if best is None else best.number,
        "run": None if best is None else best.user_attrs.get(RUN),
        "epochs": plan.epochs,
        "n_trials": len(study.counted()),
        "confirmed": confirmed_row(study),
        "chosen_by": "search" if confirmed_row(study) is None else "confirmation",
    }


def _statistics(study: Study, importances: dict[str, float] | None) -> dict[str, Any]:
    summary, order = Summary.of(study), ranked(study)
    values = np.array([trial.value for trial in order], dtype=np.float64)
    seconds = [t.duration.total_seconds() for t in study.counted() if t.duration is not None]
    return {
        "study_name": study.optuna.study_name,
        "metric": study.plan.metric,
        "direction": study.plan.direction,
        "sampler": study.plan.config.sampler.name,
        "pruner": study.plan.config.pruner.name,
        "n_trials": sum(summary.counts.values()),
        "target": summary.target,
        **summary.counts,
        "begun_again": summary.lost,
        "best": values[0] if len(values) else None,
        "worst": values[-1] if len(values) else None,
        "mean": values.mean() if len(values) else None,
        "std": values.std(ddof=1) if len(values) > 1 else None,
        "best_trials": [{"number": trial.number, "value": trial.value} for trial in order[:5]],
        "importances": importances,
        "seconds": {"sum": math.fsum(seconds), "mean": math.fsum(seconds) / len(seconds) if seconds else None},
        "errors": dict(Counter(str(t.user_attrs.get(ERROR)) for t in study.counted() if t.state == TrialState.FAIL)),
    }


def _importances(study: Study) -> dict[str, float] | None:
    """Return the share of each parameter in the metric's variance; null where there is too little to tell.

    By fANOVA (Hutter, Hoos & Leyton-Brown 2014) over the complete trials, for parameters that all of them have.
    """
    complete = ranked(study)
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return None
    kept = optuna.create_study(direction=study.plan.direction)
    kept.add_trials([_copy(trial) for trial in complete])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(kept, evaluator=evaluator(study.plan.config.study.seed))
    except (ValueError, RuntimeError, ImportError) as error:
        log.warning("importances: cannot be computed: %s", str(error).splitlines()[0])
        return None
    return {name: float(value) for name, value in found.items()}


def evaluator(seed: int) -> optuna.importance.BaseImportanceEvaluator:
    """Return what measures importances, the same for tables and pages."""
    return optuna.importance.FanovaImportanceEvaluator(seed=seed)


def _copy(trial: FrozenTrial) -> FrozenTrial:
    return optuna.trial.create_trial(value=trial.value, params=trial.params, distributions=trial.distributions)


def score(history: dict[str, Any], metric: str) -> float:
    """Return the metric of the epoch whose weights a run keeps.

    Raises:
        InputError: it was not measured.
    """
    value = history["epochs"][history["best_epoch"] - 1].get(metric)
    if value is None or not math.isfinite(value):
        raise InputError(f"{metric} could not be measured: {value}")
    return float(value)
