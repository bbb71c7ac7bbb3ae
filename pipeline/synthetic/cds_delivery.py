"""The files that the made-up Climate Data Store delivers: invented weather, cut as asked, in the layout of today.

The same order gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import writing
from pipeline.synthetic.cds_request import Selection, select
from pipeline.synthetic.cds_spoils import SPOILS
from pipeline.synthetic.fields import FIELDS, Atmosphere, Grid
from pipeline.synthetic.files import VARIABLES, Content, Header, create
from pipeline.synthetic.plan import Weather

_DAY = 86_400
_FOLD = ((12.0, 59.0), (111.0, 158.0))  # latitudes and longitudes that the invented weather covers
_STAMP = (2025, 1, 1, 0, 0, 0)  # of the members of an archive: the same order gives the same bytes


class NoData(Exception):
    """The area holds no grid point."""


@dataclass(frozen=True)
class Order:
    """A request, the state of the data store that it meets, and how the delivery is spoilt (:data:`SPOILS`)."""

    dataset: str
    inputs: dict[str, Any]
    latest: date
    final_until: date | None = None
    native: float = 0.25
    weather: Weather = Weather()  # noqa: RUF009 - frozen
    spoil: str = ""

    @property
    def selection(self) -> Selection:
        """What the request selects."""
        return select(self.dataset, self.inputs, self.latest)

    @property
    def kind(self) -> str:
        """What the file is, by its suffix: ``nc``, ``grib`` or ``zip``."""
        asked = self.selection
        if self.spoil == "zip" or asked.zipped or (not asked.grib and len(asked.step_types) > 1):
            return "zip"
        return "grib" if asked.grib else "nc"

    @property
    def name(self) -> str:
        """The file name that stands for all of this."""
        # Days that the request does not reach do not change the file.
        parts = {**asdict(self), "latest": "", "days": self.selection.days}
        text = json.dumps(parts, sort_keys=True, default=str)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.{self.kind}"


# --- values ----------------------------------------------------------------------------------------------------------
class Air:
    """The invented weather on a grid, at any hour of some days, for every pressure level.

    Hours between the 00 UTC fields are linear between them; levels that the weather lacks are linear in ln p between
    those that it has, and beyond them as the nearest one. Outside of East Asia the fields are mirrored, so that they
    are smooth everywhere on the globe.
    """

    def __init__(self, weather: Weather, days: list[date], lat: NDArray[np.float64], lon: NDArray[np.float64]) -> None:
        self._air = Atmosphere(weather, [*days, days[-1] + timedelta(1)])
        self._grid = Grid(_folded(lat, *_FOLD[0]), _folded(lon, *_FOLD[1]))

    def values(self, name: str, level: int | None, day: int, hour: int) -> NDArray[np.float32]:
        """Return (lat, lon) of a variable as GRIB packs it, NaN where ERA5 has none; ``day`` counts from the first."""
        variable = VARIABLES[name]
        values = self._sampled(name, level, day, hour)
        values = np.round(np.clip(values, variable.low, variable.high) / variable.step) * variable.step
        if name == "sst":
            values[self._grid.land] = np.nan
        elif name == "cin":
            values[self.values("cape", None, day, hour) < 1] = np.nan
        return values.astype(np.float32)

    def _sampled(self, name: str, level: int | None, day: int, hour: int) -> NDArray[np.float64]:
        field = self._field(name, level)
        moment = field[day : day + 1] if hour == 0 else field[day : day + 1] * (1 - hour / 24)
        if hour:
            moment = moment + field[day + 1 : day + 2] * (hour / 24)
        return np.asarray(self._grid.sample(moment)[0])

    def _field(self, name: str, level: int | None) -> NDArray[np.float64]:
        """Return (day, lat, lon) at 00 UTC on the inner grid of the weather."""
        if level is None:
            return FIELDS[name](self._air)
        known = _levels(name)
        above = max((p for p in known if p <= level), default=known[0])
        below = min((p for p in known if p >= level), default=known[-1])
        share = np.log(level / above) / np.log(below / above) if above != below else 0.0
        return (1 - share) * FIELDS[f"{name}{above}"](self._air) + share * FIELDS[f"{name}{below}"](self._air)


def _levels(name: str) -> list[int]:
    """Return the pressure levels [hPa] that the weather has of a variable; ``u10`` is no wind at 10 hPa."""
    found = (re.fullmatch(rf"{name}(\d\d\d+)", key) for key in FIELDS)
    return sorted(int(match.group(1)) for match in found if match)


def _folded(degrees: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Mirror ``degrees`` into ``low`` … ``high``; those inside stay as they are."""
    inside = (degrees >= low) & (degrees <= high)
    around = np.abs((degrees - low + (high - low)) % (2 * (high - low)) - (high - low)) + low
    return np.where(inside, degrees, around)


