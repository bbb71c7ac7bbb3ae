"""Coastlines, where cartopy and its files are on this machine; nothing is fetched."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from pipeline.contract.scores import Floats
from pipeline.core.logs import log

_NAMES = tuple(f"shapefiles/natural_earth/physical/ne_{scale}_coastline.shp" for scale in ("50m", "110m", "10m"))
_COLOUR = "#8C7B5E"


def draw_coast(axis: Axes, west: float, east: float) -> bool:
    """Draw coastlines below what follows, in degrees; tell whether there were any to draw."""
    lines = coastlines()
    for turn in (-360.0, 0.0, 360.0):
        near = [line + np.array([turn, 0.0]) for line in lines if _overlaps(line[:, 0] + turn, west, east)]
        axis.add_collection(LineCollection(near, colors=_COLOUR, linewidths=0.6, zorder=1.5), autolim=False)
    return bool(lines)


def _overlaps(longitude: Floats, west: float, east: float) -> bool:
    return bool(longitude.max() >= west and longitude.min() <= east)


@cache
def coastlines() -> tuple[Floats, ...]:
    """Return lines of (longitude, latitude) points, none where cartopy or its coastline files are not there."""
    if find_spec("cartopy") is None:
        return ()
    cartopy, shapereader = import_module("cartopy"), import_module("cartopy.io.shapereader")
    folders = (cartopy.config.get(key) for key in ("pre_existing_data_dir", "data_dir", "repo_data_dir"))
    paths = [Path(folder) / name for folder in folders if folder for name in _NAMES]
    found = next((path for path in paths if path.exists()), None)
    if found is None:
        log.info("no coastlines on maps: cartopy is installed, its Natural Earth data are not")
        return ()
    return tuple(points for shape in shapereader.Reader(str(found)).geometries() for points in _points(shape))


def _points(shape: Any) -> list[Floats]:
    parts = getattr(shape, "geoms", [shape])
    return [np.asarray(part.coords, np.float64)[:, :2] for part in parts]
