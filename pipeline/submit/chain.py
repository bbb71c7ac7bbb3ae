"""The stages of an experiment as jobs of their own, each after the one before."""

from __future__ import annotations

from dataclasses import dataclass

STAGES = ("download", "derive", "store", "train", "thresholds", "evaluate", "report")
_OF_RUNS = STAGES.index("train")


@dataclass(frozen=True)
class Stage:
    """One stage of a chain."""

    job: str
    tasks: list[list[str]]
    how: str
    """What it waits for: ``afterok`` (all of the stage before) or ``aftercorr`` (the same task of the stage before)."""


def stages(tasks: list[list[str]], common: list[str], left_out: dict[str, str]) -> list[Stage]:
    """Return the stages of a chain, those from the training on once for each task.

    Args:
        tasks: the words of each training: a config and its overrides.
        common: the words of the stages before: the config and the overrides that all share.
        left_out: stages that are not needed.
    """
    several = len(tasks) > 1
    return [
        Stage(job, tasks if place >= _OF_RUNS else [common], "aftercorr" if several and place > _OF_RUNS else "afterok")
        for place, job in enumerate(STAGES)
        if job not in left_out
    ]
