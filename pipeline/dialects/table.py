"""What a dialect is made of: a table of another guide's keys, and rules for those that are read together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol

UNSTATED = "–"
"""Default of a key for which the guide states none."""


class Wrong(Exception):
    """A value of the user's is wrong: the key as it was written, and what is wrong with it."""

    def __init__(self, theirs: str, reason: str) -> None:
        super().__init__(reason)
        self.theirs = theirs


@dataclass(frozen=True)
class Key:
    """One key of a guide."""

    theirs: str
    """Dotted path in the guide's form; ``<name>_dir`` stands for a key of every data set."""
    ours: str
    """Dotted path here (several with commas where a rule sets more than one); empty: no effect here."""
    meaning: str
    """One line; of a key without effect, why it has none."""
    test: str
    """``file.py::test_name`` below ``tests/`` that shows the effect."""
    default: Any = UNSTATED
    """The guide's. It applies to a config in its form, whatever is the default here."""
    convert: Callable[[Any], Any] | None = None
    """From their value to ours; raises ``ValueError``."""
    rule: bool = False
    """Read by a rule, not one to one."""
    free: bool = False
    """A dict with any keys."""


@dataclass(frozen=True)
class Setting:
    """What a key comes to: a value of one of our settings."""

    ours: str
    value: Any
    theirs: str = ""
    """The key that asked for it; empty: the guide's default, which gives way to our own sections."""


class Schedule(Protocol):
    """Turns torch's name and parameters of a scheduler into values of our ``train.schedule``."""

    def __call__(self, name: str | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings; raises ``InputError``."""
        ...


@dataclass(frozen=True)
class Written:
    """A config in a guide's form."""

    values: dict[str, Any]
    stem: str
    """Name of the file without its ending."""
    schedule: Schedule

    def has(self, theirs: str) -> bool:
        """Tell whether a key is written."""
        return _find(self.values, theirs)[0]

    def get(self, theirs: str, default: Any = None) -> Any:
        """Return the value of a key, ``default`` where it is not written."""
        found, value = _find(self.values, theirs)
        return value if found else default


Rule = Callable[[Written], Iterator[Setting]]


@dataclass(frozen=True)
class Dialect:
    """The form of one guide."""

    guide: str
    """What the documentation calls it."""
    markers: tuple[str, ...]
    """A config with one of these top-level keys is in this form."""
    keys: tuple[Key, ...]
    rules: tuple[Rule, ...]
    pattern: Callable[[str, Written], bool] = lambda name, written: False
    """Tells further top-level keys, those named by other values."""

    def paths(self) -> tuple[str, ...]:
        """Return all dotted keys of the guide."""
        return tuple(key.theirs for key in self.keys)


def _find(values: dict[str, Any], dotted: str) -> tuple[bool, Any]:
    here: Any = values
    for part in dotted.split("."):
        if not isinstance(here, dict) or part not in here:
            return False, None
        here = here[part]
    return True, here


def number(value: Any) -> Any:
    """Return a number as it is (its type is checked later); a truth value is none."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, found {value}")
    return value


def path(value: Any) -> Any:
    """Return a path as text."""
    if isinstance(value, PurePath):
        return str(value)
    if value == "":
        raise ValueError("expected a path, found an empty text")
    return value


def one_of(table: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return a conversion by a table; another value is an error that lists what is allowed."""

    def convert(value: Any) -> Any:
        if isinstance(value, str) and value in table:
            return table[value]
        raise ValueError(f"unknown name {value!r}. Allowed: {', '.join(table)}")

    return convert
