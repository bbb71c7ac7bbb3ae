"""The guides' forms of a search: their names of parameters, and their sections, in ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pipeline.core.config import Source
from pipeline.dialects import DIALECTS
from pipeline.dialects.pochitrain import OPTIMIZERS

_MORE = {
    "learning_rate": "train.optimizer.lr",
    "lr": "train.optimizer.lr",
    "optimizer": "train.optimizer.name",
    "batch_size": "train.batch_size",
    "scheduler": "train.schedule.name",
    "scheduler_gamma": "train.schedule.gamma",
    "scheduler_step_size": "train.schedule.step_size",
    "scheduler_eta_min": "train.schedule.eta_min",
    "scheduler_T_max": "train.schedule.length",
    "scheduler_total_iters": "train.schedule.length",
    "scheduler_start_factor": "train.schedule.start",
    "scheduler_end_factor": "train.schedule.final",
    "scheduler_milestones": "train.schedule.milestones",
    "focal_gamma": "train.loss.gamma",
    "loss": "train.loss.kind",
    "sampler": "train.sampler",
    "backbone": "train.model.backbone",
    "dropout": "train.model.dropout",
    "drop_path_rate": "train.model.drop_path",
}
"""Names that the guides use in a search space, beside their keys that are one of our settings."""


@dataclass(frozen=True)
class Implied:
    """What a guide's name asks for besides: a setting without which the parameter would do nothing."""

    setting: str
    value: Any
    unless: tuple[Any, ...] = field(default=())
    """Values of the base with which the parameter has an effect already; empty: any but false, 0 and null."""


_STAGES = Implied("train.rates.by", "stages", ("stages",))
IMPLIED = {
    "lr_head": _STAGES,
    "lr_backbone": _STAGES,
    "lr_decay_rate": _STAGES,
    "agc_clip_factor": Implied("train.agc.enabled", True),
    "agc_eps": Implied("train.agc.enabled", True),
    "aux_loss_weight": Implied("train.model.reasoning_dim", 64),
    "scheduler_step_size": Implied("train.schedule.name", "step", ("step",)),
    "scheduler_gamma": Implied("train.schedule.name", "exponential", ("step", "multistep", "exponential")),
    "focal_gamma": Implied("train.loss.kind", "focal", ("focal", "auto")),
}


@cache
def names() -> dict[str, str]:
    """Return {name in a guide: our dotted path} of every parameter that stands for one setting of the training."""
    found: dict[str, str] = {}
    for dialect in DIALECTS:
        for key in dialect.keys:
            if key.ours.startswith("train.") and not key.rule and key.convert is None:
                found.setdefault(key.theirs, key.ours)
    return found | _MORE


def settings_of(name: str, dotted: str, value: Any) -> dict[str, Any]:
    """Return the settings that a value comes to: several where a guide's optimizer has constants of its own."""
    if dotted == "train.optimizer.name" and isinstance(value, str) and value in OPTIMIZERS:
        return {f"train.optimizer.{key}": constant for key, constant in OPTIMIZERS[value].items()}
    if dotted == "train.model.backbone" and name == "model.type" and isinstance(value, str):
        return {dotted: value.removesuffix("_transformer")}
    return {dotted: value}


# --- whole configs -------------------------------------------------------------------------------------------

_OPTUNA = {
    "study_name": "study.name",
    "direction": "study.direction",
    "n_trials": "study.n_trials",
    "optuna_epochs": "study.epochs",
    "n_jobs": "workers",
    "sampler": "sampler",
    "pruner": "pruner",
    "storage": "storage",
    "search_space": "search_space",
}
_OPTUNA_DEFAULTS = {
    "study.name": "pochitrain_optimization",
    "study.direction": "maximize",
    "study.epochs": 10,
    "storage": None,
}
_TUNING = {
    "study.study_name": "study.name",
    "study.tuning_max_epochs": "study.epochs",
    "parameter_ranges": "search_space",
    "parallel.n_jobs": "workers",
    "visualization.create_plots": "pictures",
}
_TUNING_BASE = "configs/config.yaml"
"""What a tuning config of the guide searches; it has no key for it."""
_WITHOUT_EFFECT = ("output", "visualization", "parallel")
"""Sections of the tuning guide whose other keys name places: here trials, pictures and tables are in the folder."""


def translated(source: Source) -> Source:
    """Return a guide's form of a search in our keys: ``optuna = {…}`` of a training config, or a tuning config."""
    if isinstance(source.values.get("optuna"), dict) and "base" not in source.values:
        return _of_optuna(source)
    if "parameter_ranges" in source.values or "tuning_max_epochs" in (source.values.get("study") or {}):
        return _of_tuning(source)
    return source


def _of_optuna(source: Source) -> Source:
    result = Source({"base": source.origin}, source.origin)
    for ours, value in _OPTUNA_DEFAULTS.items():
        _put(result, ours, value)
    for theirs, value in source.values["optuna"].items():
        ours = _OPTUNA.get(theirs, theirs)
        _put(result, ours, _of_their_form(ours, value))
        result.lines.update(_moved(source, f"optuna.{theirs}", ours))
    if result.values["storage"] is None and result.values.get("workers", 1) != 1:
        result.values["storage"] = "journal"  # n_jobs there are threads of one process, here processes
    return result


def _of_tuning(source: Source) -> Source:
    result = Source({}, source.origin, dict(source.lines))
    for name, value in source.values.items():
        inner = value if isinstance(value, dict) and name in ("study", "parallel", "visualization") else None
        for dotted, item in [(name, value)] if inner is None else [(f"{name}.{key}", v) for key, v in inner.items()]:
            ours = _TUNING.get(dotted, dotted)
            if ours == dotted and name in _WITHOUT_EFFECT:
                continue
            _put(result, ours, _of_their_form(ours, item))
            result.lines.update(_moved(source, dotted, ours))
    result.values.setdefault("base", _TUNING_BASE)
    space = result.values.get("search_space")
    if isinstance(space, dict):
        result.values["search_space"] = {name: _with_type(ranges) for name, ranges in space.items()}
    return result


def _with_type(ranges: Any) -> Any:
    """Return the ranges of a parameter with the type that the guide leaves to its numbers."""
    if not isinstance(ranges, dict) or "type" in ranges:
        return ranges
    whole = all(isinstance(ranges.get(end), int) for end in ("low", "high"))
    return {"type": "categorical" if "choices" in ranges else "int" if whole else "float", **ranges}


def _of_their_form(ours: str, value: Any) -> Any:
    if ours == "workers" and value == -1:
        return len(os.sched_getaffinity(0))
    if ours == "study.timeout" and isinstance(value, int | float) and not isinstance(value, bool):
        return value / 60  # seconds there, as in Optuna
    if ours == "storage" and isinstance(value, dict) and "path" in value and "kind" not in value:
        return {"kind": "sqlite", "path": str(value["path"]).removeprefix("sqlite:///")}
    return value


def _put(result: Source, dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    here = result.values
    for parent in parents:
        here = here.setdefault(parent, {})
    here[last] = value


def _moved(source: Source, theirs: str, ours: str) -> Iterator[tuple[str, int | str]]:
    for dotted, line in source.lines.items():
        if dotted == theirs or dotted.startswith(f"{theirs}."):
            yield ours + dotted[len(theirs) :], line
