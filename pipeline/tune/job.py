"""What the job does with its command line: search, or look at what was searched."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import InputError
from pipeline.core.job import Job, Outcome
from pipeline.tune.config import TuneConfig
from pipeline.tune.experiment import Ground
from pipeline.tune.plan import BASE, make_plan
from pipeline.tune.results import OPTIMIZED
from pipeline.tune.verdict import confirmation_text
from pipeline.tune.view import list_studies, show, watch

if TYPE_CHECKING:
    from pipeline.tune.stage import Found


def search_or_look(job: Job[TuneConfig], ground: Ground, program: str, show_all: Callable[[Path], object]) -> Outcome:
    """Do what the config and the flags of the job say.

    Args:
        job: as it was typed.
        ground: what is searched on.
        program: the job's script, for workers.
        show_all: brings the page of all results up to date after a search.

    Raises:
        InputError: the search is wrong; nothing was trained.
        Interrupted: a stop was asked for.
        IsobarError: no trial came to its end.
    """
    config = job.config
    named = None if job.named_run is None else job.named_run.path
    if named is not None and not (named / BASE).exists():
        raise InputError(f"{job.argument}: not a study (no {BASE} in it); give a tuning config or a study's folder")
    plan = make_plan(config, ground, job.argument, job.overrides, named)
    looks = {"show": show, "list_studies": list_studies}
    for name, look in looks.items():
        if getattr(config, name):
            print(look(plan))
            return Outcome(f"read {plan.folder}")
    if config.watch:
        return Outcome(f"read {plan.folder} ({watch(plan, job.interrupt)})")
    from pipeline.tune.stage import tune  # torch: only where trials are trained

    def worker(number: int) -> list[str]:
        # The study's own config: the user's may be edited while a search goes on.
        return [program, str(plan.folder), "--worker", str(number)]

    found = tune(plan, job.interrupt, worker)
    if config.worker is not None:
        return Outcome(f"worker {config.worker}: nothing is left to begin")
    show_all(plan.folder)
    text = confirmation_text(plan.folder)
    if text:
        print(text)
    optimized = shlex.quote(str(plan.folder / OPTIMIZED))
    return Outcome(f"wrote {plan.folder} ({_told(found)})", f"python jobs/train.py {optimized}" if found.best else "")


def _told(found: Found) -> str:
    text, best = found.summary.text, found.best
    if best is None:
        return text
    if best["confirmed"] is None:
        return f"{text}; best {best['metric']} {best['best_value']:.4f}, trial {best['trial']}"
    return f"{text}; confirmed best: trial {best['trial']}, mean {best['metric']} {best['confirmed']['mean']:.4f}"
