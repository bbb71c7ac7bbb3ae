"""Which cells of the derived grid are kept: a region, then block means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core import logs
from pipeline.core.errors import InputError
from pipeline.store.config import Region

_NEARLY = 1e-6
"""Degrees by which a coordinate may miss the edge of a region: float32 coordinates are not exact."""


@dataclass(frozen=True)
class Window:
    """Rows and columns to take of a field, the side of a block in cells, and the degrees of what comes out."""

    rows: slice
    columns: NDArray[np.int64]
    block: int
    latitude: tuple[float, ...]
    longitude: tuple[float, ...]

    @property
    def region_shape(self) -> tuple[int, int]:
        """Rows and columns of the region before block means."""
        return len(self.latitude) * self.block, len(self.longitude) * self.block

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a field after the cut and the block means."""
        return len(self.latitude), len(self.longitude)

    def cut(self, fields: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the region of D × latitude × longitude, before block means; a view if it is one piece."""
        first, last = int(self.columns[0]), int(self.columns[-1])
        if last - first + 1 == len(self.columns):
            return fields[:, self.rows, first : last + 1]
        return fields[:, self.rows][:, :, self.columns]

    def coarsen(self, region: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the valid cells of each block; NaN where a block has none."""
        if self.block == 1:
            return region
        height, width = self.shape
        blocks = region.reshape(len(region), height, self.block, width, self.block)
        mean: NDArray[np.float64] = blocks.mean(axis=(2, 4))
        if np.isnan(mean).any():
            valid = ~np.isnan(blocks)
            count = valid.sum(axis=(2, 4))
            total = np.where(valid, blocks, 0.0).sum(axis=(2, 4))
            mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return mean


def window(latitude: tuple[float, ...], longitude: tuple[float, ...], region: Region | None, block: int) -> Window:
    """Return the window of a grid in degrees (latitude descending, longitude ascending).

    Raises:
        InputError: the region holds no grid point, or a block is larger than what it holds.
    """
    rows, columns, shown = _everything(latitude, longitude) if region is None else _inside(latitude, longitude, region)
    if not len(rows) or not len(columns):
        raise InputError(
            f"store.region: no grid point inside; the derived grid covers latitude {min(latitude):g} to "
            f"{max(latitude):g} and longitude {min(longitude):g} to {max(longitude):g}"
        )
    height, width = len(rows) // block, len(columns) // block
    if height == 0 or width == 0:
        raise InputError(
            f"store.coarsen: a block of {block} cells does not fit into {len(rows)} × {len(columns)} cells"
        )
    rest = len(rows) - height * block, len(columns) - width * block
    if any(rest):
        logs.log.info("coarsen %d: the last %d rows (south) and %d columns (east) fill no block", block, *rest)
    rows, columns, shown = rows[: height * block], columns[: width * block], shown[: width * block]
    return Window(
        rows=slice(int(rows[0]), int(rows[-1]) + 1),
        columns=columns,
        block=block,
        latitude=_block_means(np.asarray(latitude)[rows], block),
        longitude=_block_means(shown, block),
    )


_Selection = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _everything(latitude: tuple[float, ...], longitude: tuple[float, ...]) -> _Selection:
    return np.arange(len(latitude)), np.arange(len(longitude)), np.asarray(longitude, np.float64)


def _inside(latitude: tuple[float, ...], longitude: tuple[float, ...], region: Region) -> _Selection:
    north_south = np.asarray(latitude, np.float64)
    rows = np.flatnonzero((north_south >= region.south - _NEARLY) & (north_south <= region.north + _NEARLY))
    # Degrees east of the western edge, so that a box may lie across Greenwich or the date line.
    east = (np.asarray(longitude, np.float64) - region.west + _NEARLY) % 360 - _NEARLY
    width = region.east - region.west
    columns = np.flatnonzero(east <= (360 if width >= 360 else width % 360) + _NEARLY)
    columns = columns[np.argsort(east[columns], kind="stable")]
    return rows, columns, np.round(region.west + east[columns], 9)


def _block_means(coordinate: NDArray[np.float64], block: int) -> tuple[float, ...]:
    return tuple(coordinate.reshape(-1, block).mean(axis=1).tolist())