# --- files -----------------------------------------------------------------------------------------------------------
def deliver(order: Order, path: Path) -> None:
    """Write the file of an order.

    Raises:
        NoData: the area holds no grid point.
        pipeline.synthetic.cds_request.Invalid: the request selects nothing.
    """
    asked = order.selection
    lat, lon = asked.points(order.native)
    if not (len(lat) and len(lon)):
        raise NoData(f"no grid point in the area {asked.area}")
    with writing(path) as part:
        if asked.grib:
            members = {"data.grib": tuple(asked.names)}
        else:
            members = {f"data_stream-oper_stepType-{kind}.nc": names for kind, names in asked.step_types.items()}
        if order.kind != "zip":
            _write(part, order, next(iter(members.values())))
            return
        with zipfile.ZipFile(part, "w") as archive:
            for name, names in members.items():
                beside = part.with_name(f"{part.name}.{name}")
                _write(beside, order, names)
                member = zipfile.ZipInfo(name, date_time=_STAMP)
                member.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(member, beside.read_bytes())
                beside.unlink()


def _write(path: Path, order: Order, names: tuple[str, ...]) -> None:
    """Write one NetCDF or GRIB file of some variables; a month of fields is in memory, all where it is spoilt."""
    if order.selection.grib:
        # Here, because ecCodes is an extra that only this format needs.
        from pipeline.synthetic.grib import write_grib

        write_grib(path, _whole(order, names))
    elif order.spoil in SPOILS:
        content = _whole(order, names)
        _write_netcdf(path, content.header, iter([(len(content.header.times), content.arrays)]))
    else:
        _write_netcdf(path, _header(order, names), _blocks(order, names))


def _write_netcdf(path: Path, header: Header, blocks: Iterator[tuple[int, dict[str, NDArray[np.float32]]]]) -> None:
    with netCDF4.Dataset(path, "w") as dataset:
        create(dataset, header)
        first = 0
        for count, arrays in blocks:
            for name, values in arrays.items():
                dataset[name][first : first + count] = values
            first += count


def _whole(order: Order, names: tuple[str, ...]) -> Content:
    """Return all of a file, spoilt as the order says."""
    blocks = [arrays for _, arrays in _blocks(order, names)]
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in names}
    content = Content(_header(order, names), arrays)
    return SPOILS[order.spoil](content) if order.spoil in SPOILS else content


def _header(order: Order, names: tuple[str, ...]) -> Header:
    asked = order.selection
    lat, lon = asked.points(order.native)
    until = None
    if order.final_until is not None:
        until = ((order.final_until - date(1970, 1, 1)).days + 1) * _DAY - 1
    return Header(asked.seconds, lat, lon, asked.levels, names, final_until=until)


def _blocks(order: Order, names: tuple[str, ...]) -> Iterator[tuple[int, dict[str, NDArray[np.float32]]]]:
    """Yield the number of times and the arrays (time, [level,] lat, lon) of one month after the other."""
    asked = order.selection
    lat, lon = asked.points(order.native)
    months: dict[tuple[int, int], list[date]] = {}
    for day in asked.days:
        months.setdefault((day.year, day.month), []).append(day)
    for days in months.values():
        span = [days[0] + timedelta(number) for number in range((days[-1] - days[0]).days + 1)]
        air = Air(order.weather, span, lat, lon)
        moments = [((day - days[0]).days, hour) for day in days for hour in asked.hours]
        arrays = {}
        for name in names:
            planes = [[air.values(name, level, *moment) for level in asked.levels or (None,)] for moment in moments]
            stacked = np.array(planes)
            arrays[name] = stacked if asked.levels else stacked[:, 0]
        yield len(moments), arrays
