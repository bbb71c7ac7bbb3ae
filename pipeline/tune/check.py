"""Everything that can be known to be wrong before the first trial: ends of ranges, choices, what is idle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.choose import near
from pipeline.core.config import COMMAND_LINE, Section, dotted_names, field_at
from pipeline.core.errors import InputError
from pipeline.core.logs import log
from pipeline.tune.experiment import Base
from pipeline.tune.sections.guides import IMPLIED, names
from pipeline.tune.space import Parameter, combinations, settings

Make = Callable[[Mapping[str, Any]], Base]
"""{dotted setting: value} → the checked experiment."""

_STAGED = ("train.rates.by", ("stages",))
_COSINE = ("cosine", "linear")
_WARM = ("cosine", "step", "multistep", "exponential", "linear", "none")
IDLE: dict[str, tuple[str, tuple[Any, ...]]] = {
    "train.rates.head": _STAGED,
    "train.rates.backbone": _STAGED,
    "train.rates.decay": _STAGED,
    "train.optimizer.lr": ("train.rates.by", ("one", "layers")),
    "train.optimizer.momentum": ("train.optimizer.name", ("sgd",)),
    "train.optimizer.nesterov": ("train.optimizer.name", ("sgd",)),
    "train.optimizer.betas": ("train.optimizer.name", ("adam", "adamw")),
    "train.schedule.gamma": ("train.schedule.name", ("step", "multistep", "exponential")),
    "train.schedule.step_size": ("train.schedule.name", ("step",)),
    "train.schedule.milestones": ("train.schedule.name", ("multistep",)),
    "train.schedule.factor": ("train.schedule.name", ("plateau",)),
    "train.schedule.patience": ("train.schedule.name", ("plateau",)),
    "train.schedule.final": ("train.schedule.name", _COSINE),
    "train.schedule.length": ("train.schedule.name", _COSINE),
    "train.schedule.each": ("train.schedule.name", _COSINE),
    "train.schedule.start": ("train.schedule.name", ("linear",)),
    "train.schedule.eta_min": ("train.schedule.name", ("cosine",)),
    "train.schedule.warmup_epochs": ("train.schedule.name", _WARM),
    "train.agc.clip_factor": ("train.agc.enabled", (True,)),
    "train.agc.eps": ("train.agc.enabled", (True,)),
    "train.unfreeze.epochs": ("train.unfreeze.enabled", (True,)),
    "train.unfreeze.rest": ("train.unfreeze.enabled", (True,)),
    "train.loss.gamma": ("train.loss.kind", ("auto", "focal")),
    "train.loss.gamma_negative": ("train.loss.kind", ("asymmetric",)),
    "train.loss.gamma_positive": ("train.loss.kind", ("asymmetric",)),
    "train.loss.margin": ("train.loss.kind", ("asymmetric",)),
}
"""Settings that do something only where another has one of these values."""

REFUSED = {
    "train.seed": "a seed is luck and no setting; see confirm, which measures how much of it there is",
    "train.fold": "scores of different folds cannot be compared; search one fold",
    "train.select": "trials are compared by study.metric, which is set there",
    "train.start_from": "set is_post_training and checkpoint_path",
    "train.resume": "trials resume from their own checkpoints",
    "train.early_stopping.monitor": "trials are compared by study.metric",
}
_CHANGES_THE_LOSS = ("train.loss.", "train.model.aux_loss_weight", "train.sampler")


def place(places: Mapping[str, str], origin: str, dotted: str, typed: Sequence[str] = ()) -> str:
    """Return ``file:line`` of a key of the tuning config, of its nearest written parent if it has none."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if any(text.startswith(f"{name}=") for text in typed):
            return COMMAND_LINE
        if name in places:
            return places[name]
    return origin


def implied(space: Sequence[Parameter], base: Base) -> dict[str, Any]:
    """Return the settings without which parameters by a guide's name would do nothing, where the base lacks them."""
    searched = {item.dotted for item in space}
    found: dict[str, Any] = {}
    for item in space:
        rule = IMPLIED.get(item.name)
        if rule is None or rule.setting in searched or rule.setting in found:
            continue
        present = value_at(base, rule.setting)
        if (present not in rule.unless) if rule.unless else not present:
            found[rule.setting] = rule.value
            log.info("search_space.%s: all trials have %s=%s, without which it would do nothing", item.name,
                     rule.setting, rule.value)  # fmt: skip
    return found


def value_at(base: Any, dotted: str) -> Any:
    """Return the value of a setting by its dotted path."""
    for part in dotted.split("."):
        base = getattr(base, part)
    return base


def check_names(space: Sequence[Parameter], model: type[Section], metric: str, at: Callable[[str], str]) -> None:
    """Check that every parameter is a setting that a trial may change.

    Raises:
        InputError: with one line for each that is not.
    """
    known = [*dotted_names(model)]
    problems: list[str] = []
    dotted: dict[str, str] = {}
    for item in space:
        here = f"{at(f'search_space.{item.name}')}: search_space.{item.name}"
        reason = _refusal(item, model, known, metric)
        if item.dotted in dotted:
            reason = f"is {item.dotted}, as {dotted[item.dotted]} is; keep one"
        dotted[item.dotted] = item.name
        problems += [f"{here}: {reason}"] if reason else []
    if problems:
        raise InputError("\n".join(problems))


