"""One local day: predicted by the predict stage, drawn, and told as a record."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.predictions import decided
from pipeline.contract.pressure import PressureMap
from pipeline.core.artifact import make_folder, read_json
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.daily.config import FORMAT, DailyConfig
from pipeline.daily.diary import DONE, FINAL, OWN, PRELIMINARY, Day, now
from pipeline.daily.raw import RawDay
from pipeline.predict.config import PredictConfig
from pipeline.predict.finished import FinishedRun
from pipeline.predict.stage import ABOUT, predict
from pipeline.raw.pressure import pressure_at

Draw = Callable[[Path, Mapping[str, Any], PressureMap | None, int], None]
"""Draws a day: file, record, pressure, dots per inch."""


@dataclass(frozen=True)
class Classifier:
    """A finished run at work on single days."""

    run: FinishedRun
    config: DailyConfig
    hours: list[int]
    """UTC hours of the maps: files may hold others, that changes are taken from."""
    work: Path
    """Where derived files of the day at hand are."""
    source: str
    draw: Draw
    interrupt: Interrupt

    def classify(self, day: date, times: Sequence[int], raw: RawDay, picture: Path) -> Day:
        """Return the record of a day, whose map is then drawn.

        Raises:
            InputError: the raw files are not what the run reads.
            EnvironmentFault: the disk is full, or the device is not there.
            Interrupted: a stop was asked for.
        """
        table, about = self._predicted(day, raw)
        if len(table["samples"]) != len(times):
            raise InputError(f"{len(table['samples'])} of {len(times)} maps are in the raw files")
        pressure = pressure_at(raw.files, times[:1]).get(times[0])
        record = {
            "format": FORMAT,
            "date": str(day),
            "status": DONE,
            **self._said(table["samples"], table["classes"], table["thresholds"]),
            "times": [datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for second in times],
            "timezone": self.run.settings.derive.timezone,
            "filled": max(int(sample.get("filled", 0)) for sample in table["samples"]),
            "strange": sorted(about["strange"]),
            "centres": pressure.centres() if pressure else [],
            "data": PRELIMINARY if raw.preliminary else OWN if self.source == "local" else FINAL,
            "source": self.source,
            "files": {path.name: digest for path, digest in raw.files.items()},
            "run": {"name": self.run.name, "files": self.run.checksums()},
            "picture": picture.name,
            "made_at": now(),
        }
        self.draw(picture, record, pressure, self.config.dpi)
        return record

    def clean(self) -> None:
        """Remove what was derived."""
        shutil.rmtree(self.work, ignore_errors=True)

    def _predicted(self, day: date, raw: RawDay) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the table of predictions and the report on it."""
        make_folder(self.work)
        output = self.work / f"{day}.json"
        config = PredictConfig(
            inputs=[str(path) for path in raw.files],
            output=str(output),
            days=[str(day)],
            hours=self.hours,
            device=self.config.device,
            threads=self.config.threads,
            workers=self.config.workers,
        )
        predict(config, [self.run], self.interrupt)
        return _json(output), read_json(output.with_name(output.name + ABOUT))

    def _said(self, samples: list[Day], classes: list[str], thresholds: list[float | None]) -> Day:
        """Return what is said of the day: of several maps the mean of their probabilities."""
        named = {
            kind: {name: float(np.mean([sample[kind][name] for sample in samples])) for name in classes}
            for kind in ("probability", "raw")
        }
        limits = np.array([np.nan if limit is None else limit for limit in thresholds])
        probability = np.array([[named["probability"][name] for name in classes]])
        said = decided(probability, limits, self.run.decisions.single)[0]
        return {
            "labels": [name for name, here in zip(classes, said, strict=True) if here],
            "joiner": self.run.settings.store.target.composite[:1] or "+",
            "classes": classes,
            **named,
            "thresholds": dict(zip(classes, thresholds, strict=True)),
        }


def _json(path: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
