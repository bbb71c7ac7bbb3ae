"""How a run of a sweep stands, read from its folder: finished and judged with these settings, or what is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.contract.predictions import CALIBRATION, THRESHOLDS, check_made_from, predictions_path
from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError
from pipeline.core.run import RunFolder

SPLITS = ("val", "test")


def is_finished(run: RunFolder, thresholds: str, evaluate: str) -> bool:
    """Tell whether a run is trained, and its decisions and reports are made from its predictions by these settings.

    Args:
        run: the run folder.
        thresholds: digest of the settings that thresholds are fitted with.
        evaluate: digest of the settings that the run is judged with.
    """
    try:
        if run.status != "done":
            return False
        _check(run, "thresholds", thresholds, THRESHOLDS, CALIBRATION)
        _check(run, "evaluate", evaluate, *(f"{split}_report.json" for split in SPLITS if _predicted(run, split)))
    except (InputError, KeyError):
        return False
    return True


def _predicted(run: RunFolder, split: str) -> bool:
    return split == "val" or predictions_path(run.path, split).exists()


def _check(run: RunFolder, stage: str, settings: str, *names: str) -> None:
    for name in names:
        value = read_json(run.path / name)
        if value["made_from"]["settings"] != settings:
            raise InputError(f"{run.path / name}: was made with other settings; run the {stage} job again")
        check_made_from(run.path / name, value, stage)


def how_far(run: RunFolder) -> str:
    """Return how an unfinished run stands, in a few words."""
    record = run.record
    status = str(record.get("status", "new"))
    epochs = f"epoch {record.get('epoch', 0)} of {record.get('epochs', '?')}"
    if status == "failed":
        return f"failed before, would be tried again: {record.get('error')}"
    if status == "done":
        return "trained, not yet judged with these settings"
    # A process that was killed could not change its status, so running may mean either.
    told = {"new": "not begun", "running": f"at work or killed, {epochs}", "interrupted": f"interrupted, {epochs}"}
    return told.get(status, status)


def facts(run: RunFolder) -> dict[str, Any]:
    """Return what ``run.json`` tells of cost and model; ``None`` where an older program did not note it."""
    record = run.record
    model: Mapping[str, Any] = record.get("model", {})
    sizes: Mapping[str, int] = model.get("parameters", {})
    return {
        "trained": model.get("backbone"),
        "fallback": bool(model.get("fallback", False)),
        "best_epoch": record.get("best_epoch"),
        "epochs": record.get("epoch"),
        "select": record.get("select"),
        "seconds": record.get("seconds"),
        "parameters": sum(sizes.values()) if sizes else None,
        "peak_memory_mb": record.get("peak_memory_mb"),
        "host": record.get("host"),
    }
