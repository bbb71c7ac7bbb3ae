"""NetCDF files in the layouts that the Climate Data Store (CDS) has delivered ERA5 in.

``cds``: today's (cfgrib 0.9.15): ``valid_time`` in seconds since 1970, ``pressure_level``, scalar ``number``, text
``expver``, float32. ``old``: until 2024 (grib_to_netcdf): NetCDF 3, ``time`` in hours since 1900, ``level`` only
where there are several, int16 with scale and offset. ``old_expver``: the same with an ``expver`` dimension, final data
(1) for the first two thirds of the file, preliminary (5) for the rest. ``zip``: a ZIP archive under the name ``.nc``.
``grib``: GRIB 1 under the name ``.nc`` (:mod:`pipeline.synthetic.grib`).
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import writing
from pipeline.core.choose import choose
from pipeline.core.errors import InputError


@dataclass(frozen=True)
class Variable:
    """How the CDS describes a variable, and the range that its values are packed in."""

    title: str
    standard_name: str
    units: str
    parameter: int
    low: float
    high: float

    @property
    def step(self) -> float:
        """Resolution of the values: 16 bits over the range, a power of two, as GRIB packs them."""
        return float(2.0 ** math.ceil(math.log2((self.high - self.low) / 65_535)))


VARIABLES = {
    "msl": Variable("Mean sea level pressure", "air_pressure_at_mean_sea_level", "Pa", 151, 95_000, 105_500),
    "z": Variable("Geopotential", "geopotential", "m**2 s**-2", 129, -3_500, 62_000),
    "t": Variable("Temperature", "air_temperature", "K", 130, 200, 330),
    "u": Variable("U component of wind", "eastward_wind", "m s**-1", 131, -120, 120),
    "v": Variable("V component of wind", "northward_wind", "m s**-1", 132, -120, 120),
    "r": Variable("Relative humidity", "relative_humidity", "%", 157, 0, 120),
    "vo": Variable("Vorticity (relative)", "atmosphere_relative_vorticity", "s**-1", 138, -1e-3, 1e-3),
    "d": Variable("Divergence", "divergence_of_wind", "s**-1", 155, -5e-4, 5e-4),
    "q": Variable("Specific humidity", "specific_humidity", "kg kg**-1", 133, 0, 0.03),
    "w": Variable("Vertical velocity", "lagrangian_tendency_of_air_pressure", "Pa s**-1", 135, -10, 10),
    "tcwv": Variable(
        "Total column vertically-integrated water vapour",
        "lwe_thickness_of_atmosphere_mass_content_of_water_vapor", "kg m**-2", 137, 0, 120,
    ),
    "viwve": Variable(
        "Vertical integral of eastward water vapour flux", "unknown", "kg m**-1 s**-1", 162071, -5e3, 5e3,
    ),
    "viwvn": Variable(
        "Vertical integral of northward water vapour flux", "unknown", "kg m**-1 s**-1", 162072, -5e3, 5e3,
    ),
    "cape": Variable("Convective available potential energy", "unknown", "J kg**-1", 59, 0, 8_000),
    "cin": Variable("Convective inhibition", "unknown", "J kg**-1", 228001, 0, 1_000),
    "tcc": Variable("Total cloud cover", "cloud_area_fraction", "(0 - 1)", 164, 0, 1),
    "tp": Variable("Total precipitation", "unknown", "m", 228, 0, 0.06),
    "u10": Variable("10 metre U wind component", "unknown", "m s**-1", 165, -60, 60),
    "v10": Variable("10 metre V wind component", "unknown", "m s**-1", 166, -60, 60),
    "sst": Variable("Sea surface temperature", "unknown", "K", 34, 270, 310),
    "tclw": Variable("Total column cloud liquid water", "unknown", "kg m**-2", 78, 0, 5),
    "tciw": Variable("Total column cloud ice water", "unknown", "kg m**-2", 79, 0, 5),
    "tcrw": Variable("Total column rain water", "unknown", "kg m**-2", 228089, 0, 8),
    "tcsw": Variable("Total column snow water", "unknown", "kg m**-2", 228090, 0, 8),
}  # fmt: skip

ACCUMULATED = ("tp",)
"""Variables that are sums over the hour before the valid time; the CDS keeps them in files of their own."""

# One request of the CDS each: variables and pressure levels [hPa].
GROUPS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "msl": (("msl",), ()),
    "z_500_1000": (("z",), (1000, 500)),
    "t_850": (("t",), (850,)),
    "uv_500": (("u", "v"), (500,)),
    "uv_850": (("u", "v"), (850,)),
    "rh_700_850": (("r",), (850, 700)),
    "vo_850": (("vo",), (850,)),
    "vo_500": (("vo",), (500,)),
    "q_850": (("q",), (850,)),
    "w_500": (("w",), (500,)),
    "w_700": (("w",), (700,)),
    "d_850": (("d",), (850,)),
    "tcwv": (("tcwv",), ()),
    "ivt_flux": (("viwve", "viwvn"), ()),
    "cape_cin": (("cape", "cin"), ()),
    "tcc": (("tcc",), ()),
    "tp": (("tp",), ()),
    "u10_v10": (("u10", "v10"), ()),
    "sst": (("sst",), ()),
    "tclw": (("tclw",), ()),
    "tciw": (("tciw",), ()),
    "tcrw": (("tcrw",), ()),
    "tcsw": (("tcsw",), ()),
}


@dataclass(frozen=True)
class Header:
    """What a file says about its data: times [s since 1970], grid [degrees], levels [hPa], variables, odd units."""

    times: NDArray[np.int64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    levels: tuple[int, ...]
    names: tuple[str, ...]
    units: dict[str, str | None] = field(default_factory=dict)
    """Units that differ from the variable's own; ``None``: no attribute."""
    final_until: int | None = None
    """Times after this one [s since 1970] are preliminary (ERA5T, expver 0005); ``None``: all final."""

    @property
    def step_type(self) -> str:
        """``accum`` for a file of accumulated variables, else ``instant``."""
        return "accum" if set(self.names) <= set(ACCUMULATED) else "instant"

    def version(self, seconds: int) -> str:
        """Return the experiment version of a time: ``0001`` final, ``0005`` preliminary."""
        return "0005" if self.final_until is not None and seconds > self.final_until else "0001"

    def spacing(self, name: str) -> float:
        """Return the distance of the points of ``latitude`` or ``longitude`` [degrees]; 0 of a single one."""
        values = _coordinate(name, self)
        return round(abs(float(values[1] - values[0])), 6) if len(values) > 1 else 0.0

    @property
    def dims(self) -> dict[str, int]:
        """Names and sizes of the dimensions of a variable, in order."""
        level = {"pressure_level": len(self.levels)} if self.levels else {}
        return {
            "valid_time": len(self.times),
            **level,
            "latitude": len(self.latitude),
            "longitude": len(self.longitude),
        }


