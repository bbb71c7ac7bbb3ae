"""Settings of a prediction: which runs, which new files, and what is written where."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, field_validator

from pipeline.core.checks import utc_hours
from pipeline.core.config import Section

FORMAT = 2
"""Raised when the same runs and files would give other predictions, so that old ones are made anew."""

FLAGS = {
    "--output": "predict.output",
    "--format": "predict.format",
    "--weights": "predict.weights",
    "--export": "predict.export",
    "--skip-broken": "predict.skip_broken",
}
"""Options of the command and the settings they stand for."""


class PredictConfig(Section):
    """What is predicted, how runs are joined, and where the table goes."""

    runs: list[str] = Field(default_factory=list)
    """Further run folders: an ensemble. Their classes must be those of the first."""
    inputs: list[str] = Field(default_factory=list)
    """New files: raw files or folders of them, the manifest.json of a download, image files or folders of them, a CSV
    list of images (column ``file``), and CSV files of series for runs that read windows of them.
    """
    output: str = ""
    """File to write; empty: ``predict/<input>-<hash8>`` in the folder of the first run."""
    format: Literal["auto", "csv", "json", "netcdf"] = "auto"
    """``auto``: by the ending of ``output`` (.csv, .json, .nc), else csv."""
    weights: Literal["mean", "validation"] = "mean"
    """Of the runs of an ensemble: equal, or chosen class by class on their common validation samples."""
    hours: list[int] = Field(default_factory=list)
    """UTC hours of the new raw files to keep; empty: those that the run was derived with."""
    days: list[str] = Field(default_factory=list)
    """Local days (``YYYY-MM-DD``) of the new raw files to predict; empty: all."""
    skip_broken: bool = False
    """Leave out images that cannot be read, and list them; without it the first ones are an error."""
    batch_size: int = Field(0, ge=0)
    """Samples at a time; 0: as many as in the training, at most 32, fewer where ``memory_gb`` does not hold them."""
    memory_gb: float = Field(0.7, gt=0)
    """Inputs that are held at most, and raw values that each process of the derivation holds."""
    workers: int = Field(0, ge=0)
    """Processes that derive and threads that decode; 0: one a core."""
    threads: int = Field(0, ge=0)
    """CPU threads of the model; 0: all cores of this job."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    export: Literal["", "onnx"] = ""
    """Write the model of the run as ``model.onnx`` into its folder and compare its answers with torch's; no inputs."""

    @field_validator("hours")
    @classmethod
    def _real_hours(cls, hours: list[int]) -> list[int]:
        return utc_hours(hours)

    @field_validator("days", mode="before")
    @classmethod
    def _real_days(cls, days: object) -> object:
        try:
            # YAML takes 2026-11-16 for a date.
            return [date.fromisoformat(str(day)).isoformat() for day in days] if isinstance(days, list) else days
        except ValueError:
            raise ValueError(f"local days are written YYYY-MM-DD, for example [2026-11-16]; found {days}") from None
