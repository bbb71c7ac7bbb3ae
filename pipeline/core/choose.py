"""Choose by name from a table; a wrong name is answered with the names that exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pipeline.core.errors import InputError, shorten

T = TypeVar("T")


def near(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean …?"`` for the closest of ``names``, or a full stop."""
    lowered = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return f"; did you mean {lowered[found[0]]!r}?" if found else "."


def choose(table: Mapping[str, T], name: str, setting: str) -> T:
    """Return ``table[name]``.

    Raises:
        InputError: ``name`` is not in the table; names ``setting``, the near miss and all that is allowed.
    """
    if name in table:
        return table[name]
    raise InputError(f"{setting}: unknown name {name!r}{near(name, table)} Allowed: {shorten(sorted(table), 30)}")
