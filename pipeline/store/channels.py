"""The fields that become channels: chosen by name, read in blocks of days, checked, cut and converted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.derived import DerivedSpec
from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.store.config import ALL, StoreConfig
from pipeline.store.days import Month
from pipeline.store.window import Window

PRESSURE = ("msl", "msl_dt24", "grad_msl", "lap_msl")
"""Mean sea level pressure and what is linear in it: these become hPa."""


@dataclass(frozen=True)
class Channel:
    """A derived field on its way into the store; ``factor`` converts its values to ``units``."""

    name: str
    units: str
    factor: float
    may_miss: bool


def chosen_channels(config: StoreConfig, derived: DerivedSpec) -> list[Channel]:
    """Return the channels in the order of ``store.channels`` (``["ALL"]``: the order of the derived fields).

    Raises:
        InputError: a name is not among the derived fields, or a pressure has units other than Pa or hPa.
    """
    names = _chosen("channels", config.channels, derived.fields, derived.scalars)
    return [_channel(name, derived, config.slp_to_hpa) for name in names]


def chosen_scalars(config: StoreConfig, derived: DerivedSpec) -> list[str]:
    """Return the scalars in the order of ``store.scalars``.

    Raises:
        InputError: a name is not among the derived scalars.
    """
    return _chosen("scalars", config.scalars, derived.scalars, derived.fields)


def _chosen(setting: str, wanted: Sequence[str], available: dict[str, str], other: dict[str, str]) -> list[str]:
    if list(wanted) == [ALL]:
        return list(available)
    missing = [name for name in wanted if name not in available]
    if missing:
        wrong_list = " (it is a scalar);" if setting == "channels" else " (it is a field);"
        hint = wrong_list if missing[0] in other else near(missing[0], available)
        raise InputError(
            f"store.{setting}: {shorten(missing)} not in the derived data{hint or ';'} "
            f"Available: {shorten(available, 50)}; add it to derive.{'fields' if setting == 'channels' else setting}"
        )
    return list(wanted)


def _channel(name: str, derived: DerivedSpec, to_hpa: bool) -> Channel:
    units, factor = derived.fields[name], 1.0
    if name in PRESSURE and to_hpa:
        unit = re.match(r"h?Pa(?![A-Za-z])", units)
        if unit is None:
            raise InputError(f"{name}: has units {units!r}, expected Pa or hPa (store.slp_to_hpa); run derive again")
        if unit.group() == "Pa":
            units, factor = f"h{units}", 0.01
    return Channel(name, units, factor, name in derived.may_miss)


class Fields:
    """Fields of one open monthly file, read into two buffers that serve again and again.

    Fresh arrays of a megabyte for each field would go back to the system each time: half of the time of a build.
    """

    def __init__(self, data: Any, derived: DerivedSpec, window: Window, days: int) -> None:
        """Read the part ``window`` from ``data``, an open ``h5py.File``, at most ``days`` days at a time."""
        self._data, self._window = data, window
        self._raw = np.empty((days, len(derived.latitude), len(derived.longitude)), np.float32)
        self._region = np.empty((days, *window.region_shape))

    def read(self, channel: Channel, block: Month) -> NDArray[np.float64]:
        """Return the values of ``channel`` on the days of ``block``: D × H × W in the channel's units.

        They are overwritten by the next call.

        Raises:
            InputError: the variable is missing or has another shape, or holds inf, or NaN where it must not.
        """
        first, last = int(block.places[0]), int(block.places[-1])
        raw = self._raw[: last - first + 1]
        self._variable(channel.name, block).read_direct(raw, np.s_[first : last + 1])
        part = self._window.cut(raw if len(raw) == len(block.places) else raw[block.places - first])
        region = self._region[: len(part)]
        np.copyto(region, part)
        self._refuse_unexpected(channel, block, region)
        values = self._window.coarsen(region)
        return values if channel.factor == 1 else np.multiply(values, channel.factor, out=values)

    def _variable(self, name: str, block: Month) -> Any:
        variable = self._data.get(name)
        shape = (len(self._data["time"]), *self._raw.shape[1:])
        if variable is None or variable.dtype != np.float32 or variable.shape != shape:
            raise InputError(f"{block.path}: no float32 field {name!r} on the grid of the manifest; run derive again")
        return variable

    def _refuse_unexpected(self, channel: Channel, block: Month, region: NDArray[np.float64]) -> None:
        for day in np.flatnonzero(~np.isfinite(region.sum(axis=(1, 2)))):
            infinite = int(np.isinf(region[day]).sum())
            missing = int(np.isnan(region[day]).sum())
            if infinite or not channel.may_miss:
                raise InputError(
                    f"{block.path}: {channel.name} on {self._date(block.places[day])}: {infinite} infinite and "
                    f"{missing} missing (NaN) of {region[day].size} cells; mend the raw file and run derive again"
                )

    def _date(self, place: int) -> str:
        date = self._data["date"][int(place)]
        return date.decode() if isinstance(date, bytes) else str(date)
