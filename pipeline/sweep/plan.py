"""Which runs a sweep is made of, each in the ordinary folder that its settings name."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, Self

from pipeline.contract.store import DEFAULT_FOLD, StoreSpec, load_store_spec
from pipeline.core.artifact import digest8
from pipeline.core.choose import near
from pipeline.core.config import Section, signature
from pipeline.core.errors import InputError, IsobarError, shorten
from pipeline.core.interrupt import Interrupt
from pipeline.core.job import Job
from pipeline.core.programs import run_in_turn
from pipeline.core.run import RunFolder
from pipeline.sweep.config import ALL, FLAGS, OWN, SweepConfig

VARIED = {"backbones": "train.model.backbone", "folds": "train.fold", "seeds": "train.seed"}
"""Setting of the sweep → the setting of a run that it varies."""
_SWEEP = re.compile(r"sweep(?:\.(\w+)|(?==))")


class Experiment(Protocol):
    """What a sweep needs to know of an experiment."""

    @property
    def name(self) -> str:
        """Folder under results/."""

    @property
    def train(self) -> Any:
        """Settings of the training."""

    @property
    def thresholds(self) -> Section:
        """Settings of the decision thresholds."""

    @property
    def evaluate(self) -> Section:
        """Settings of the judging."""

    def run(self, new: bool = False) -> RunFolder:
        """Return the run folder of this training."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values."""


@dataclass(frozen=True)
class Planned:
    """One run of the sweep."""

    backbone: str
    fold: str
    seed: int
    run: RunFolder

    @property
    def settings(self) -> list[str]:
        """What is typed for this run, beside what is typed for all."""
        # Quoted, because a fold called 010 is not the number 8.
        return [
            f"{VARIED['backbones']}={self.backbone}",
            f"{VARIED['folds']}={json.dumps(self.fold, ensure_ascii=False)}",
            f"{VARIED['seeds']}={self.seed}",
        ]

    def __str__(self) -> str:
        """Return what tells this run from the others."""
        return f"{self.backbone}, fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, the folder of its summary, and what its reports have to be made from."""

    experiment: Experiment
    settings: SweepConfig
    runs: tuple[Planned, ...]
    folder: Path
    jobs: Path
    """Where the programs are."""
    typed: tuple[str, ...]
    """What is typed for all runs."""
    stamps: Mapping[str, Any]
    """Stage → digest of what decides its results, given the predictions of a run; evaluate's has one a fold."""
    data_gb: float = 0.0
    """What the data of a run takes in memory at most."""


@dataclass(frozen=True)
class Asked:
    """What a sweep is planned from."""

    experiment: Experiment
    settings: SweepConfig
    jobs: Path
    """Folder of the programs train.py, thresholds.py, evaluate.py and store.py."""
    typed: tuple[str, ...]
    """The config and the settings of every run."""
    formats: Mapping[str, int]
    """Version of the results of thresholds and evaluate."""
    offered: str
    """Name of the package that knows backbones; it is imported in a process of its own, because that takes torch."""
    existing: Callable[[], Path]
    """Finds the store."""

    @classmethod
    def by(
        cls, job: Job[Any], jobs: Path, existing: Callable[[], Path], formats: Mapping[str, int], offered: str
    ) -> Asked:
        """Return what a command line asks for; the job's config has the settings of the sweep as ``sweep``.

        Raises:
            InputError: a run folder or ``--new`` was given, or a setting that the sweep itself varies, such as
                ``train.seed=1`` together with ``--seeds``.
        """
        if job.named_run is not None:
            config = job.named_run.path / "config.yaml"
            raise InputError(f"command line: {job.argument} is one run; a sweep needs a config, for example {config}")
        if job.new:
            raise InputError("command line: --new is for single runs; give the sweep other --seeds")
        settings: SweepConfig = job.config.sweep
        overrides = [text for text in job.overrides if not _SWEEP.match(text)]
        named = {found[1] or "" for text in job.overrides if (found := _SWEEP.match(text))}
        if "" not in named and settings.model_fields_set - named:
            raise InputError(
                f"{job.argument}: sweep: what varies is given on the command line ({', '.join(FLAGS)}), because the "
                "other jobs read the same config; take the section out"
            )
        for text in overrides:
            key = text.partition("=")[0]
            for varied, path in VARIED.items():
                if key == path and (varied == "backbones" or getattr(settings, varied)):
                    raise InputError(f"command line: {text}: this is what --{varied} varies; give it there")
        return cls(job.config, settings, jobs, (job.argument, *overrides), formats, offered, existing)


