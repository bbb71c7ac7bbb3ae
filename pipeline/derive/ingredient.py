"""What a derived field is described by: the raw variables and other fields it needs, and how it is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.derive.series import Key

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Need:
    """A raw variable that a field is made from, on the field's time or some hours before."""

    variable: str
    level: float | None = None
    """Pressure in hPa."""
    hours_before: int = 0

    @property
    def key(self) -> Key:
        """Which series holds it."""
        return self.variable, self.level


@dataclass(frozen=True)
class Field:
    """Another field, or an intermediate result that several fields share, on the same times."""

    name: str


@dataclass(frozen=True)
class Recipe:
    """How one field is made.

    ``compute`` gets the grid and the values of ``inputs`` (each time × latitude × longitude, float32) in order. It
    must not change them, and may return one of them.
    """

    long_name: str
    units: str
    inputs: tuple[Need | Field, ...]
    compute: Callable[..., Values]
    lowest: float
    highest: float
    """Outside of these the value is an error of a raw file; in ``units``, generous."""
    standard_name: str = ""
    """CF standard name, where there is one."""
    reference: str = ""
    may_miss: bool = False
    """Whether NaN has a meaning in it."""
    exact: bool = False
    """Whether it is a raw variable as it stands."""
    constant: bool = False
    """Whether it is the same at all times."""
    differentiates: bool = False
    """Whether it needs neighbours (at least 4 × 4 points, no pole)."""
    geostrophic: bool = False
    """Whether it does not exist near the equator."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Further CF attributes."""
