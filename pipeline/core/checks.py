"""Checks that settings of several stages share; each returns what it was given, or raises for pydantic to report."""

from __future__ import annotations


def utc_hours(hours: list[int]) -> list[int]:
    """Return ``hours`` if they are UTC hours.

    Raises:
        ValueError: they are not, or one is named twice.
    """
    if any(not 0 <= hour <= 23 for hour in hours) or len(set(hours)) < len(hours):
        raise ValueError(f"UTC hours are whole numbers from 0 to 23, each once; found {hours}")
    return hours


def once(names: list[str]) -> list[str]:
    """Return ``names`` if each is there once.

    Raises:
        ValueError: one is written twice.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} written twice; keep one")
    return names
