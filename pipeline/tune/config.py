"""Settings of the tune stage: what is searched, how trials are chosen and stopped early, and where they are kept."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.config import Section, Source, runtime
from pipeline.tune.sections.choices import PrunerConfig, SamplerConfig
from pipeline.tune.sections.guides import translated
from pipeline.tune.sections.parameter import ParameterConfig, number

__all__ = [
    "FORMAT",
    "ConfirmConfig",
    "ParameterConfig",
    "PrunerConfig",
    "SamplerConfig",
    "StorageConfig",
    "StudyConfig",
    "TuneConfig",
]

FORMAT = 1
"""Raised when the same settings would search otherwise, so that old studies are not taken for new ones."""

Metric = Literal["val_map", "val_loss", "val_f1", "val_accuracy"]
_NAME = r"^[^/\\.][^/\\]*$"


class StudyConfig(Section):
    """One search."""

    name: str = Field("study", pattern=_NAME)
    """Beginning of the folder under results/<experiment>/."""
    metric: Metric | None = None
    """Validation metric that is searched by, and that chooses the epoch of a trial unless the base keeps the last.

    null: val_loss where ``direction`` is minimize, else the base's train.select (val_map where that is last).
    """
    direction: Literal["maximize", "minimize"] | None = None
    """null: as the metric asks for. The opposite is an error, not a search for the worst model."""
    n_trials: int = runtime(20, ge=1)
    """Trials in all, over all workers and restarts; raise it to go on with a finished study."""
    timeout: float | None = runtime(None, gt=0)
    """Start no further trial after this many minutes of one command."""
    epochs: int | None = Field(None, ge=1)
    """Epochs of a trial; null: the base's train.epochs."""
    seed: int = Field(42, ge=0, lt=2**31)
    """Of the sampler: the parameters of a trial are a function of it, of the trial's number and of the history."""
    max_retries: int = runtime(3, ge=0)
    """How often the trial of a killed worker is begun again before it counts as failed."""
    enqueue: list[dict[str, Any]] = Field(default_factory=list)
    """Parameters of the first trials, by the names of ``search_space``; what is left out is sampled."""

    @field_validator("enqueue", mode="after")
    @classmethod
    def _numbers(cls, values: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: number(value) for name, value in first.items()} for first in values]