@dataclass(frozen=True)
class Content:
    """A whole file in memory: header and arrays (time, [level,] lat, lon)."""

    header: Header
    arrays: dict[str, NDArray[np.float32]]


def create(dataset: netCDF4.Dataset, header: Header) -> None:
    """Lay out today's CDS file in an empty data set; the caller fills the variables."""
    step = header.step_type
    dataset.setncatts(
        {
            "GRIB_centre": "ecmf",
            "GRIB_centreDescription": _CENTRE,
            "GRIB_subCentre": np.int64(0),
            "Conventions": "CF-1.7",
            "institution": _CENTRE,
            "history": f"GRIB to CDM+CF via cfgrib-0.9.15.0/ecCodes-2.42.0 with {{stepType: {step}}} (synthetic)",
        }
    )
    for name, size in header.dims.items():
        dataset.createDimension(name, size)
    _create_coordinates(dataset, header)
    for name in header.names:
        made = dataset.createVariable(
            name, "f4", tuple(header.dims), zlib=True, complevel=1, shuffle=True, fill_value=np.float32(np.nan)
        )
        made.setncatts(_attributes(name, header, step))
        made.set_var_chunk_cache(size=_cache(list(header.dims.values()), np.array(made.chunking(), int)))


def _cache(sizes: list[int], chunks: NDArray[np.int_]) -> int:
    """Return the bytes of one stretch of chunks: files are written in order of time, so no more is needed."""
    across = np.ceil(np.array(sizes[1:]) / chunks[1:]).prod()
    return int(across * chunks.prod() * 4) + 65_536


def _create_coordinates(dataset: netCDF4.Dataset, header: Header) -> None:
    dataset.createVariable("number", "i8", ()).setncatts(
        {"long_name": "ensemble member numerical id", "units": "1", "standard_name": "realization"}
    )
    dataset["number"][...] = 0
    for name in header.dims:
        text, values = _COORDINATES[name], _coordinate(name, header)
        fill = None if name == "valid_time" else np.nan
        dataset.createVariable(name, values.dtype, (name,), fill_value=fill).setncatts(text)
        dataset[name][:] = values
    dataset["latitude"].stored_direction = "increasing" if header.latitude[0] < header.latitude[-1] else "decreasing"
    versions = np.array([header.version(int(seconds)) for seconds in header.times], object)
    dataset.createVariable("expver", str, ("valid_time",))[:] = versions


