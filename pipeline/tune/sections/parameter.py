"""One searched setting: its range or its choices, and when it is searched."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.config import Section


def label(value: Any) -> Any:
    """Return what stands for a choice in the study: plain values themselves, lists and mappings their JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, ensure_ascii=False)


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def number(value: Any) -> Any:
    """Return a number for a text such as ``1e-4``, which YAML 1.1 takes for a word, and any other value as it is."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


class ParameterConfig(Section):
    """A searched setting."""

    type: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    """Both ends belong to the range."""
    log: bool = False
    """Search the logarithm."""
    step: float | None = Field(None, gt=0)
    """From one value to the next, counted from ``low``."""
    choices: list[Any] = Field(default_factory=list)
    """Categorical: any values of the setting, lists and null too."""
    when: dict[str, list[Any]] = Field(default_factory=dict)
    """Search this only where other parameters have one of these values; elsewhere the base's value stays."""

    @field_validator("choices", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return [number(choice) for choice in value] if isinstance(value, list) else value

    @field_validator("when", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        listed = {name: allowed if isinstance(allowed, list) else [allowed] for name, allowed in value.items()}
        return {name: [number(choice) for choice in allowed] for name, allowed in listed.items()}

    @model_validator(mode="after")
    def _complete(self) -> ParameterConfig:
        if self.type == "categorical":
            self._check_choices()
        else:
            self._check_range()
        return self

    def _check_choices(self) -> None:
        if not self.choices:
            raise ValueError("choices: categorical needs at least one")
        texts = [json.dumps(value, sort_keys=True, default=str) for value in self.choices]
        twice = [text for text in texts if texts.count(text) > 1]
        if twice:
            raise ValueError(f"choices: {twice[0]} is written twice; keep one")
        unused = [name for name in ("low", "high", "step", "log") if getattr(self, name) not in (None, False)]
        if unused:
            raise ValueError(f"{', '.join(unused)}: categorical takes choices only")

    def _check_range(self) -> None:
        missing = [name for name in ("low", "high") if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{' and '.join(missing)}: {self.type} needs low and high")
        low, high = float(self.low or 0), float(self.high or 0)
        if self.choices:
            raise ValueError(f"choices: {self.type} takes low and high; set type: categorical for choices")
        if not (math.isfinite(low) and math.isfinite(high)) or low > high:
            raise ValueError(f"low {self.low} and high {self.high}: expected finite numbers, low not above high")
        if self.log and low <= 0:
            raise ValueError(f"low: {self.low} has no logarithm; set it above 0, or drop log")
        if self.log and self.step is not None:
            raise ValueError("step: not with log; drop one of them")
        wrong = [n for n in ("low", "high", "step") if not float(getattr(self, n) or 0).is_integer()]
        if self.type == "int" and wrong:
            raise ValueError(f"{wrong[0]}: {getattr(self, wrong[0])} is not a whole number, as int needs")

    def ends(self) -> list[tuple[str, Any]]:
        """Return the key and the value of each end of the range, or of each choice."""
        if self.type == "categorical":
            return [(f"choices.{position}", value) for position, value in enumerate(self.choices)]
        cast = int if self.type == "int" else float
        return [("low", cast(self.low or 0)), ("high", cast(self.high or 0))]

    def allows(self, value: Any) -> bool:
        """Tell whether a trial may have this value."""
        if self.type == "categorical":
            return any(label(choice) == label(value) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = float(self.low or 0), float(self.high or 0)
        step = self.step or (1.0 if self.type == "int" else 0.0)
        steps = (value - low) / step if step else 0.0
        return low <= value <= high and abs(steps - round(steps)) < 1e-8

    def points(self) -> list[Any]:
        """Return all values, for a grid: choices as they stand in the study, or low, low + step, … up to high."""
        if self.type == "categorical":
            return [label(value) for value in self.choices]
        low, high, step = float(self.low or 0), float(self.high or 0), self.step or 1.0
        count = math.floor((high - low) / step + 1e-9) + 1
        values = [low + step * position for position in range(count)]
        return [int(value) for value in values] if self.type == "int" else [round(value, 12) for value in values]
