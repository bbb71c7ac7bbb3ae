"""What the predict job does, given the runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.job import Outcome
from pipeline.core.run import RunFolder, existing_run
from pipeline.predict.config import PredictConfig
from pipeline.predict.export import export_onnx
from pipeline.predict.finished import Settings, open_run
from pipeline.predict.stage import predict


class RunSettings(Settings, Protocol):
    """The config of a run."""

    def store_root(self) -> Path:
        """Return where the stores of its data set are."""


class _Wanted(Protocol):
    @property
    def predict(self) -> PredictConfig:
        """The settings."""


class Order(Protocol):
    """What was typed: of :class:`pipeline.core.job.Job`."""

    @property
    def config(self) -> _Wanted:
        """The config with the section ``predict``."""

    @property
    def new(self) -> bool:
        """Whether a further version of a run was asked for."""

    @property
    def named_run(self) -> RunFolder | None:
        """The run folder, if one was named."""

    @property
    def argument(self) -> str:
        """The first word."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """Settings of the command line."""

    @property
    def interrupt(self) -> Interrupt:
        """Asks for a stop."""


def predict_or_export(order: Order, read: Callable[[Path], RunSettings]) -> Outcome:
    """Predict, or export the model.

    Args:
        order: what was typed.
        read: returns the config at a path.

    Raises:
        InputError: no run folder was named; or settings of the run itself, which predicts as it was trained.
    """
    if order.named_run is None:
        raise InputError(f"{order.argument}: not a run folder; give results/<experiment>/<run>, or .../latest")
    foreign = [text for text in order.overrides if not text.startswith("predict.")] + ["--new"] * order.new
    if foreign:
        raise InputError(
            f"command line: {foreign[0]}: a run predicts as it was trained; only settings of predict can be given"
        )
    config = order.config.predict
    paths = [order.named_run.path, *(existing_run(Path(name)).path for name in config.runs)]
    settings = [read(path / "config.yaml") for path in paths]
    runs = [open_run(path, one, one.store_root()) for path, one in zip(paths, settings, strict=True)]
    if config.export:
        path, difference = export_onnx(runs[0])
        return Outcome(f"wrote: {path} (logits differ from torch's by at most {difference:.2g})")
    return Outcome(predict(config, runs, order.interrupt).told())