def _refusal(item: Parameter, model: type[Section], known: Sequence[str], metric: str) -> str:
    dotted = item.dotted
    if not _exists(model, dotted, known):
        allowed = [*known, *names()]
        hint = near(item.name, [name for name in allowed if name.startswith("train.") or "." not in name])
        return f"no setting of that name{hint} Settings by their dotted path, or a guide's name such as learning_rate"
    if dotted in REFUSED:
        return REFUSED[dotted]
    if not dotted.startswith(("train.", "store.", "derive.")):
        return "changes no training, so a search learns nothing of it; search settings below train"
    if metric == "val_loss" and dotted.startswith(_CHANGES_THE_LOSS[:2]):
        return "changes what val_loss means, so trials could not be compared; set study.metric to val_map or val_f1"
    return ""


def _exists(model: type[Section], dotted: str, known: Sequence[str]) -> bool:
    if dotted in known:
        return True
    parent = dotted.rpartition(".")[0]
    # A key of a free table, such as the rate of one layer.
    return parent in known and str(field_at(model, parent).annotation).startswith("dict[")


def check_values(space: Sequence[Parameter], make: Make, base: Path, at: Callable[[str], str]) -> None:
    """Load the experiment with each end of each range and each choice, and with the corners of the space.

    Raises:
        InputError: with one line for each value that is not allowed.
    """
    problems: list[str] = []
    for item in space:
        problems += _wrong_values(item, space, make, base, at)
    if not problems:
        for values in combinations(space):
            problems += _tried(make, base, settings(space, values), at("search_space"), "search_space", values)
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))


def check_enqueued(
    enqueued: Sequence[Mapping[str, Any]], space: Sequence[Parameter], make: Make, base: Path, at: Callable[[str], str]
) -> None:
    """Check that the first trials that a config lists lie inside the space.

    Raises:
        InputError: with one line for each value that does not.
    """
    problems: list[str] = []
    for position, first in enumerate(enqueued):
        for item in space:
            value, dotted = first.get(item.name), f"study.enqueue.{position}.{item.name}"
            if item.name in first and not item.config.allows(value):
                problems.append(f"{at(dotted)}: {dotted}: {value!r} is not in search_space.{item.name}")
        if not problems:
            dotted = f"study.enqueue.{position}"
            problems += _tried(make, base, settings(space, first), at(dotted), dotted, None)
    if problems:
        raise InputError("\n".join(problems))


def _wrong_values(
    item: Parameter, space: Sequence[Parameter], make: Make, base: Path, at: Callable[[str], str]
) -> Iterator[str]:
    beside = _conditions(item, space)
    for key, value in item.config.ends():
        dotted = f"search_space.{item.name}.{key}"
        for line in _tried(make, base, beside | item.settings(value), at(dotted), dotted, None):
            yield line.replace(f": {item.dotted}: ", ": ", 1)
    if item.config.when:
        by_name = {other.name: other for other in space}
        for name, allowed in item.config.when.items():
            yield from _never(by_name[name], allowed, at(f"search_space.{item.name}.when"), item.name)


def _never(other: Parameter, allowed: Sequence[Any], where: str, name: str) -> Iterator[str]:
    if other.config.type == "categorical":
        for value in allowed:
            if value not in other.config.choices:
                yield f"{where}: search_space.{name}.when: {value!r} is no choice of {other.name}"


def _conditions(item: Parameter, space: Sequence[Parameter]) -> dict[str, Any]:
    """Return the settings with which a parameter is searched: the first allowed value of each of its conditions."""
    by_name = {other.name: other for other in space}
    found: dict[str, Any] = {}
    for name, allowed in item.config.when.items():
        found |= _conditions(by_name[name], space) | (by_name[name].settings(allowed[0]) if allowed else {})
    return found


def _tried(
    make: Make, base: Path, found: Mapping[str, Any], where: str, dotted: str, values: Mapping[str, Any] | None
) -> Iterator[str]:
    try:
        make(found)
    except InputError as error:
        for line in str(error).splitlines():
            reason = line.partition(": ")[2] if line.startswith((COMMAND_LINE, str(base))) else line
            with_them = f" (with {dict(values)})" if values is not None else ""
            yield f"{where}: {dotted}: {reason}{with_them}"


def check_effect(space: Sequence[Parameter], base: Base, make: Make, at: Callable[[str], str]) -> None:
    """Check that every parameter changes something: not a setting of where and how fast, not one that is switched off.

    Raises:
        InputError: with one line for each that does nothing.
    """
    searched = {item.dotted: item for item in space}
    problems = []
    for item in space:
        here = f"{at(f'search_space.{item.name}')}: search_space.{item.name}"
        rule = IDLE.get(item.dotted)
        if rule is not None and rule[0] not in searched and not item.config.when:
            setting, needed = rule
            present = value_at(base, setting)
            if present not in needed:
                wanted = " or ".join(map(str, needed))
                problems.append(
                    f"{here}: does nothing with {setting}={present}; add {setting}={wanted} to overrides, or drop it"
                )
                continue
        values = item.config.ends()
        if len(values) > 1 and values[0][1] != values[-1][1] and _same_run(item, space, make):
            problems.append(f"{here}: changes no outcome of a training, so there is nothing to search")
    if problems:
        raise InputError("\n".join(problems))


def _same_run(item: Parameter, space: Sequence[Parameter], make: Make) -> bool:
    """Tell whether the run is the same at both ends; a store that is not built yet is told here, too."""
    beside = _conditions(item, space)
    runs = set()
    for _, value in item.config.ends():
        runs.add(make(beside | item.settings(value)).run().path.name)
    return len(runs) == 1
