"""A study in memory that one process goes on with: its trials are read back from ``trials_history.json``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.core.artifact import read_json
from pipeline.tune.results import HISTORY, write_history
from pipeline.tune.study import Study


def keep_memory(study: Study) -> None:
    """Write the trials of a study in memory, as after each of them."""
    if study.plan.config.storage.kind == "memory":
        write_history(study)


def restore_memory(study: Study) -> None:
    """Put the trials of an earlier process into a study in memory."""
    path = study.plan.folder / HISTORY
    if study.plan.config.storage.kind != "memory" or not path.exists() or study.trials():
        return
    for row in read_json(path)["trials"]:
        study.optuna.add_trial(_trial(row))


def _trial(row: dict[str, Any]) -> FrozenTrial:
    state = TrialState[row["state"]]
    made = create_trial(
        state=state,
        value=row["value"] if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        params=row["stored"],
        distributions={name: json_to_distribution(text) for name, text in row["distributions"].items()},
        user_attrs=row["user_attrs"],
        system_attrs=row["system_attrs"],
        intermediate_values={int(step): _number(value) for step, value in row["intermediate_values"].items()},
    )
    for name in ("datetime_start", "datetime_complete"):
        text = row[name]
        setattr(made, name, None if text is None else datetime.fromisoformat(text))
    return made


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
