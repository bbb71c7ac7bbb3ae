from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.contract.derived import DerivedSpec
from pipeline.contract.store import Store
from pipeline.core.interrupt import Interrupt
from pipeline.store.config import StoreConfig
from pipeline.store.stage import build_store
from tests.store.derived_files import LATITUDE, LONGITUDE, days, weather, write_derived

YEARS = {"train": [2001], "val": [2002], "test": [2003]}


@dataclass(frozen=True)
class World:
    folder: Path
    spec: DerivedSpec
    dates: np.ndarray
    labels: np.ndarray
    fields: dict[str, np.ndarray]
    """float32, as in the files"""


def make_labels(dates: np.ndarray, seed: int = 0) -> np.ndarray:
    """Three types, composites and transitions; each tenth day has no label."""
    labels = np.random.default_rng(seed).choice(["1", "2A", "NA", "2A+1", "1-NA"], len(dates)).astype(object)
    labels[::10] = ""
    return labels


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("derived")
    dates = days("2001-01-01", "2003-12-31")
    labels = make_labels(dates)
    spec = write_derived(folder, dates, labels)
    months = dates.astype("datetime64[M]")
    parts = [weather(dates[months == month], LATITUDE, LONGITUDE) for month in np.unique(months)]
    fields = {name: np.concatenate([part[name] for part in parts]).astype(np.float32) for name in parts[0]}
    return World(folder, spec, dates, labels, fields)


def config(**settings: Any) -> StoreConfig:
    return StoreConfig.model_validate({"split": YEARS, **settings})


Build = Callable[..., Store]


@pytest.fixture
def build(world: World, tmp_path: Path) -> Build:
    """Build a store of the world (or of ``derived``) with some settings and open it."""

    def run(derived: Path | None = None, folder: str = "store", **settings: Any) -> Store:
        build_store(config(**settings), derived or world.folder, tmp_path / folder, "made_up", Interrupt())
        return Store(tmp_path / folder)

    return run
