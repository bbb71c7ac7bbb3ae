"""Spoilt deliveries of the made-up Climate Data Store: files that are whole but are not what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.files import ACCUMULATED, VARIABLES, Content

_DAY = 86_400


def _without_a_day(content: Content) -> Content:
    """The times of the middle day are absent."""
    days = content.header.times // _DAY
    keep = np.flatnonzero(days != np.unique(days)[len(np.unique(days)) // 2])
    return _replaced(content, times=content.header.times[keep], arrays=lambda values: values[keep])


def _other_variable(content: Content) -> Content:
    """The first variable comes under the name of another one."""
    first = content.header.names[0]
    other = next(name for name in VARIABLES if name not in content.header.names and name not in ACCUMULATED)
    names = tuple(other if name == first else name for name in content.header.names)
    arrays = {other if name == first else name: values for name, values in content.arrays.items()}
    return Content(replace(content.header, names=names), arrays)


def _with_nan(content: Content) -> Content:
    """The first variable has a hole of a tenth of its cells in the middle time."""

    def holed(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values = values.copy()
        plane = values[len(values) // 2]
        plane.ravel()[: max(plane.size // 10, 1)] = np.nan
        return values

    first = content.header.names[0]
    return replace(content, arrays={**content.arrays, first: holed(content.arrays[first])})


def _other_grid(content: Content) -> Content:
    """Every second point only."""
    header = replace(
        content.header, latitude=content.header.latitude[::2].copy(), longitude=content.header.longitude[::2].copy()
    )
    return Content(header, {name: values[..., ::2, ::2] for name, values in content.arrays.items()})


def _all_preliminary(content: Content) -> Content:
    """Every time is ERA5T."""
    return replace(content, header=replace(content.header, final_until=int(content.header.times[0]) - 1))


def _replaced(
    content: Content, times: NDArray[np.int64], arrays: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> Content:
    header = replace(content.header, times=times)
    return Content(header, {name: arrays(values) for name, values in content.arrays.items()})


SPOILS: dict[str, Callable[[Content], Content]] = {
    "missing_day": _without_a_day,
    "wrong_variable": _other_variable,
    "nan": _with_nan,
    "wrong_grid": _other_grid,
    "preliminary": _all_preliminary,
}
