"""Small finished runs, made in this process: of maps, of charts, and of charts with series."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.predictions import Predictions, load_split
from pipeline.core.config import dump
from pipeline.core.interrupt import Interrupt
from pipeline.derive.stage import derive
from pipeline.experiment import Experiment
from pipeline.predict.config import PredictConfig
from pipeline.predict.finished import FinishedRun, open_run
from pipeline.predict.stage import Predicted, predict
from pipeline.store.images.stage import build_image_store
from pipeline.store.stage import build_store
from pipeline.thresholds.stage import fit_thresholds
from pipeline.train.stage import train

TRAIN = {"epochs": 1, "batch_size": 16, "threads": 1, "device": "cpu", "model": {"hidden": 16}}
MAPS: dict[str, Any] = {
    "name": "maps",
    "derive": {
        "raw": ["raw/*.nc"],
        "fields": ["msl", "msl_dt24", "grad_msl", "sst"],
        "labels": {"files": ["raw/labels.csv"]},
    },
    "store": {"split": {"train": [1995], "val": [1996], "test": [1994]}},
    "train": TRAIN,
}
CHARTS: dict[str, Any] = {
    "name": "charts",
    "store": {"images": {"datasets": ["eur_15m_winsize4"]}},
    "train": TRAIN,
}


@dataclass(frozen=True)
class Made:
    """A finished run and the folder with its raw files, data and results."""

    home: Path
    run: Path

    @property
    def opened(self) -> FinishedRun:
        return opened(self.run)

    def test(self) -> tuple[Predictions, np.ndarray, np.ndarray]:
        """Return what the run itself predicted for its test samples: with probabilities and decisions."""
        predictions, decisions = load_split(self.run, "test"), self.opened.decisions
        return predictions, decisions.probabilities(predictions.logits), decisions.decide(predictions.logits)


def opened(run: Path, stores: Path = Path("/nowhere")) -> FinishedRun:
    import yaml

    settings = Experiment.model_validate(yaml.safe_load((run / "config.yaml").read_text()))
    return open_run(run, settings, stores)


def finish(home: Path, settings: dict[str, Any]) -> Made:
    """Do all stages from raw files to thresholds, those that are done already excepted."""
    before, os.environ["ISOBAR_HOME"] = os.environ.get("ISOBAR_HOME"), str(home)
    try:
        config = Experiment.model_validate(settings)
        if config.of_images:
            build_image_store(config.store, config.store_root(), home, config.dataset_name, Interrupt())
        else:
            derive(config.derive_section(), config.dataset_name, config.derived_folder(), home, Interrupt())
            folder = config.store_folder()
            build_store(config.store, config.derived_folder(), folder, config.dataset_name, Interrupt())
        run, store = config.run(), config.store_folder()
        run.begin(dump(config))
        train(config.train, store, run, Interrupt(), home)
        fit_thresholds(config.thresholds, run.path)
    finally:
        if before is None:
            del os.environ["ISOBAR_HOME"]
        else:
            os.environ["ISOBAR_HOME"] = before
    return Made(home, run.path)


def say(
    runs: FinishedRun | list[FinishedRun],
    inputs: list[Path],
    output: Path,
    interrupt: Interrupt | None = None,
    **more: Any,
) -> Predicted:
    """Predict on one CPU thread."""
    config = {"inputs": [str(path) for path in inputs], "output": str(output), "threads": 1, "workers": 1, **more}
    chosen = runs if isinstance(runs, list) else [runs]
    return predict(PredictConfig.model_validate(config), chosen, interrupt or Interrupt())


def report(output: Path) -> dict[str, Any]:
    """Return the report beside an output."""
    found: dict[str, Any] = json.loads(output.with_name(output.name + ".about.json").read_text())
    return found