def _coordinate(name: str, header: Header) -> NDArray[Any]:
    if name == "pressure_level":
        return np.array(header.levels, np.float64)
    return {"valid_time": header.times, "latitude": header.latitude, "longitude": header.longitude}[name]


def _attributes(name: str, header: Header, step: str) -> dict[str, object]:
    """Return the attributes that cfgrib writes, in its order."""
    variable = VARIABLES[name]
    lat, lon = header.latitude, header.longitude
    units = header.units.get(name, variable.units)
    found: dict[str, object] = {
        "GRIB_paramId": np.int64(variable.parameter),
        "GRIB_dataType": "fc" if step == "accum" else "an",
        "GRIB_numberOfPoints": np.int64(len(lat) * len(lon)),
        "GRIB_typeOfLevel": "isobaricInhPa" if header.levels else "surface",
        "GRIB_stepUnits": np.int64(1),
        "GRIB_stepType": step,
        "GRIB_gridType": "regular_ll",
        "GRIB_uvRelativeToGrid": np.int64(0),
        "GRIB_NV": np.int64(0),
        "GRIB_Nx": np.int64(len(lon)),
        "GRIB_Ny": np.int64(len(lat)),
        "GRIB_cfName": variable.standard_name,
        "GRIB_cfVarName": name,
        "GRIB_gridDefinitionDescription": "Latitude/Longitude Grid",
        "GRIB_iDirectionIncrementInDegrees": header.spacing("longitude"),
        "GRIB_iScansNegatively": np.int64(0),
        "GRIB_jDirectionIncrementInDegrees": header.spacing("latitude"),
        "GRIB_jPointsAreConsecutive": np.int64(0),
        "GRIB_jScansPositively": np.int64(lat[0] < lat[-1]),
        "GRIB_latitudeOfFirstGridPointInDegrees": float(lat[0]),
        "GRIB_latitudeOfLastGridPointInDegrees": float(lat[-1]),
        "GRIB_longitudeOfFirstGridPointInDegrees": float(lon[0]),
        "GRIB_longitudeOfLastGridPointInDegrees": float(lon[-1]),
        "GRIB_missingValue": float(np.finfo(np.float32).max),
        "GRIB_name": variable.title,
        "GRIB_shortName": {"u10": "10u", "v10": "10v"}.get(name, name),
        "GRIB_totalNumber": np.int64(0),
        "GRIB_units": units,
        "long_name": variable.title,
        "units": units,
        "standard_name": variable.standard_name,
    }
    if not header.levels:
        found["GRIB_surface"] = 0.0
    coordinates = " ".join(dim for dim in header.dims if dim != "valid_time")
    found["coordinates"] = f"number valid_time {coordinates} expver"
    return {key: value for key, value in found.items() if value is not None}


_CENTRE = "European Centre for Medium-Range Weather Forecasts"
_COORDINATES = {
    "valid_time": {
        "long_name": "time",
        "standard_name": "time",
        "units": "seconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
    },
    "pressure_level": {
        "long_name": "pressure",
        "units": "hPa",
        "positive": "down",
        "stored_direction": "decreasing",
        "standard_name": "air_pressure",
    },
    "latitude": {"units": "degrees_north", "standard_name": "latitude", "long_name": "latitude"},
    "longitude": {"units": "degrees_east", "standard_name": "longitude", "long_name": "longitude"},
}


def read_content(path: Path) -> Content:
    """Read a file of today's layout whole.

    Raises:
        InputError: the file has another layout.
    """
    with netCDF4.Dataset(path) as dataset:
        dataset.set_auto_mask(False)
        if "valid_time" not in dataset.variables:
            raise InputError(f"{path}: not in the layout 'cds' (no valid_time); write the world with layout='cds'")
        arrays = {name: dataset[name][:] for name in dataset.variables if name in VARIABLES}
        levels = dataset["pressure_level"][:] if "pressure_level" in dataset.variables else ()
        header = Header(
            times=dataset["valid_time"][:],
            latitude=dataset["latitude"][:],
            longitude=dataset["longitude"][:],
            levels=tuple(int(level) for level in levels),
            names=tuple(arrays),
        )
    return Content(header, arrays)


