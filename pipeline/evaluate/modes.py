"""What the evaluate job does in each of its modes, as far as that needs no network and no pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.core.artifact import read_json
from pipeline.core.logs import log
from pipeline.evaluate import against, audit, misclassified, samples
from pipeline.evaluate.config import EvaluateConfig, Mode
from pipeline.evaluate.pressure import write_pressure
from pipeline.evaluate.stage import evaluate
from pipeline.evaluate.subject import Subject, open_subject


class Experiment(audit.Experiment, Protocol):
    """What is needed of an experiment."""

    @property
    def evaluate(self) -> EvaluateConfig:
        """The settings of this stage."""

    @property
    def of_images(self) -> bool:
        """Whether the store is made of images."""

    def derive_section(self) -> Any:
        """Return the settings that name the raw files."""


@dataclass(frozen=True)
class Found:
    """What one mode wrote: a line for the user, and what there is to draw."""

    told: str
    listed: Path | None = None
    """A list of samples, or a comparison; ``None``: only numbers."""
    pictures: int = 0
    """How many samples of the list are drawn; 0 of a comparison, which is drawn whole."""


_LISTS: dict[Mode, Callable[[Experiment, Subject], Found]] = {
    "visualize": lambda experiment, subject: _visualize(experiment.evaluate, subject),
    "misclassified": lambda experiment, subject: _misclassified(experiment.evaluate, subject),
    "audit": lambda experiment, subject: _audit(experiment, subject),
}


def examine(experiment: Experiment, run: Path, store_folder: Path, home: Path) -> list[Found]:
    """Do what the settings ask for, unless it was done with the same settings and inputs.

    Args:
        experiment: the config of the run.
        run: the run folder.
        store_folder: the store that it was trained on.
        home: where relative paths of the config start from.

    Raises:
        InputError: something of the run is missing, belongs to another store, or a setting names what is not there.
        EnvironmentFault: another process works in the folder, or it cannot be written.
    """
    config, fold = experiment.evaluate, experiment.train.fold
    found = []
    if "evaluate" in config.modes:
        done = evaluate(config, run, store_folder, fold)
        scores = (f"{split}: mAP {of['map']:.3f}, macro-F1 {of['macro_f1']:.3f}" for split, of in done.scores.items())
        found.append(Found(f"{'fresh already' if done.fresh else 'wrote'}: reports in {run} ({'; '.join(scores)})"))
    lists = [mode for mode in config.modes if mode in _LISTS]
    if lists:
        subject = open_subject(run, store_folder, fold, experiment.train.inputs)
        if config.mode == "all" and not audit.finished_folds(subject, experiment):
            log.warning("label audit: left out, no run of any fold has predicted days that it did not learn from")
            lists.remove("audit")
        for mode in lists:
            found.append(_LISTS[mode](experiment, subject))
            _add_pressure(experiment, subject, found[-1], home)
    if config.against:
        path = against.compare_runs(config, run, Path(config.against))
        found.append(Found(f"{against.told(path)} Numbers: {path}", path))
    return found


def _add_pressure(experiment: Experiment, subject: Subject, found: Found, home: Path) -> None:
    """Bring the pressure of the samples that are drawn, for isobars, where the store has none."""
    if experiment.of_images or found.listed is None or not found.pictures:
        return
    rows = [sample["row"] for sample in read_json(found.listed)["shown"][: found.pictures]]
    write_pressure(found.listed, subject.store, rows, experiment.derive_section().raw, home)


def _visualize(config: EvaluateConfig, subject: Subject) -> Found:
    path = samples.choose_samples(config, subject)
    return Found(f"{samples.told(path)}: {path}", path, config.visualize.count)


def _misclassified(config: EvaluateConfig, subject: Subject) -> Found:
    path = misclassified.list_worst(config, subject)
    return Found(f"{misclassified.told(path)}: {path.with_suffix('.csv')}", path, config.misclassified.pictures)


def _audit(experiment: Experiment, subject: Subject) -> Found:
    path = audit.audit_labels(experiment.evaluate, subject, experiment)
    return Found(f"{audit.told(path)}: {path.with_name(audit.TABLE)}", path, experiment.evaluate.audit.pictures)
