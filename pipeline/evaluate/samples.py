"""The mode ``visualize``: which samples are shown, by rules that know nothing of how well they were predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import is_fresh
from pipeline.core.artifact import read_json, write_json
from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.core.lock import exclusive
from pipeline.evaluate.config import EvaluateConfig, VisualizeConfig
from pipeline.evaluate.shown import drawn_by_lot, entry, head, stamp
from pipeline.evaluate.subject import Said, Subject

FOLDER = "visualize"


def choose_samples(config: EvaluateConfig, subject: Subject) -> Path:
    """Choose the samples to show and write ``visualize/<split>.json``, unless it is there; return its path.

    Raises:
        InputError: a class or a day is unknown, or nothing is left to show.
        EnvironmentFault: another process works in the folder, or it cannot be written.
    """
    settings = config.visualize
    said = subject.forecast(settings.split)
    split = said.predictions.split
    path = subject.run / FOLDER / f"{split}.json"
    with exclusive(subject.run):
        made = stamp(subject, settings, config, [split])
        if not is_fresh(path, made):
            places = _allowed(settings, subject, said)
            chosen = drawn_by_lot(places, settings.count, config.seed)
            rule = _rule(settings, said, len(places), len(chosen), config.seed)
            samples = [entry(subject, said, place) for place in chosen.tolist()]
            write_json(path, {**head(subject, said), "rule": rule, "shown": samples, "made_from": made})
    return path


def told(path: Path) -> str:
    """Return what a list of samples says of itself."""
    value = read_json(path)
    return f"{value['rule']}, {value['split']}"


def _allowed(settings: VisualizeConfig, subject: Subject, said: Said) -> NDArray[np.int64]:
    flags = np.ones(len(said.rows), np.bool_)
    for name in settings.classes:
        if name not in subject.classes:
            allowed = shorten(subject.classes, 30)
            raise InputError(
                f"evaluate.visualize.classes: {name!r} is not a class{near(name, subject.classes)} Allowed: {allowed}"
            )
    if settings.classes:
        flags &= said.target[:, [subject.classes.index(name) for name in settings.classes]].any(axis=1)
    if settings.dates:
        flags &= _on_days(settings.dates, said)
    if not flags.any():
        raise InputError(
            f"evaluate.visualize: no sample of {said.predictions.split} has these classes and days; show more"
        )
    return np.flatnonzero(flags)


def _on_days(wanted: list[str], said: Said) -> NDArray[np.bool_]:
    predictions = said.predictions
    known: list[str] = [*dict.fromkeys(predictions.dates.tolist()), *predictions.ids.tolist()]
    unknown = [day for day in wanted if day not in set(known)]
    if unknown:
        first, last = predictions.ids[0], predictions.ids[-1]
        raise InputError(
            f"evaluate.visualize.dates: {shorten(unknown)} not among the {len(predictions.ids)} samples of "
            f"{predictions.split} ({first} … {last}){near(unknown[0], known)}"
        )
    return np.isin(predictions.dates, wanted) | np.isin(predictions.ids, wanted)


def _rule(settings: VisualizeConfig, said: Said, allowed: int, shown: int, seed: int) -> str:
    unit = "day" if said.predictions.dated and not said.predictions.single else "sample"
    words = [f"{allowed} {unit}{'s' if allowed > 1 else ''}"]
    words += [f"with {' or '.join(settings.classes)}"] if settings.classes else []
    words += ["asked for by date"] if settings.dates else []
    return f"{shown} of {' '.join(words)}, drawn by lot (seed {seed})" if shown < allowed else " ".join(words)