def write_content(path: Path, content: Content) -> None:
    """Write a file of today's layout."""
    with writing(path) as part, netCDF4.Dataset(part, "w") as dataset:
        create(dataset, content.header)
        for name, values in content.arrays.items():
            dataset[name][:] = values


def relayout(path: Path, layout: str) -> None:
    """Rewrite a file of today's layout in another one of :data:`LAYOUTS`, in place.

    Raises:
        InputError: no such layout, or the file is not in today's layout.
    """
    write = choose(LAYOUTS, layout, "layout")
    if layout != "cds":
        content = read_content(path)
        with writing(path) as part:
            write(part, path, content)


def _write_zip(part: Path, path: Path, content: Content) -> None:
    step = content.header.step_type
    # A fixed date, so that the same world gives the same bytes.
    member = zipfile.ZipInfo(f"data_stream-oper_stepType-{step}.nc", date_time=(2025, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr(member, path.read_bytes())


def _write_grib(part: Path, path: Path, content: Content) -> None:
    from pipeline.synthetic.grib import write_grib  # ecCodes is an extra that only this layout needs

    write_grib(part, content)


def _write_old(part: Path, path: Path, content: Content) -> None:
    _write_packed(part, content, preliminary=False)


def _write_old_expver(part: Path, path: Path, content: Content) -> None:
    _write_packed(part, content, preliminary=True)


def _write_packed(part: Path, content: Content, preliminary: bool) -> None:
    header = content.header
    with netCDF4.Dataset(part, "w", format="NETCDF3_64BIT_OFFSET") as dataset:
        dataset.setncatts({"Conventions": "CF-1.6", "history": "grib_to_netcdf-2.28.1 (synthetic)"})
        several = len(header.levels) > 1
        axes: dict[str, tuple[NDArray[Any], dict[str, str]]] = {
            "longitude": (header.longitude.astype("f4"), {"units": "degrees_east", "long_name": "longitude"}),
            "latitude": (header.latitude.astype("f4"), {"units": "degrees_north", "long_name": "latitude"}),
        }
        if several:
            names = {"units": "millibars", "long_name": "pressure_level"}
            axes["level"] = (np.array(header.levels[::-1], "i4"), names)
        if preliminary:
            axes["expver"] = (np.array([1, 5], "i4"), {"long_name": "expver"})
        names = {"units": "hours since 1900-01-01 00:00:00.0", "long_name": "time", "calendar": "gregorian"}
        axes["time"] = ((header.times // 3600 + _HOURS_1900).astype("i4"), names)
        for name, (values, text) in axes.items():
            dataset.createDimension(name, len(values))
            dataset.createVariable(name, values.dtype, (name,)).setncatts(text)
            dataset[name][:] = values
        for name, array in content.arrays.items():
            # grib_to_netcdf sorts levels upwards and drops a single one.
            values = (array[:, ::-1] if several else array[:, 0]) if header.levels else array
            _write_int16(dataset, name, _split_versions(values) if preliminary else values, tuple(reversed(axes)))


_HOURS_1900 = 613_608  # from 1900-01-01 to 1970-01-01


def _split_versions(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (time, 2, …): final data first, then preliminary; each NaN where the other has the time."""
    both = np.stack([values, values], axis=1)
    border = math.ceil(2 * len(values) / 3)
    both[border:, 0] = both[:border, 1] = np.nan
    return both


def _write_int16(dataset: netCDF4.Dataset, name: str, values: NDArray[np.float32], dims: tuple[str, ...]) -> None:
    wide = values.astype(np.float64)
    low, high = float(np.nanmin(wide)), float(np.nanmax(wide))
    scale = (high - low) / 65_532 or 1.0
    offset = (high + low) / 2
    packed = np.where(np.isnan(wide), -32_767, np.round((wide - offset) / scale)).astype(np.int16)
    made = dataset.createVariable(name, "i2", dims, fill_value=np.int16(-32_767))
    variable = VARIABLES[name]
    made.setncatts({"scale_factor": scale, "add_offset": offset, "missing_value": np.int16(-32_767)})
    made.setncatts({"units": variable.units, "long_name": variable.title})
    if variable.standard_name != "unknown":
        made.standard_name = variable.standard_name
    made.set_auto_maskandscale(False)
    made[:] = packed


LAYOUTS: dict[str, Callable[[Path, Path, Content], None]] = {
    "cds": lambda part, path, content: None,
    "old": _write_old,
    "old_expver": _write_old_expver,
    "zip": _write_zip,
    "grib": _write_grib,
}
