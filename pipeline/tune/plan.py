"""What a search is, once everything in its config was checked: space, metric, base of all trials, folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import ValidationError

from pipeline.core.artifact import digest8, make_folder, write_text
from pipeline.core.config import COMMAND_LINE, dump, signature
from pipeline.core.errors import InputError
from pipeline.core.lock import updating
from pipeline.core.logs import log
from pipeline.tune.check import check_effect, check_enqueued, check_names, check_values, implied, place, value_at
from pipeline.tune.config import FORMAT, TuneConfig
from pipeline.tune.experiment import Base, Ground
from pipeline.tune.sections.parameter import label
from pipeline.tune.space import Parameter, build_space, overrides, settings

BASE, CONFIG = "base.yaml", "config.yaml"
SMALLER_IS_BETTER = ("val_loss",)
_FILES = {"journal": "journal.log", "sqlite": "study.db", "memory": ""}


@dataclass(frozen=True)
class Plan:
    """A checked search."""

    config: TuneConfig
    ground: Ground
    space: list[Parameter]
    base: Base
    metric: str
    folder: Path
    origin: Path
    """Config of the base."""
    fixed: tuple[str, ...]
    """``key=value`` on top of it, for all trials."""

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """``maximize`` or ``minimize``, as the metric asks for."""
        return "minimize" if self.metric in SMALLER_IS_BETTER else "maximize"

    @property
    def is_worker(self) -> bool:
        """Whether this process is one of several that another one started, which writes the results."""
        return self.config.worker is not None and self.config.workers > 1

    @property
    def epochs(self) -> int:
        """Epochs of a trial."""
        full: int = self.base.train.epochs
        return full if self.config.is_post_training else self.config.study.epochs or full

    @property
    def base_file(self) -> Path:
        """The experiment as all trials have it, resolved, which later changes of the base's file do not touch."""
        return self.folder / BASE

    @property
    def storage_file(self) -> Path:
        """Of the study."""
        named = self.config.storage.path
        return self.ground.home / named if named else self.folder / _FILES[self.config.storage.kind]

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return {dotted setting: value} of a trial's values."""
        return settings(self.space, values)

    def trial(self, values: Mapping[str, Any], **more: Any) -> Base:
        """Return the experiment of a trial.

        Raises:
            InputError: values that are allowed one by one do not go together.
        """
        found = self.settings(values)
        length = {} if "train.epochs" in found else {"train.epochs": self.epochs}
        return self.with_settings(length | found | more)

    def full(self, values: Mapping[str, Any], **more: Any) -> Base:
        """Return the experiment with a trial's values at full length."""
        return self.with_settings(self.settings(values) | more)

    def with_settings(self, found: Mapping[str, Any]) -> Base:
        """Return the base with other settings. YAML is parsed once: that takes as long as a short trial."""
        raw = copy.deepcopy(self._raw)
        for dotted, value in found.items():
            *parents, last = dotted.split(".")
            here = raw
            for parent in parents:
                here = here.setdefault(parent, {})
            here[last] = value
        try:
            return cast(Base, self.ground.model.model_validate(raw))
        except ValidationError:
            # Says what is wrong as it is said everywhere.
            return self.ground.load(self.origin, [*self.fixed, *overrides(found)])

    @cached_property
    def _raw(self) -> dict[str, Any]:
        raw: dict[str, Any] = yaml.safe_load(self.ground.dump(self.base))
        return raw

    def stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a trial as the study holds them."""
        return {name: label(value) for name, value in values.items()}

    def write(self) -> None:
        """Write ``config.yaml`` and ``base.yaml`` into the folder."""
        make_folder(self.folder)
        with updating(self.folder):
            write_text(self.folder / CONFIG, dump(self.config.model_copy(update={"worker": None})))
            write_text(self.base_file, self.ground.dump(self.base))


def make_plan(
    config: TuneConfig, ground: Ground, origin: str, typed: Sequence[str] = (), named: Path | None = None
) -> Plan:
    """Check a search against the experiment that it searches.

    Args:
        config: of the search.
        ground: what the job hands in.
        origin: the tuning config's path, for messages.
        typed: settings of the command line, for messages.
        named: the folder of a study that was begun, where that was given in place of a config.

    Raises:
        InputError: with one line for each mistake, before anything is trained.
    """

    def at(dotted: str) -> str:
        return place(config.places, origin, dotted, typed)

    path = named / BASE if named else _base_path(config, ground.home, at)
    always = [] if named else _fixed(config, ground.home)
    plain = _loaded(ground, path, always, at)
    metric = _metric(config, plain, at)
    space = build_space(config.search_space)
    check_names(space, ground.model, metric, at)
    if config.study.epochs and any(item.dotted == "train.epochs" for item in space):
        raise InputError(f"{at('study.epochs')}: study.epochs: train.epochs is searched as well; drop one of them")
    fixed = [*always, *overrides(implied(space, plain) | _selection(plain, metric) | {"train.max_time": None})]
    base = _loaded(ground, path, fixed, at)
    folder = _folder(config, ground, base, metric)
    plan = Plan(config, ground, space, base, metric, named.resolve() if named else folder, path, tuple(fixed))
    if named and folder.name != plan.folder.name and not config.looks:
        raise InputError(f"{origin}: with {_shown(typed)} this would be another study; name the config file instead")
    _check_saved(plan, at)
    check_values(space, plan.with_settings, path, at)
    check_effect(space, base, plan.with_settings, at)
    check_enqueued(config.study.enqueue, space, plan.with_settings, path, at)
    return plan


def _shown(typed: Sequence[str]) -> str:
    return " ".join(typed) if typed else "today's store"


def _check_saved(plan: Plan, at: Callable[[str], str]) -> None:
    if plan.with_settings({}) != plan.base:
        raise InputError(
            f"{at('base')}: base: {plan.origin} has objects of Python among its transforms, which a saved config "
            "cannot give back, so neither trials nor optimized_config.yaml could be trained; write them by name"
        )


def _base_path(config: TuneConfig, home: Path, at: Callable[[str], str]) -> Path:
    named = Path(config.base)
    found = [path for path in (home / named, named) if path.exists()]
    if not found:
        raise InputError(f"{at('base')}: base: {home / named} does not exist; name the experiment's config")
    return found[0] / "config.yaml" if found[0].is_dir() else found[0]


def _fixed(config: TuneConfig, home: Path) -> list[str]:
    if not config.is_post_training:
        return list(config.overrides)
    begin = Path(config.checkpoint_path or "")
    if (home / begin).is_symlink():
        # `latest` moves on with the next training; this study stays with the run that it began from.
        begin = (home / begin).resolve()
        begin = begin.relative_to(home.resolve()) if begin.is_relative_to(home.resolve()) else begin
    more = {"train.start_from": str(begin), "train.epochs": config.fine_tuning_epochs}
    return [*config.overrides, *overrides(more)]


def _loaded(ground: Ground, path: Path, texts: Sequence[str], at: Callable[[str], str]) -> Base:
    try:
        base = ground.load(path, texts)
        base.run()  # its store and its start weights must be there
    except InputError as error:
        here = {COMMAND_LINE: at("overrides"), "train.start_from": f"{at('checkpoint_path')}: checkpoint_path"}
        lines = str(error).splitlines()
        for theirs, ours in here.items():
            lines = [ours + line.removeprefix(theirs) if line.startswith(f"{theirs}: ") else line for line in lines]
        raise InputError("\n".join(lines)) from None
    return base


def _metric(config: TuneConfig, base: Base, at: Callable[[str], str]) -> str:
    study, select = config.study, value_at(base, "train.select")
    metric = study.metric
    if metric is None and study.direction == "minimize":
        metric = "val_loss"
    if metric is None:
        wanted = study.direction != "maximize" or select not in SMALLER_IS_BETTER
        metric = select if wanted and select != "last" else "val_map"
    right = "minimize" if metric in SMALLER_IS_BETTER else "maximize"
    if study.direction not in (None, right):
        raise InputError(
            f"{at('study.direction')}: study.direction: {study.direction} {metric} would search for the worst model; "
            f"write {right}, or drop it"
        )
    return metric


def _selection(base: Base, metric: str) -> dict[str, Any]:
    """Return by what a trial keeps its weights: the study's metric, unless the base keeps its last epoch."""
    select = value_at(base, "train.select")
    if select not in ("last", metric):
        log.info("trials keep their best epoch by %s, the study's metric (the base: %s)", metric, select)
    return {} if select == "last" else {"train.select": metric}


def _folder(config: TuneConfig, ground: Ground, base: Base, metric: str) -> Path:
    own = {name: signature(getattr(config, name)) for name in ("study", "sampler", "pruner")}
    own |= {"search_space": {name: signature(item) for name, item in config.search_space.items()}}
    settings = {"format": FORMAT, "base": base.run().path.name, "metric": metric, **own, "kind": config.storage.kind}
    return ground.home / base.results / base.name / f"{config.study.name}-{digest8(settings)}"
