"""Finished runs that all tests of predictions share; treat as read-only."""

from datetime import date
from pathlib import Path

import pytest

from pipeline.testing import World, write_world
from tests.predict.finished_runs import CHARTS, MAPS, TRAIN, Made, finish
from tests.store.images.made_up_images import write_charts, write_series

WORLD = World(
    start=date(1994, 12, 1), days=430, lat_points=9, lon_points=9, groups=("msl", "sst"), types=("1", "2A", "3B")
)


@pytest.fixture(scope="session")
def raw_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("predict_maps")
    write_world(WORLD, home / "raw")
    return home


@pytest.fixture(scope="session")
def maps(raw_home: Path) -> Made:
    return finish(raw_home, MAPS)


@pytest.fixture(scope="session")
def charts_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("predict_charts")
    write_charts(home, {"train": range(60), "val": range(70, 100), "test": range(110, 140)})
    write_series(home / "rates.csv", range(150))
    return home


@pytest.fixture(scope="session")
def charts(charts_home: Path) -> Made:
    return finish(charts_home, CHARTS)


@pytest.fixture(scope="session")
def both(charts_home: Path) -> Made:
    store = CHARTS["store"] | {"series": {"files": ["rates.csv"], "window_size": 5, "offset": -1}}
    model = {"hidden": 16, "series": {"dim": 16, "heads": 2, "feedforward": 32}}
    return finish(charts_home, CHARTS | {"store": store, "train": TRAIN | {"model": model}})
