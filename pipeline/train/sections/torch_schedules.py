"""Schedules under torch's names and with torch's parameters, as the configuration guide writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.train.sections.optimisation import ScheduleConfig


@dataclass(frozen=True)
class _Torch:
    """One of torch's schedulers: what it is here, and which parameter is which setting."""

    name: str
    parameters: dict[str, str]
    required: tuple[str, ...]
    fixed: dict[str, Any] = field(default_factory=dict)


_BY_EPOCH = {"each": "epoch"}
TORCH_SCHEDULES = {
    "StepLR": _Torch("step", {"step_size": "step_size", "gamma": "gamma"}, ("step_size",)),
    "MultiStepLR": _Torch("multistep", {"milestones": "milestones", "gamma": "gamma"}, ("milestones",)),
    "CosineAnnealingLR": _Torch("cosine", {"T_max": "length", "eta_min": "eta_min"}, ("T_max",), _BY_EPOCH),
    "ExponentialLR": _Torch("exponential", {"gamma": "gamma"}, ("gamma",)),
    "LinearLR": _Torch(
        "linear",
        {"start_factor": "start", "end_factor": "final", "total_iters": "length"},
        ("total_iters",),
        _BY_EPOCH | {"final": 1.0},
    ),
}
"""Defaults are torch's, but for ``start_factor``, which is 1.0 as the guide says."""


def torch_schedule(name: str | None, parameters: Mapping[str, Any] | None = None) -> ScheduleConfig:
    """Return the settings of the schedule that torch calls ``name``, stepped once an epoch; ``None``: a constant rate.

    Raises:
        InputError: another name, or a parameter that is missing, unknown or of the wrong type or size.
    """
    if name is None:
        return ScheduleConfig(name="none")
    if name not in TORCH_SCHEDULES:
        raise InputError(f"サポートされていないスケジューラー: {name}")
    given, entry = dict(parameters or {}), TORCH_SCHEDULES[name]
    known = list(entry.parameters)
    for key in given:
        if key not in known:
            raise InputError(f"scheduler_params: {name} has no {key!r}{near(key, known)} Allowed: {shorten(known)}")
    missing = [key for key in entry.required if key not in given]
    if missing:
        raise InputError(f"scheduler_params: {name} needs {shorten(missing)}; allowed: {shorten(known)}")
    _check_gamma(name, given.get("gamma"))
    values = {"name": entry.name, **entry.fixed, **{entry.parameters[key]: value for key, value in given.items()}}
    try:
        return ScheduleConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(_reason(name, entry, error)) from None


def _check_gamma(name: str, gamma: Any) -> None:
    if name == "ExponentialLR" and isinstance(gamma, int | float) and not 0 < gamma < 1:
        raise InputError(f"scheduler_params.gamma: ExponentialLR needs a factor between 0 and 1, found {gamma}")


def _reason(name: str, entry: _Torch, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    ours = str(first["loc"][0]) if first["loc"] else ""
    theirs = next((key for key, setting in entry.parameters.items() if setting == ours), ours)
    return f"scheduler_params.{theirs}: {name}: {first['msg'][0].lower()}{first['msg'][1:]}, found {first['input']!r}"
