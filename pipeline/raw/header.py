"""What every kind of raw file is to its readers: named variables with dimensions, attributes and values on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Positions = NDArray[np.int64]

ATTRIBUTES = (
    "units",
    "standard_name",
    "calendar",
    "GRIB_shortName",
    "GRIB_units",
    "GRIB_paramId",
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
)
"""The attributes that say what a variable is and how it is packed; others are not read."""

_LONGEST = 50_000_000
"""Values of a coordinate; all hours of ERA5 are 750 000."""


def check_length_of(name: str, shape: tuple[int, ...]) -> None:
    """Raise ``ValueError`` for a coordinate that no file has; a header of a few bytes may announce any length."""
    if int(np.prod(shape, dtype=np.float64)) > _LONGEST:
        raise ValueError(f"{name} announces {shape[0]} values, a coordinate has at most {_LONGEST}")


@dataclass(frozen=True)
class Item:
    """One variable of a file."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    values: NDArray[Any] | None = None
    """Unpacked values of a variable with at most one dimension; ``None`` for others and for text."""
    chunks: tuple[int, ...] | None = None
    """Sizes of the blocks that are compressed as one; ``None``: any part is read at no more than its own cost."""

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.dims)


@dataclass(frozen=True)
class Header:
    """All variables of a file by name, and the sizes of its dimensions."""

    items: dict[str, Item]
    sizes: dict[str, int]

    @property
    def fields(self) -> dict[str, Item]:
        """The variables over two dimensions or more."""
        return {name: item for name, item in self.items.items() if item.ndim >= 2}

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that are not coordinates, for messages."""
        return tuple(self.fields) or tuple(name for name in self.items if name not in self.sizes)


@dataclass(frozen=True)
class Cut:
    """Which part of a variable to read: positions along time, one place along every other dimension but two."""

    dims: tuple[str, str, str]
    """The dimensions time, latitude and longitude as the file calls them."""
    positions: Positions
    """Ascending."""
    fixed: Mapping[str, int] = field(default_factory=dict)

    @property
    def span(self) -> slice:
        """The evenly spaced positions that hold all that are wanted."""
        step = int(np.gcd.reduce(np.diff(self.positions))) if len(self.positions) > 1 else 1
        return slice(int(self.positions[0]), int(self.positions[-1]) + 1, step)

    @property
    def inside(self) -> Positions:
        """Where in :attr:`span` the wanted positions are."""
        return np.asarray((self.positions - self.positions[0]) // self.span.step)


@dataclass(frozen=True)
class Unpack:
    """Stored numbers → physical values: fill values become NaN, then ``stored * factor + offset``."""

    fills: tuple[float, ...]
    factor: float
    offset: float

    @classmethod
    def of(cls, attrs: Mapping[str, Any], factor: float = 1.0, offset: float = 0.0) -> Unpack:
        """Return the packing that ``attrs`` describe, followed by a change of units."""
        named = (np.atleast_1d(attrs[name]) for name in ("_FillValue", "missing_value") if name in attrs)
        fills = {float(value) for values in named for value in values if np.isreal(value)}
        scale, add = (float(np.ravel(attrs.get(n, d))[0]) for n, d in (("scale_factor", 1.0), ("add_offset", 0.0)))
        return cls(tuple(sorted(v for v in fills if np.isfinite(v))), scale * factor, add * factor + offset)

    @property
    def trivial(self) -> bool:
        """Whether stored numbers are the values."""
        return not self.fills and self.factor == 1 and self.offset == 0

    def __call__(self, stored: NDArray[Any]) -> NDArray[np.floating]:
        """Return physical values: float32 of stored float32, float64 of anything else."""
        values = stored if stored.dtype.kind == "f" else stored.astype(np.float64)
        holes = [stored == stored.dtype.type(fill) for fill in self.fills if _fits(fill, stored.dtype)]
        if self.factor != 1:
            values = values * values.dtype.type(self.factor)
        if self.offset != 0:
            values = values + values.dtype.type(self.offset)
        if any(hole.any() for hole in holes):
            values = np.where(np.logical_or.reduce(holes), values.dtype.type(np.nan), values)
        return values


def _fits(fill: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return fill == int(fill) and limits.min <= fill <= limits.max


class Source(Protocol):
    """An open file, or one of the files inside an archive."""

    label: str
    """What messages call it."""
    header: Header

    def fetch(self, name: str, cut: Cut, unpack: Unpack) -> Values:
        """Return time × latitude × longitude of a variable, unpacked, in the order of the file."""

    def close(self) -> None:
        """Close the file."""
