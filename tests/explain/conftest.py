"""Runs whose truth is known: a class is told by one channel in one corner, by one bar, by one step of one feature."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.interrupt import Interrupt
from pipeline.core.run import RunFolder
from pipeline.synthetic.store import write_store
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.stage import fit_thresholds
from pipeline.train.config import TrainConfig
from pipeline.train.stage import train
from tests.train.stores import marked_images, write_images

SIDE, CORNER = 16, 5
PLANTED = {"c0": (0, slice(0, CORNER), slice(0, CORNER)), "c1": (1, slice(SIDE - CORNER, SIDE), slice(0, CORNER))}
"""By class: the channel, rows and columns that alone tell it; channel 2 is noise."""


@dataclass(frozen=True)
class Trained:
    """A finished run with its store."""

    config: TrainConfig
    run: Path
    store: Path


def finished(folder: Path, store: Path, **settings: object) -> Trained:
    """Train on a store, one thread, and fit thresholds."""
    plain = {
        "batch_size": 32,
        "threads": 1,
        "device": "cpu",
        "select": "last",
        "optimizer": {"lr": 3e-3, "weight_decay": 1e-3},
    }
    config = TrainConfig.model_validate(plain | settings)
    train(config, store, RunFolder(folder), Interrupt(), folder)
    fit_thresholds(ThresholdsConfig(), folder)
    return Trained(config, folder, store)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two independent classes; 600 days of 3 channels of 16 × 16 values, and two scalars of noise."""
    home = tmp_path_factory.mktemp("explain_planted")
    generator = np.random.default_rng(3)
    target = (generator.random((600, 2)) < 0.4).astype(np.uint8)
    grid = generator.standard_normal((600, 3, SIDE, SIDE), dtype=np.float32)
    for k, (channel, rows, columns) in enumerate(PLANTED.values()):
        grid[:, channel, rows, columns] += 2.0 * target[:, k, None, None]
    scalars = generator.standard_normal((600, 2), dtype=np.float32)
    store = write_store(home / "planted", grid, target, scalars=scalars)
    model = {"backbone": "simple", "hidden": 0, "reasoning_dim": 8, "aux_loss_weight": 0.3, "dropout": 0.0}
    return finished(home / "run", store, epochs=12, model=model, loss={"kind": "bce"})


@pytest.fixture(scope="session")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three classes that exclude each other: a bar in the image, and the last step of a series' second feature."""
    home = tmp_path_factory.mktemp("explain_pictured")
    images, label = marked_images(240, 3, 24)
    series = np.random.default_rng(4).standard_normal((240, 6, 3)).astype(np.float32)
    series[:, -1, 1] = 2.5 * (label - 1)
    series[:40, :2] = np.nan
    write_images(home / "pictured", images, label, series)
    shape = {"dim": 16, "heads": 2, "layers": 1, "feedforward": 32, "dropout": 0.0}
    model = {"backbone": "simple", "hidden": 0, "fusion": "cross_attention", "series": shape, "dropout": 0.0}
    return finished(home / "run", home / "pictured", epochs=5, inputs=["image", "series"], model=model)
