"""What the tests of the scheduled job share: a finished run, a data centre, and the job in this process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.config import load
from pipeline.core.interrupt import Interrupt
from pipeline.daily.config import DailySettings
from pipeline.daily.diary import Diary
from pipeline.daily.stage import Report, daily
from pipeline.experiment import Experiment
from pipeline.synthetic.cds_server import CdsServer
from pipeline.testing import World, write_world
from tests.predict.finished_runs import TRAIN, Made, finish

FIELDS = ["msl", "msl_dt24", "t850"]
"""One that needs the day before, and one on a pressure level."""
RUN: dict[str, Any] = {
    "name": "weather",
    "derive": {"raw": ["raw/*.nc"], "fields": FIELDS, "labels": {"files": ["raw/labels.csv"]}},
    "store": {"split": {"train": [1995], "val": [1996], "test": [1994]}},
    "train": TRAIN,
}
WORLD = World(start=date(1994, 12, 1), days=430, groups=("msl", "t_850"), types=("1", "2A", "3B"))
LAST = date(1999, 3, 10)
"""The last day of the data centre."""


@dataclass
class Drawn:
    """Stands in for the pictures: notes what was to be drawn."""

    days: list[str] = field(default_factory=list)
    tables: list[list[str]] = field(default_factory=list)

    def __call__(self, name: str) -> Any:
        return {"draw_day": self._day, "draw_recent": self._recent}[name]

    def _day(self, path: Path, record: Any, pressure: Any, dpi: int) -> None:
        self.days.append(record["date"])
        path.write_bytes(b"picture")

    def _recent(self, path: Path, records: Any, dpi: int) -> None:
        self.tables.append([record["date"] for record in records])
        path.write_bytes(b"table")


@dataclass
class Place:
    """A project folder with a finished run."""

    home: Path
    run: Path
    centre: CdsServer
    drawn: Drawn = field(default_factory=Drawn)

    @property
    def diary(self) -> Diary:
        return Diary(self.run.parent / "daily")

    @property
    def config(self) -> Path:
        """The config of the command line; ``tiny.yaml`` marks the project folder for the tests' environment."""
        return self.home / "tiny.yaml"

    def settings(self, **changes: dict[str, Any]) -> dict[str, Any]:
        """Return the settings with changes by section."""
        base: dict[str, dict[str, Any]] = {
            "daily": {"run": f"results/weather/{self.run.name}", "hours": [0], "threads": 1},
            "download": {"poll_seconds": 0.05, "attempts": 1, "outage_hours": 0.0001},
        }
        return {name: {**section, **changes.get(name, {})} for name, section in base.items()}

    def write_config(self, **changes: dict[str, Any]) -> None:
        self.config.write_text(yaml.safe_dump(self.settings(**changes)), encoding="utf-8")

    def work(self, interrupt: Interrupt | None = None, **changes: dict[str, Any]) -> Report:
        """Call the job in this process."""
        settings = DailySettings.model_validate(self.settings(**changes))
        own = load(self.run / "config.yaml", Experiment).config
        return daily(settings, self.run, own, self.home, interrupt or Interrupt(), self.drawn)

    def day(self, number: int) -> dict[str, Any]:
        """Return the record of a day of March 1999."""
        return self.diary.read(date(1999, 3, number))

    def status(self, *numbers: int) -> list[str]:
        return [self.day(number).get("status", "none") for number in numbers]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run on maps of 9 × 9 points; treat as read-only."""
    home = tmp_path_factory.mktemp("daily_run")
    write_world(WORLD, home / "raw")
    return finish(home, RUN)


@pytest.fixture
def place(
    finished: Made, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A copy of the run, and a data centre whose last day is :data:`LAST`."""
    run = tmp_path / "results" / "weather" / finished.run.name
    shutil.copytree(finished.run, run)
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("centre")
        centre = stack.enter_context(CdsServer(folder, native=5.0, latest=LAST))
        monkeypatch.setenv("CDSAPI_URL", centre.url)
        monkeypatch.setenv("CDSAPI_KEY", centre.key)
        monkeypatch.setenv("HOME", str(tmp_path))
        yield Place(tmp_path, run, centre)
