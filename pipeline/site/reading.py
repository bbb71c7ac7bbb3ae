"""Reading other jobs' files without trusting them: what is broken is told, and stops nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError

_MOST_BYTES = 32 << 20
_LONGEST_TEXT = 400
_MOST_SETTINGS = 3000
_DECIMALS = 4
WRONG = (InputError, OSError, KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError)
"""What files that are not as their program wrote them may lead to."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Faults(list[str]):
    """Reasons why parts of a folder could not be read."""

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Note what goes wrong in the block, and go on after it."""
        try:
            yield
        except WRONG as error:
            self.append(f"{what}: {one_line(error)}")


def load(folder: Path, name: str, faults: Faults) -> dict[str, Any]:
    """Return a JSON object of a folder; empty where the file is absent, or broken, which is noted."""
    path = folder / name
    if not path.exists():
        return {}
    try:
        _check_size(path)
        return read_json(path)
    except WRONG as error:
        reason = one_line(error).replace(f"{folder}/", "", 1)
        faults.append(reason if reason.startswith(name) else f"{name}: {reason}")
        return {}


def load_settings(folder: Path, faults: Faults) -> dict[str, Any]:
    """Return ``config.yaml`` of a run as ``{dotted name: value}``; empty where it is absent or broken."""
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    try:
        _check_size(path)
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a safe loader)
        return flat(value)
    except (yaml.YAMLError, *WRONG) as error:
        faults.append(f"config.yaml: {one_line(error)}")
        return {}


def _check_size(path: Path) -> None:
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path}: larger than {_MOST_BYTES >> 20} MB, so it is not read")


def flat(value: Any) -> dict[str, Any]:
    """Return a tree of settings as ``{dotted name: value}``; lists are values.

    Raises:
        ValueError: it is no mapping, or has more settings than any config.
    """
    if not isinstance(value, dict):
        raise ValueError("not a mapping of settings")
    found: dict[str, Any] = {}
    waiting = [("", value)]
    while waiting:
        prefix, tree = waiting.pop()
        for key, item in tree.items():
            name = f"{prefix}{key}"
            if isinstance(item, dict) and item:
                waiting.append((f"{name}.", item))
            else:
                found[name] = item
            if len(found) + len(waiting) > _MOST_SETTINGS:
                raise ValueError(f"more than {_MOST_SETTINGS} settings")
    return found


def text(value: Any, most: int = _LONGEST_TEXT) -> str:
    """Return a value as text of bounded length."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    found = value if isinstance(value, str) else _list_text(value)
    found = found.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be written
    return found if len(found) <= most else f"{found[: most - 1]}…"


def _list_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(text(item, 80) for item in value[:40])}{', …' if len(value) > 40 else ''}]"
    return str(value)[: _LONGEST_TEXT + 1]


def bounded(value: Any, depth: int = 5) -> Any:
    """Return a JSON value of bounded size and depth, with numbers that JSON has."""
    if isinstance(value, dict) and depth:
        return {text(key, 120): bounded(item, depth - 1) for key, item in list(value.items())[:40]}
    if isinstance(value, list) and depth:
        return [bounded(item, depth - 1) for item in value[:40]]
    if isinstance(value, bool) or value is None:
        return value
    return number(value, 12) if isinstance(value, int | float) else text(value)


def number(value: Any, decimals: int = _DECIMALS) -> float | int | None:
    """Return a finite number, rounded; ``None`` for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else round(value, decimals)


def significant(value: Any) -> float | int | None:
    """Return a finite number with four significant digits; ``None`` for everything else."""
    found = number(value, 12)
    return float(f"{found:.4g}") if isinstance(found, float) else found


def thousandths(value: Any) -> int | None:
    """Return a score between 0 and 1 in thousandths, which take half the place; ``None`` for everything else."""
    found = number(value, 3)
    return None if found is None else round(found * 1000)


def numbers(values: Any, how: Callable[[Any], float | int | None] = number) -> list[float | int | None]:
    """Return numbers of a list, ``None`` for items that are none."""
    return [how(value) for value in values]


def one_line(error: BaseException) -> str:
    """Return an error in one line of bounded length."""
    if isinstance(error, KeyError):
        return f"has no entry {text(error.args[0] if error.args else '?', 80)!r}"
    return text(" ".join(str(error).split()) or type(error).__name__)
