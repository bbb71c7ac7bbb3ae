"""One monthly file: computed block by block, checked, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pipeline import __version__
from pipeline.contract.derived import Piece
from pipeline.core.artifact import sha256, writing
from pipeline.core.errors import InputError
from pipeline.derive.inputs import Inputs
from pipeline.derive.netcdf import MANTISSA, Output
from pipeline.derive.plan import Task, needs_of
from pipeline.derive.recipe import Recipe, Values, choose_fields, compute_block
from pipeline.derive.season import SCALARS
from pipeline.derive.series import Archive
from pipeline.raw.times import Seconds


@cache
def _recipes(names: tuple[str, ...]) -> dict[str, Recipe]:
    return choose_fields(names)


@dataclass(frozen=True)
class Writer:
    """What all monthly files of a data set share; another process can be sent it."""

    folder: Path
    dataset: str
    timezone: str
    names: tuple[str, ...]
    """Of the fields."""
    scalars: tuple[str, ...]
    archive: Archive
    compression: str
    bits: int
    """Bits of mantissa that fields keep which are not raw variables as they stand."""
    memory: float
    """Bytes of raw values that may be held."""

    @property
    def fields(self) -> Mapping[str, Recipe]:
        """The recipes of the fields."""
        return _recipes(self.names)

    def inputs(self, tasks: Sequence[Task]) -> Inputs:
        """Plan the reading for ``tasks``, in the order in which they will be written."""
        seconds = np.concatenate([task.month.seconds for task in tasks])
        return Inputs(self.archive, needs_of(self.fields), seconds, self.memory)

    def write(self, task: Task, inputs: Inputs) -> Piece:
        """Make the file of ``task``, one of those that ``inputs`` were planned for.

        Its bytes depend on nothing but the task.

        Raises:
            InputError: a raw file is broken or a value is missing, infinite or impossible.
            EnvironmentFault: the file cannot be written.
        """
        path = self.folder / task.file
        with writing(path) as part, Output(part, self.archive.grid, self._attributes(task)) as output:
            self._begin(output, task)
            checks = {name: Check(name, recipe) for name, recipe in self.fields.items()}
            seconds = task.month.seconds
            for block in inputs.blocks(seconds):
                for name, values in self._compute(inputs, seconds[block]):
                    checks[name].look(values, seconds[block])
                    output.put(name, block.start, values)
        dates = task.month.dates
        return Piece(
            task.file, path.stat().st_size, sha256(path), len(set(dates)), dates[0], dates[-1], task.made_from
        )  # fmt: skip

    def _compute(self, inputs: Inputs, seconds: Seconds) -> Iterator[tuple[str, Values]]:
        return compute_block(self.fields, self.archive.grid, lambda need: inputs.of(need, seconds))

    def _begin(self, output: Output, task: Task) -> None:
        texts = {
            "date": (task.month.dates, "local day"),
            "label": (task.labels, "label of the local day, empty where there is none"),
        }
        output.add_coordinates(task.month.seconds, texts)
        for name, recipe in self.fields.items():
            bits = MANTISSA if recipe.exact else self.bits
            output.add_field(name, recipe, len(task.month.seconds), self.compression, bits)
        for name in self.scalars:
            long_name, compute = SCALARS[name]
            output.add_scalar(name, compute(task.month.seconds), {"units": "1", "long_name": long_name})
        if self.bits < MANTISSA:
            output.add_quantization(__version__)

    def _attributes(self, task: Task) -> dict[str, str]:
        return {
            "Conventions": "CF-1.12",
            "title": f"Derived fields of {self.dataset}, local month {task.month.name}",
            "source": ", ".join(dict.fromkeys(path.name for path in task.sources)),
            "timezone": self.timezone,
            "made_from": task.made_from,
            "isobar_version": __version__,
        }


class Check:
    """Whether a field of one file is what its recipe says, block after block."""

    def __init__(self, name: str, recipe: Recipe) -> None:
        """Check nothing yet."""
        self._name, self._recipe = name, recipe
        self._first: Values | None = None

    def look(self, values: Values, seconds: Seconds) -> None:
        """Check one block (time × latitude × longitude).

        Raises:
            InputError: a value is infinite, missing where none may, out of range, or differs from an earlier time
                though the field is constant.
        """
        recipe = self._recipe
        if values.dtype != np.float32:
            raise TypeError(f"field {self._name} is {values.dtype}, not float32")
        with np.errstate(invalid="ignore"):
            low, high = values.min(), values.max()
        # A missing value makes this comparison false as well.
        if not (low >= recipe.lowest and high <= recipe.highest):
            self._complain(values, seconds)
        if recipe.constant:
            self._compare(values, seconds)

    def _complain(self, values: Values, seconds: Seconds) -> None:
        recipe = self._recipe
        missing = np.isinf(values) if recipe.may_miss else ~np.isfinite(values)
        count = np.count_nonzero(missing, axis=(1, 2))
        if count.any():
            first = np.datetime64(int(seconds[np.argmax(count > 0)]), "s")
            raise InputError(
                f"derive.fields: {self._name} is missing or infinite in {count.sum()} cells, first at {first} UTC; "
                "look at the raw files of that time"
            )
        wrong = (values < recipe.lowest) | (values > recipe.highest)
        if wrong.any():
            place = np.unravel_index(int(np.argmax(wrong)), values.shape)
            raise InputError(
                f"derive.fields: {self._name} is {values[place]:g} {recipe.units} at "
                f"{np.datetime64(int(seconds[place[0]]), 's')} UTC; it lies within {recipe.lowest:g} … "
                f"{recipe.highest:g} {recipe.units}; look at the raw files of that time"
            )

    def _compare(self, values: Values, seconds: Seconds) -> None:
        if self._first is None:
            self._first = values[0].copy()
        other = ~((values == self._first) | (np.isnan(values) & np.isnan(self._first)))
        if other.any():
            when = np.datetime64(int(seconds[np.argmax(other.any(axis=(1, 2)))]), "s")
            raise InputError(
                f"derive.fields: {self._name} is the same at all times, but at {when} UTC it has other values; "
                "look at the raw files of that time"
            )
