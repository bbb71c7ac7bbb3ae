"""What the tests of downloading share: a data centre of one's own, a small table, and the stage as jobs call it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.artifact import read_json
from pipeline.core.interrupt import Interrupt
from pipeline.download.config import DownloadConfig
from pipeline.download.stage import Summary, download
from pipeline.synthetic.cds_server import CdsServer

SMALL: dict[str, Any] = {
    "source": "cds",
    "start": "1991-01-01",
    "end": "1991-03-31",
    "area": [55, 115, 15, 155],
    "grid": [10, 10],
    "poll_seconds": 0.05,
    "requests": [{"variables": ["msl"]}],
}
"""Three months of one variable: three requests of a moment each."""


@dataclass
class Place:
    """A raw folder and the data centre that fills it."""

    folder: Path
    centre: CdsServer

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def manifest(self) -> dict[str, Any]:
        return read_json(self.data / "manifest.json")

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.data.iterdir()) if path.suffix == ".nc"}

    @property
    def strays(self) -> list[str]:
        return [path.name for path in self.data.iterdir() if "part" in path.name]

    @property
    def ids(self) -> list[str]:
        """Requests that the data centre has received, in order."""
        return [item.id for item in self.centre.submissions]

    def run(self, **settings: Any) -> Summary:
        config = DownloadConfig.model_validate({**SMALL, **settings})
        return download(config, "tiny", self.data, self.folder, Interrupt())


def write_config(place: Place) -> None:
    """Write ``tiny.yaml`` for the command line."""
    text = yaml.safe_dump({"name": "tiny", "download": SMALL})
    (place.folder / "tiny.yaml").write_text(text, encoding="utf-8")


Open = Callable[..., Place]


@pytest.fixture
def opened(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a data centre with the options given, and point the client at it."""
    with ExitStack() as stack:

        def start(**options: Any) -> Place:
            folder = tmp_path_factory.mktemp("centre")
            centre = stack.enter_context(CdsServer(folder, **{"queue_seconds": 0.1, "run_seconds": 0.1, **options}))
            monkeypatch.setenv("CDSAPI_URL", centre.url)
            monkeypatch.setenv("CDSAPI_KEY", centre.key)
            monkeypatch.setenv("HOME", str(tmp_path))
            return Place(tmp_path, centre)

        yield start


@pytest.fixture(scope="session")
def january(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that one month of :data:`SMALL` makes when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("january")
    with CdsServer(folder / "centre") as centre, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDSAPI_URL", centre.url)
        patch.setenv("CDSAPI_KEY", centre.key)
        place = Place(folder, centre)
        place.run(end="1991-01-31")
    return place.files


@pytest.fixture
def isobar_log() -> Iterator[list[str]]:
    """What the job says."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, logger = Keep(), logging.getLogger("isobar")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)
