"""The search space: from settings to parameters that a trial suggests, and from their values to overrides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from optuna import Trial

from pipeline.tune.sections.guides import names, settings_of
from pipeline.tune.sections.parameter import ParameterConfig, label


@dataclass(frozen=True)
class Parameter:
    """One searched setting."""

    name: str
    """As it is written, and as the study calls it."""
    dotted: str
    """Our setting."""
    config: ParameterConfig
    own: frozenset[str] = field(default=frozenset())
    """All settings that are searched for themselves, which a guide's constants do not touch."""

    def suggest(self, trial: Trial) -> Any:
        """Return the value of the setting in a trial; what the study holds already is taken from there."""
        config = self.config
        if config.type == "categorical":
            return self.value(trial.suggest_categorical(self.name, [label(value) for value in config.choices]))
        (_, low), (_, high) = config.ends()
        if config.type == "int":
            return trial.suggest_int(self.name, low, high, step=int(config.step or 1), log=config.log)
        return trial.suggest_float(self.name, low, high, step=config.step, log=config.log)

    def value(self, stored: Any) -> Any:
        """Return the value of the setting for what the study holds."""
        for choice in self.config.choices:
            if label(choice) == stored and type(label(choice)) is type(stored):
                return choice
        return stored

    def settings(self, value: Any) -> dict[str, Any]:
        """Return the settings that a value comes to."""
        found = settings_of(self.name, self.dotted, value)
        return {name: item for name, item in found.items() if name == self.dotted or name not in self.own}

    def asked(self, values: Mapping[str, Any]) -> bool:
        """Tell whether its conditions hold with the values of parameters before it."""
        return all(
            name in values and label(values[name]) in [label(item) for item in allowed]
            for name, allowed in self.config.when.items()
        )


def build_space(search_space: Mapping[str, ParameterConfig]) -> list[Parameter]:
    """Return the parameters, each after those that its conditions name, else in the order written."""
    known = names()
    dotted = {name: known.get(name, name) for name in search_space}
    own = frozenset(dotted.values())
    waiting = [Parameter(name, dotted[name], config, own) for name, config in search_space.items()]
    ordered: list[Parameter] = []
    while waiting:
        done = {item.name for item in ordered}
        ready = next(item for item in waiting if set(item.config.when) <= done)
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def suggest(trial: Trial, space: Sequence[Parameter]) -> dict[str, Any]:
    """Return {name: value of the setting} of a trial; what is in the study already is taken from there."""
    values: dict[str, Any] = {}
    for item in space:
        if item.asked(values):
            values[item.name] = item.suggest(trial)
    return values


def settings(space: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return {dotted setting: value} of a trial's values."""
    found: dict[str, Any] = {}
    for item in space:
        if item.name in values:
            found |= item.settings(values[item.name])
    return found


def stored_values(space: Sequence[Parameter], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return {name: value of the setting} for what the study holds of a trial."""
    return {item.name: item.value(params[item.name]) for item in space if item.name in params}


def overrides(found: Mapping[str, Any]) -> list[str]:
    """Return ``key=value`` texts, read back as the same values."""
    return [f"{dotted}={_text(value)}" for dotted, value in found.items()]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 30, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("...").strip()


def grid_size(space: Sequence[Parameter]) -> int:
    """Return the number of combinations of a grid."""
    size = 1
    for item in space:
        size *= len(item.config.points())
    return size


def combinations(space: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
    """Yield values at the corners of the space: all low, all high, and each choice with the rest at the middle."""
    for end in (0, -1):
        values: dict[str, Any] = {}
        for item in space:
            if item.asked(values):
                values[item.name] = item.config.ends()[end][1]
        yield values
