"""The analysis: data in, ``importance.json``, ``importance.csv`` and ``features.csv`` of a run folder out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.artifact import read_json, sha256, write_json, write_text
from pipeline.core.config import dump, signature
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import log
from pipeline.core.run import RunFolder, newest, run_folder
from pipeline.core.times import zone
from pipeline.importance.analysis import work
from pipeline.importance.config import FORMAT, ImportanceConfig
from pipeline.importance.folds import make_folds
from pipeline.importance.samples import load_samples
from pipeline.importance.series import data_paths
from pipeline.importance.tables import features_csv, importance_csv
from pipeline.importance.update import Updated, advice, update_config

JSON, CSV, FEATURES = "importance.json", "importance.csv", "features.csv"


def importance_run(config: ImportanceConfig, home: Path, new: bool = False) -> RunFolder:
    """Return the run folder of these settings and these contents of the files; relative paths start from ``home``.

    Raises:
        InputError: a file is missing.
    """
    zone(config.data.timezone, "data.timezone")
    settings = signature(config)
    settings["data"] |= {"files": [_contents(path, "data.files") for path in data_paths(config, home)]}
    if config.labels.file:
        settings["labels"] |= {"file": _contents(home / config.labels.file, "labels.file")[1]}
    if config.labels.images:
        names = [sorted(str(p.relative_to(home / f)) for p in (home / f).rglob("*")) for f in config.labels.images]
        settings["labels"] |= {"images": names}
    return run_folder(home / config.results, config.name, "importance", {"format": FORMAT, "settings": settings}, new)


def _contents(path: Path, setting: str) -> tuple[str, str]:
    try:
        return path.name, sha256(path)
    except FileNotFoundError:
        raise InputError(f"{setting}: {path}: no such file") from None
    except OSError as error:
        raise InputError(f"{setting}: {path}: cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class Finished:
    """Where the results lie, what they are, and whether they lay there already."""

    run: Path
    result: dict[str, Any]
    fresh: bool

    @property
    def summary(self) -> str:
        """Return what was found, in a few words."""
        return f"{self.result['verdict']}; selected: {', '.join(self.result['selected']) or 'no column'}"


def analyse(config: ImportanceConfig, home: Path, interrupt: Interrupt, new: bool = False) -> Finished:
    """Find the run of this config and finish it.

    Raises:
        InputError: the data, the labels or the folds are not possible.
        Interrupted: a stop was asked for; finished trials and shuffles are on disk.
    """
    base = importance_run(config, home)
    run = importance_run(config, home, new=True) if new else newest(base)
    if run.status == "done":
        return _finished(run.path, read_json(run.path / JSON), True)
    samples, tables = load_samples(config, home)
    folds = make_folds(config, samples)
    run.begin(dump(config.model_copy(update={"update": ""})))
    with run.session("importance") as session:
        write_text(run.path / FEATURES, features_csv(samples, tables, config.data.timezone != "UTC"))
        result = work(config, samples, folds, run.path, interrupt, session)
        write_text(run.path / CSV, importance_csv(result["columns"]))
        write_json(run.path / JSON, result)
    return _finished(run.path, result, False)


def _finished(run: Path, result: dict[str, Any], fresh: bool) -> Finished:
    """Say the warnings, of a result that lay there already as well: they belong to its columns."""
    for line in result["warnings"]:
        log.warning("%s", line)
    return Finished(run, result, fresh)


def write_into(config: ImportanceConfig, done: Finished, path: Path, check: Callable[[Path], object]) -> Updated:
    """Write the selected columns into a config (see :func:`update_config`), and say what else it needs."""
    updated = update_config(path, done.result["selected"], check)
    derived = [row["column"] for row in done.result["columns"] if row["selected"] and row["derived"]]
    window = config.features.window
    for line in advice(updated.values, done.run / FEATURES, derived, config.labels.known_offset, window):
        log.warning("%s: %s", path, line)
    last = done.result["data"]["folds"][-1]["last"]
    log.info("labels until %s had a part in the choice: rows that a store tests on should be later (data.until)", last)
    return updated
