"""New samples: what they are called, and their inputs a few at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""By input: n × per-sample shape, as a store holds them."""


@dataclass(frozen=True)
class Samples:
    """N new samples in the order of the output, each column N texts; empty where a sample has none."""

    ids: NDArray[np.str_]
    """The local day or the UTC time of a map, the path of an image."""
    times: NDArray[np.str_]
    """UTC, ``YYYY-MM-DDTHH:MM:SSZ``."""
    dates: NDArray[np.str_]
    """Local day, ``YYYY-MM-DD``."""
    groups: NDArray[np.str_]
    """Data set of an image."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)

    def take(self, rows: NDArray[np.bool_]) -> Samples:
        """Return the samples ``rows``."""
        return Samples(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Piece:
    """The inputs of n samples, and what is to be said of each."""

    arrays: Arrays
    broken: NDArray[np.bool_]
    """n: the file cannot be read and is left out; its inputs mean nothing."""
    filled: NDArray[np.int64]
    """n: channels with missing values that had none in the training; the training mean stands there."""
    strange: NDArray[np.float64]
    """n: how far the mean of the most unusual channel is from that of the training, in its standard deviations."""
    strangest: NDArray[np.int64]
    """n: which channel that is."""


def plain_piece(arrays: Arrays, count: int) -> Piece:
    """Return a piece of which there is nothing to be said."""
    nothing = np.zeros(count, np.int64)
    return Piece(arrays, nothing > 0, nothing, nothing.astype(np.float64), nothing)


class NewData(Protocol):
    """New files that were opened for one run."""

    @property
    def samples(self) -> Samples:
        """All samples."""

    def piece(self, first: int, last: int) -> Piece:
        """Read the samples from number ``first`` up to, not including, ``last``."""
