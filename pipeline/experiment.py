"""One YAML file is one Experiment: a typed section for each stage, and where each stage keeps its files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline import dialects
from pipeline.contract.derived import load_derived
from pipeline.contract.pointer import image_store_version
from pipeline.core.artifact import MANIFEST, digest8
from pipeline.core.config import Section, Source, runtime, signature
from pipeline.core.errors import InputError, shorten
from pipeline.core.job import Job
from pipeline.core.run import RunFolder, newest, run_folder
from pipeline.derive.config import FORMAT as DERIVE_FORMAT
from pipeline.derive.config import DeriveConfig
from pipeline.download.config import DownloadConfig
from pipeline.evaluate.config import EvaluateConfig
from pipeline.explain.config import ExplainConfig
from pipeline.report.config import ReportConfig
from pipeline.store.config import StoreConfig, image_pointer, store_version
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.train.config import FORMAT as TRAIN_FORMAT
from pipeline.train.config import TrainConfig, start_versions, torch_schedule

PROJECT = Path(__file__).parents[1]
_NAME = r"^[^/\\.][^/\\]*$"


def home() -> Path:
    """Return the folder that relative paths start from: ``ISOBAR_HOME``, else (or where that is empty) the project."""
    return Path(os.environ.get("ISOBAR_HOME") or PROJECT).expanduser().absolute()


def _schedule(name: str | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return torch_schedule(name, parameters).model_dump(exclude_unset=True)


class Experiment(Section):
    """Everything that one experiment is, from raw files to pictures."""

    name: str = Field(pattern=_NAME)
    """Folder under results/."""
    dataset: str = Field("", pattern=rf"^$|{_NAME}")
    """Folder under data/derived and data/store; the experiment's name if empty."""
    data: str = runtime("data")
    results: str = runtime("results")
    download: DownloadConfig = DownloadConfig()
    derive: DeriveConfig = DeriveConfig()
    store: StoreConfig = StoreConfig()
    train: TrainConfig = TrainConfig()
    thresholds: ThresholdsConfig = ThresholdsConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    explain: ExplainConfig = ExplainConfig()
    report: ReportConfig = ReportConfig()

    @classmethod
    def reads(cls, name: str) -> bool:
        """Tell whether a name of a ``.py`` config is a setting of ours, or of a guide whose configs are read too."""
        return name in cls.model_fields or dialects.may_be_object(name)

    @classmethod
    def translated(cls, source: Source) -> Source:
        """Return a config written after another program's guide in our sections, and ours as it is."""
        return dialects.translated(source, cls.model_fields, _schedule)

    @property
    def dataset_name(self) -> str:
        """The folder name of the data set."""
        return self.dataset or self.name

    @property
    def downloads(self) -> bool:
        """Whether raw files are fetched (or registered) by the download stage."""
        return self.download.source != "none"

    def not_needed(self) -> tuple[str, ...]:
        """Return the stages that this experiment does without."""
        if self.of_images:
            return ("download", "derive")
        return () if self.downloads else ("download",)

    def raw_folder(self) -> Path:
        """Return where download writes."""
        return self._data("raw") / self.dataset_name

    def derive_section(self) -> DeriveConfig:
        """Return the derive section; where it names no raw files, those of the download are meant.

        Raises:
            InputError: the experiment is one of images.
        """
        if self.of_images:
            raise InputError("store.images: this experiment is made of images, there is nothing to derive; run store")
        if self.derive.raw or not self.downloads:
            return self.derive
        return self.derive.model_copy(update={"raw": [str(Path(self.data, "raw", self.dataset_name, MANIFEST))]})

    def derived_folder(self) -> Path:
        """Return where derive writes: named by its settings, but not by the paths of raw and label files.

        Those are known by their contents (each monthly file is), so a month that arrives later joins the months that
        are there, and a project that moves to another disk finds its files again.
        """
        settings = signature(self.derive) | {"raw": None}
        settings["labels"] = settings["labels"] | {"files": None}
        return self._data("derived") / f"{self.dataset_name}-{digest8([DERIVE_FORMAT, settings])}"

    @property
    def of_images(self) -> bool:
        """Whether the store is made of image files, so that there is nothing to download and derive."""
        return self.store.images is not None

    def folds(self) -> list[str]:
        """Return the folds that the division of the samples makes beside the default one."""
        split = self.store.split
        if split.by in ("kfold", "walk_forward"):
            return [f"fold{number}" for number in range(split.num_folds)]
        by_years = not self.of_images or split.by == "years"
        return [str(year) for year in sorted(split.train + split.val)] if by_years and split.leave_one_year_out else []

    def store_root(self) -> Path:
        """Return where all stores of the data set are."""
        return self._data("store") / self.dataset_name

    def store_folder(self) -> Path:
        """Where store writes: named by its section and by the contents of the derived files, or of the images.

        Raises:
            InputError: the derived files are not there yet, or were made from other files than the config names; a
                store of images has not been built yet.
        """
        if self.of_images:
            return self.store_root() / image_store_version(self.store_root() / image_pointer(self.store))
        folder = self.derived_folder()
        upstream = load_derived(folder)
        sources = self.derive_section().sources
        if upstream.sources != sources:
            raise InputError(
                f"{folder}: derived from {shorten(upstream.sources)}, the config names {shorten(sources)}; "
                "run derive (or chain) with this config, or give it a dataset name of its own"
            )
        return self.store_root() / store_version(self.store, upstream.version)

    def run(self, new: bool = False) -> RunFolder:
        """Return the run folder of this training; with ``new`` a further version of it, to train.

        Raises:
            InputError: the derived files are not there yet, so the store is not known.
        """
        settings = {"format": TRAIN_FORMAT, "store": self.store_folder().name, "train": signature(self.train)}
        settings |= start_versions(self.train, home())
        return run_folder(home() / self.results, self.name, self.train.model.backbone, settings, new)

    def _data(self, stage: str) -> Path:
        return home() / self.data / stage


def existing_store(config: Experiment) -> Path:
    """Return the folder of the store of this experiment.

    Raises:
        InputError: it has not been built yet.
    """
    folder = config.store_folder()
    if not (folder / "store.json").exists():
        raise InputError(f"{folder}: no store yet; run jobs/store.py (or jobs/chain.py) with the same config first")
    return folder


def chosen_run(job: Job[Experiment]) -> RunFolder:
    """Return the run that a command means: the folder it names, else that of its config, with ``--new`` the newest.

    Raises:
        InputError: a run folder was named together with settings that belong to another run.
    """
    if job.named_run is None:
        return newest(job.config.run()) if job.new else job.config.run()
    own = job.named_run.path.name.split(".")[0]
    if job.overrides and job.config.run().path.name != own:
        raise InputError(
            f"command line: {shlex.join(job.overrides)} would be another run than {own}; give its config file instead"
        )
    return job.named_run