def ready_store(asked: Asked, interrupt: Interrupt) -> Path:
    """Return the folder of the store; where it is not there, have the store job build it.

    Raises:
        InputError: there is no store and nothing may be started, or a backbone is unknown.
        ProgramFailed: the store job failed; it has said why.
    """
    try:
        return asked.existing()
    except InputError:
        if asked.settings.dry_run or asked.settings.parts:
            raise
    check_backbones([name for name in asked.settings.backbones if name not in OWN], asked.offered)
    run_in_turn([[str(asked.jobs / "store.py"), *asked.typed]], interrupt)
    return asked.existing()


def make_plan(asked: Asked, store: Path) -> Plan:
    """Return the runs in the order in which they are started: every backbone once before the next fold and seed.

    Args:
        asked: what varies, and settings of every run.
        store: the folder of the store.

    Raises:
        InputError: a backbone or a fold is unknown.
    """
    experiment, settings, formats = asked.experiment, asked.settings, asked.formats
    spec = load_store_spec(store)
    folds = _folds(settings, experiment, spec.folds)
    seeds = settings.seeds or [experiment.train.seed]
    chosen = [(backbone, fold, seed) for seed in seeds for fold in folds for backbone in settings.backbones]
    runs = tuple(Planned(*one, _varied(experiment, *one).run()) for one in chosen)
    begun = {planned.backbone for planned in runs if planned.run.status != "new"}
    check_backbones([name for name in settings.backbones if name not in OWN and name not in begun], asked.offered)
    evaluated = [formats["evaluate"], signature(experiment.evaluate), spec.version]
    stamps = {
        "thresholds": digest8([formats["thresholds"], signature(experiment.thresholds)]),
        "evaluate": {fold: digest8([*evaluated, fold]) for fold in folds},
    }
    identity = digest8([sorted(planned.run.path.name for planned in runs), stamps, settings.by])
    folder = runs[0].run.path.parent / "sweeps" / f"backbones-{identity}"
    return Plan(experiment, settings, runs, folder, asked.jobs, asked.typed, stamps, _data_gb(spec))


def _data_gb(spec: StoreSpec) -> float:
    """Return what all inputs take; values that are stored in half precision are held in single precision."""
    sizes = [spec.files[one.file]["bytes"] * (2 if one.dtype == "float16" else 1) for one in spec.inputs.values()]
    return float(sum(sizes)) / 1e9


def _varied(experiment: Experiment, backbone: str, fold: str, seed: int) -> Experiment:
    model = experiment.train.model.model_copy(update={"backbone": backbone})
    train = experiment.train.model_copy(update={"model": model, "fold": fold, "seed": seed})
    return experiment.model_copy(update={"train": train})


def _folds(settings: SweepConfig, experiment: Experiment, present: Sequence[str]) -> list[str]:
    """Return the folds to run; ``all`` leaves out ``default`` where the store has others."""
    if not settings.folds:
        return _known([experiment.train.fold], present, "train.fold")
    if settings.folds == [ALL]:
        return [name for name in present if name != DEFAULT_FOLD] or list(present)
    return _known(settings.folds, present, "--folds")


def _known(names: list[str], present: Sequence[str], setting: str) -> list[str]:
    wrong = [name for name in names if name not in present]
    if wrong:
        allowed = shorten([*present, ALL], 40)
        raise InputError(
            "\n".join(f"{setting}: unknown fold {name!r}{near(name, present)} Allowed: {allowed}" for name in wrong)
        )
    return names


def check_backbones(names: list[str], offered: str) -> None:
    """Check names that are not our own; in a process of its own, because that imports torch and timm.

    Raises:
        InputError: one line for each unknown name, with names like it.
    """
    if not names:
        return
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell_unknown, args=(names, offered, sender), daemon=True)
    process.start()
    sender.close()
    try:
        wrong: list[str] = receiver.recv()
    except EOFError:
        raise IsobarError(f"the names of backbones could not be checked ({shorten(names)}); see above") from None
    finally:
        process.join()
    if wrong:
        raise InputError("\n".join(wrong))


def _tell_unknown(names: Iterable[str], offered: str, sender: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks, and it waits for the answer
    package, zoo = import_module(offered), import_module(f"{offered}.zoo")
    wrong = []
    for name in names:
        try:
            zoo.check_name(package.ALIASES.get(name, name).removeprefix("timm/"), list(OWN), "--backbones")
        except InputError as error:
            wrong.append(str(error))
    sender.send(wrong)
