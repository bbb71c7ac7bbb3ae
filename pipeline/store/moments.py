"""Mean and spread of channels in float64: per sample first, so that the statistics of any set of days are one sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import writing
from pipeline.core.errors import InputError

Floats = NDArray[np.float64]
CONSTANT = 1e-6
"""A channel whose standard deviation is at most this share of its mean's size is constant.

Float32 numbers lie up to 1.2e-7 of their size apart, so such a channel varies by fewer than ten steps of its own
storage: that is the rounding of a constant, not weather. The floor is relative to the mean only: a channel with a
spread of 5e-9 around zero passes.
"""


@dataclass(frozen=True)
class Moments:
    """Number of valid values, their mean and their summed squared distance from it; arrays of one shape."""

    count: Floats
    mean: Floats
    squares: Floats

    @property
    def std(self) -> Floats:
        """The population standard deviation; NaN where nothing was valid."""
        variance = np.divide(self.squares, self.count, out=np.full_like(self.squares, np.nan), where=self.count > 0)
        return np.sqrt(variance)

    def described(self) -> dict[str, list[float]]:
        """Return mean, standard deviation and count as ``scale.json`` has them."""
        return {
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "count": self.count.astype(np.int64).tolist(),
        }

    def write(self, path: Path) -> None:
        """Write the three arrays as ``.npz``."""
        with writing(path) as part, part.open("wb") as stream:
            np.savez(stream, count=self.count, mean=self.mean, squares=self.squares)

    def stacked(self) -> Floats:
        """Return the three arrays as one, 3 × shape."""
        return np.stack([self.count, self.mean, self.squares])


def moments_of(values: Floats) -> Moments:
    """Return the moments of each row of ``values`` (D × cells), NaN left out; ``values`` is used up.

    Two passes over each row, so nothing cancels; the second one works in place.
    """
    count = np.full(len(values), float(values.shape[1]))
    mean = values.mean(axis=1)
    with_gaps = np.flatnonzero(np.isnan(mean))
    valid = {int(row): values[row][~np.isnan(values[row])] for row in with_gaps}
    for row, cells in valid.items():
        count[row], mean[row] = cells.size, cells.mean() if cells.size else 0.0
    values -= mean[:, None]
    squares = np.einsum("ij,ij->i", values, values)
    for row, cells in valid.items():
        squares[row] = np.square(cells - mean[row]).sum()
    return Moments(count, mean, squares)


def merge(moments: Moments, rows: NDArray[np.int64]) -> Moments:
    """Return the moments per channel over the samples ``rows`` of ``moments`` (N × C).

    Chan, Golub & LeVeque (1983), The American Statistician 37, 242–247, for many sets at once:
    ``M2 = Σ M2ᵢ + Σ nᵢ (mᵢ − m)²``.
    """
    count, mean, squares = moments.count[rows], moments.mean[rows], moments.squares[rows]
    total = count.sum(axis=0)
    centre = np.divide((count * mean).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    return Moments(total, centre, squares.sum(axis=0) + (count * np.square(mean - centre)).sum(axis=0))


def refuse_constant(scale: Moments, names: Sequence[str], where: str) -> None:
    """Check that each channel varies.

    Raises:
        InputError: a channel has no valid value, or its standard deviation is at most :data:`CONSTANT` of its mean.
    """
    for name, count, mean, std in zip(names, scale.count, scale.mean, scale.std, strict=True):
        if count == 0:
            raise InputError(f"{name}: no valid value in the training days of {where}; leave it out of the store")
        if std <= CONSTANT * abs(mean):
            raise InputError(
                f"{name}: constant in the training days of {where} (mean {mean:.6g}, standard deviation {std:.2g}, "
                f"at most {CONSTANT:g} of the mean); leave it out of the store"
            )


def refuse_unscaled(written: Moments, names: Sequence[str], tolerance: float = 0.01) -> None:
    """Check values as written, over the training days: mean 0 and standard deviation 1 within ``tolerance``.

    Raises:
        InputError: a channel is off.
    """
    for name, mean, std in zip(names, written.mean, written.std, strict=True):
        if not (abs(mean) < tolerance and abs(std - 1) <= tolerance):
            raise InputError(
                f"{name}: after standardising, the training days have mean {mean:.4g} and standard deviation {std:.4g} "
                f"instead of 0 and 1 within {tolerance:g}; the derived files changed meanwhile: run the job again"
            )
