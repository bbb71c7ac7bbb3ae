"""The explain stage: a finished run and its store in; pictures and numbers of what it looked at out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.contract.predictions import CALIBRATION, THRESHOLDS, fresh_files, made_from, predictions_path
from pipeline.core.artifact import describe_files, read_json, write_json
from pipeline.core.config import signature
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.explain.config import FORMAT, ExplainConfig
from pipeline.explain.feature import explain_features
from pipeline.explain.looked import explain_reasoning
from pipeline.explain.pieces import Pieces
from pipeline.explain.subject import open_subject
from pipeline.train.config import TrainConfig
from pipeline.train.inference import MODEL

EXPLAIN, INDEX = "explain", "index.json"
Mode = Literal["reasoning", "feature"]
_WORK = {"reasoning": explain_reasoning, "feature": explain_features}


@dataclass(frozen=True)
class Explained:
    """What was written, and whether it was there already."""

    folder: Path
    """``<run>/explain/<mode>``."""
    files: tuple[str, ...]
    """Names in it: PNG pictures, JSON and CSV."""
    fresh: bool

    def told(self) -> str:
        """Return the last line of the job."""
        return f"{'fresh already' if self.fresh else 'wrote'}: {len(self.files)} files in {self.folder}"


def explain(
    mode: Mode,
    config: ExplainConfig,
    train: TrainConfig,
    run: Path,
    store_folder: Path,
    interrupt: Interrupt,
    dpi: int = 150,
) -> Explained:
    """Explain a run on samples of its store, unless that was done with the same settings and inputs.

    Args:
        mode: ``reasoning``: what the network looked at; ``feature``: what its features and channels are worth.
        config: the settings.
        train: those of the run: fold, threads, device.
        run: the run folder; its training and thresholds are finished.
        store_folder: the store that it was trained on.
        interrupt: asks for a stop; finished classes and channels are kept.
        dpi: of the pictures.

    Raises:
        InputError: the run is not finished, the store is another one, or a setting names what is not there.
        EnvironmentFault: another process works here, or the disk is full.
        Interrupted: a stop was asked for.
    """
    folder = run / EXPLAIN / mode
    with exclusive(folder):
        stamp = _stamp(mode, config, train, run, store_folder, dpi)
        names = fresh_files(folder / INDEX, stamp)
        if names is not None:
            return Explained(folder, names, fresh=True)
        subject = open_subject(run, store_folder, train, config.batch)
        pieces = Pieces(folder / ".work", stamp)
        names = _WORK[mode](subject, config, folder, pieces, interrupt, dpi)
        _remove_old(folder, names)
        write_json(folder / INDEX, {"files": describe_files(folder, list(names)), "made_from": stamp})
        pieces.discard()
    return Explained(folder, names, fresh=False)


def _stamp(mode: Mode, config: ExplainConfig, train: TrainConfig, run: Path, store: Path, dpi: int) -> dict[str, Any]:
    settings = [FORMAT, mode, signature(getattr(config, mode)), train.fold, store.name, dpi]
    predictions = [predictions_path(run, split).name for split in ("val", "test")]
    return made_from(settings, run, [MODEL, CALIBRATION, THRESHOLDS, *predictions])


def _remove_old(folder: Path, names: tuple[str, ...]) -> None:
    """Delete what an explanation with other settings left here: its list of files says what is ours."""
    try:
        old = list(read_json(folder / INDEX)["files"])
    except (InputError, KeyError):
        return
    for name in set(old) - set(names):
        if "/" not in name:
            (folder / name).unlink(missing_ok=True)
