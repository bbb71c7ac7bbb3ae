"""Every field that Isobar derives, as a table: what it needs, how it is computed, its units, where that is written.

The recipes stand in :mod:`pipeline.derive.tables`; :func:`compute_block` makes any choice of them from raw values, each
intermediate result once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from pipeline.core.choose import choose
from pipeline.core.errors import InputError
from pipeline.derive import geostrophy, sphere
from pipeline.derive.ingredient import Field, Need, Recipe, Values
from pipeline.derive.tables.delivered import DELIVERED
from pipeline.derive.tables.flow import FLOW
from pipeline.derive.tables.moisture import MOISTURE
from pipeline.derive.tables.pressure import PRESSURE, SLOPES
from pipeline.raw.grid import Grid

__all__ = ["FIELDS", "Field", "Need", "Recipe", "Values", "check_grid", "choose_fields", "compute_block", "raw_needs"]

FIELDS: dict[str, Recipe] = {**DELIVERED, **PRESSURE, **FLOW, **MOISTURE}

_ALL: dict[str, Recipe] = {**FIELDS, **SLOPES}


def raw_needs(recipe: Recipe) -> tuple[Need, ...]:
    """Return the raw variables that ``recipe`` needs, also through other fields, each once."""
    found: dict[Need, None] = {}
    for item in recipe.inputs:
        found.update(dict.fromkeys((item,) if isinstance(item, Need) else raw_needs(_ALL[item.name])))
    return tuple(found)


def compute_block(
    fields: Mapping[str, Recipe], grid: Grid, get_raw: Callable[[Need], Values]
) -> Iterator[tuple[str, Values]]:
    """Yield name and values (time × latitude × longitude) of each of ``fields``, in their order.

    ``get_raw`` is called once for each raw variable, when it is first needed; it and every intermediate result are
    dropped after their last use. The values are read-only: later fields may be made of them.
    """
    kitchen = _Kitchen(fields, grid, get_raw)
    for name in fields:
        yield name, kitchen.take(Field(name))


class _Kitchen:
    """Raw values and fields of one block of times, made on demand and dropped after their last use."""

    def __init__(self, fields: Mapping[str, Recipe], grid: Grid, get_raw: Callable[[Need], Values]) -> None:
        self._recipes, self._grid, self._get_raw = {**_ALL, **fields}, grid, get_raw
        self._held: dict[Need | Field, Values] = {}
        self._uses: Counter[Need | Field] = Counter()
        for name in fields:
            self._count(Field(name))

    def _count(self, item: Need | Field) -> None:
        self._uses[item] += 1
        if isinstance(item, Field) and self._uses[item] == 1:
            for part in self._recipes[item.name].inputs:
                self._count(part)

    def take(self, item: Need | Field) -> Values:
        """Return the values of ``item``, for one of its uses."""
        if item not in self._held:
            values = (self._get_raw(item) if isinstance(item, Need) else self._make(self._recipes[item.name])).view()
            values.flags.writeable = False
            self._held[item] = values
        self._uses[item] -= 1
        return self._held[item] if self._uses[item] else self._held.pop(item)

    def _make(self, recipe: Recipe) -> Values:
        return recipe.compute(self._grid, *(self.take(item) for item in recipe.inputs))


def choose_fields(names: Sequence[str]) -> dict[str, Recipe]:
    """Return the recipes of ``names``, in that order.

    Raises:
        InputError: a name is unknown.
    """
    return {name: choose(FIELDS, name, "derive.fields") for name in names}


def check_grid(fields: dict[str, Recipe], grid: Grid) -> None:
    """Check that every field can be computed on ``grid``.

    Raises:
        InputError: too few points for differences, a pole, or latitudes near the equator for a geostrophic field.
    """
    for name, recipe in fields.items():
        if recipe.differentiates and min(grid.shape) < sphere.LEAST:
            raise InputError(
                f"derive.fields: {name} needs at least {sphere.LEAST} latitudes and longitudes, the raw files have "
                f"{grid.describe()}; download a larger area or leave the field out"
            )
        if recipe.differentiates and np.abs(grid.latitude).max() > 89.99:
            raise InputError(
                f"derive.fields: {name} has no value at a pole, and the raw files have {grid.describe()}; "
                "cut the area or leave the field out"
            )
        if recipe.geostrophic and np.abs(grid.latitude).min() < geostrophy.NEAREST:
            raise InputError(
                f"derive.fields: {name} does not exist within {geostrophy.NEAREST:g} degrees of the equator, and the "
                f"raw files have {grid.describe()}; cut the area or leave the field out"
            )