class StorageConfig(Section):
    """Where the study is kept."""

    kind: Literal["journal", "sqlite", "memory"] = "journal"
    """``journal``: a file that workers on any node of a shared file system append to; ``sqlite``: one file, on a local
    disk; ``memory``: nothing but trials_history.json, from which one process goes on.
    """
    path: str | None = None
    """Of the file; null: in the study's folder."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value is None:
            return {"kind": "memory"}
        if isinstance(value, str):
            start = "sqlite:///"
            return {"kind": "sqlite", "path": value[len(start) :]} if value.startswith(start) else {"kind": value}
        return value

    @model_validator(mode="after")
    def _memory_has_no_file(self) -> StorageConfig:
        if self.kind == "memory" and self.path is not None:
            raise ValueError("path: memory has no file; drop it, or set kind to journal or sqlite")
        return self


class ConfirmConfig(Section):
    """Training the best trials again, with other seeds and at full length, before one is called the winner."""

    best: int = Field(0, ge=0)
    """How many; 0: none, and the search's best is only the search's best."""
    seeds: int = Field(3, ge=2)
    """Trainings of each, with seeds that the search has not seen."""


class TuneConfig(Section):
    """A search over the settings of one experiment."""

    base: str = Field(min_length=1)
    """Config of the experiment; each trial is this with the searched settings changed. Relative to the project."""
    overrides: list[str] = Field(default_factory=list)
    """``key=value`` on top of the base, for all trials and for the optimized config."""
    study: StudyConfig = StudyConfig()
    sampler: SamplerConfig = SamplerConfig()
    # Made anew, so that null reaches them: it means none here, and not "as by default".
    pruner: PrunerConfig = Field(default_factory=PrunerConfig)
    storage: StorageConfig = Field(default_factory=StorageConfig)
    search_space: dict[str, ParameterConfig] = Field(min_length=1)
    """Settings by dotted path, or by the guides' names (learning_rate, lr_head, agc_clip_factor …)."""
    is_post_training: bool = False
    """Every trial begins with the weights of ``checkpoint_path``, at epoch 0, with its own rates."""
    checkpoint_path: str | None = None
    """A finished run's folder, or a file of weights."""
    fine_tuning_epochs: int = Field(10, ge=1)
    """Epochs of a trial, of the confirmation and of the optimized config, with ``is_post_training``."""
    confirm: ConfirmConfig = runtime(ConfirmConfig())
    workers: int = runtime(1, ge=1)
    """Processes that try at the same time on this machine; its cores are divided among them."""
    worker: int | None = runtime(None, ge=0)
    """Set by the job itself: be this one of the workers and start no others."""
    pictures: bool = runtime(True)
    """Draw PNG files and write HTML pages when the search ends."""
    show: bool = runtime(False)
    """Print the study and stop."""
    list_studies: bool = runtime(False)
    """Print all studies of the experiment and stop."""
    watch: bool = runtime(False)
    """Print how the study goes on until it is finished, or Ctrl-C."""
    places: dict[str, str] = runtime({}, exclude=True)
    """Where each key was written, for messages; set when the file is read."""

    @property
    def looks(self) -> bool:
        """Whether nothing is to be trained."""
        return self.show or self.list_studies or self.watch

    @classmethod
    def translated(cls, source: Source) -> Source:
        """Return a tuning config of a guide in our keys, and note where each key was written."""
        source = translated(source)
        source.values["places"] = {dotted: source.place(dotted) for dotted in source.lines}
        return source

    @field_validator("overrides")
    @classmethod
    def _are_settings(cls, values: list[str]) -> list[str]:
        wrong = [text for text in values if not text.partition("=")[1] or not text.partition("=")[0]]
        if wrong:
            raise ValueError(f"{wrong[0]!r}: expected key.sub=value, for example train.threads=1")
        return values

    @model_validator(mode="after")
    def _conditions_name_parameters(self) -> TuneConfig:
        for name, parameter in self.search_space.items():
            for other in parameter.when:
                if other not in self.search_space:
                    raise ValueError(f"search_space.{name}.when: {other!r} is not in search_space")
        _check_no_circle({name: parameter.when for name, parameter in self.search_space.items()})
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> TuneConfig:
        if self.is_post_training and self.checkpoint_path is None:
            raise ValueError("is_post_training: checkpoint_path is missing; name a finished run's folder")
        if self.storage.kind == "memory" and self.workers > 1:
            raise ValueError("storage: memory is of one process; use journal for several workers")
        unknown = [name for first in self.study.enqueue for name in first if name not in self.search_space]
        if unknown:
            raise ValueError(f"study.enqueue: {unknown[0]!r} is not in search_space")
        if self.sampler.name == "Grid":
            self._has_grid()
        return self

    def _has_grid(self) -> None:
        for first in self.study.enqueue:
            for name in self.search_space:
                if name not in first:
                    raise ValueError(
                        f"study.enqueue: {name!r} is left out, which Grid cannot choose; name all parameters"
                    )
        for name, parameter in self.search_space.items():
            if parameter.when:
                raise ValueError(f"search_space.{name}.when: Grid visits every combination; use another sampler")
            if parameter.type == "float" and parameter.step is None:
                raise ValueError(f"search_space.{name}: Grid needs its step, or categorical choices")
            if parameter.type == "int" and parameter.log:
                raise ValueError(f"search_space.{name}: Grid goes by equal steps; use categorical choices for log")


def _check_no_circle(conditions: dict[str, dict[str, list[Any]]]) -> None:
    """Raise ``ValueError`` where parameters are conditions of each other."""
    open_ones = dict(conditions)
    while open_ones:
        ready = [name for name, when in open_ones.items() if not set(when) & set(open_ones)]
        if not ready:
            raise ValueError(f"search_space: {', '.join(open_ones)} are conditions of each other")
        for name in ready:
            del open_ones[name]
