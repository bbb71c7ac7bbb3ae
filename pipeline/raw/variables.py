"""The raw variables that Isobar knows: how files call them, their units, and the values that can occur.

Names cover ERA5 (both formats of the Climate Data Store, GRIB short names, ARCO-ERA5), ERA-Interim, NCEP/NCAR and
20CR, JRA-55 and JRA-3Q, MERRA-2 and CMIP. Ranges are generous physical bounds: what lies outside is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class RawVariable:
    """One physical quantity as data centres deliver it."""

    long_name: str
    units: str
    """The unit that Isobar computes in."""
    names: tuple[str, ...]
    """Names in files, lower case; the first that is found counts."""
    standard_names: tuple[str, ...]
    """CF standard names that mean this quantity and no other one (of those on, or not on, pressure levels)."""
    lowest: float
    highest: float
    """Outside of these the value is an error of the file or of its units attribute."""
    on_levels: bool = False
    """Whether it comes on pressure levels."""
    may_miss: bool = False
    """Whether a missing value has a meaning (sea surface temperature over land)."""
    cds: str = ""
    """Name in requests to the Climate Data Store and in ARCO-ERA5."""
    accumulated: bool = False
    """Whether its values are sums over the hour that ends at their time; all others are instantaneous."""


def _upper(
    long_name: str, units: str, names: str, standard: str, lowest: float, highest: float, cds: str
) -> RawVariable:
    """Return a variable on pressure levels; JRA's names follow from the short ones."""
    every = tuple(dict.fromkeys(name for short in names.split() for name in (short, *_japanese(short))))
    return RawVariable(long_name, units, every, tuple(standard.split()), lowest, highest, on_levels=True, cds=cds)


def _japanese(short: str) -> Iterable[str]:
    """Return how JRA-55 and JRA-3Q name the analysis of ``short`` on pressure levels in NetCDF."""
    if short in _JAPANESE:
        yield f"{short}_gds0_isbl"
        yield from (f"{short}-pres-an-{grid}" for grid in ("ll125", "gauss"))


_JAPANESE = ("hgt", "tmp", "ugrd", "vgrd", "rh", "spfh", "vvel", "relv", "reld")


def _single(
    long_name: str,
    units: str,
    names: str,
    standard: str,
    lowest: float,
    highest: float,
    cds: str,
    *,
    may_miss: bool = False,
    accumulated: bool = False,
) -> RawVariable:
    every, standards = tuple(names.split()), tuple(standard.split())
    return RawVariable(
        long_name, units, every, standards, lowest, highest, may_miss=may_miss, cds=cds, accumulated=accumulated
    )


_VAPOUR = "atmosphere_mass_content_of_water_vapor atmosphere_water_vapor_content"
_VAPOUR_FLUX = "ward_atmosphere_water_vapor_transport_across_unit_distance"
_CAPE = "atmosphere_convective_available_potential_energy"
_CIN = "atmosphere_convective_inhibition"

RAW: dict[str, RawVariable] = {
    # Extremes of sea level pressure on record: 870 hPa (typhoon Tip, 1979) and 1085 hPa (Tosontsengel, 2001); values
    # reduced to sea level under high ground go a little further.
    "msl": _single(
        "mean sea level pressure", "Pa", "msl slp prmsl mslp psl pmsl prmsl_gds0_msl prmsl-msl-an-ll125",
        "air_pressure_at_mean_sea_level air_pressure_at_sea_level", 85_000, 112_000, "mean_sea_level_pressure",
    ),
    "z": _upper(
        "geopotential", "m2 s-2", "z zg hgt gh h phi", "geopotential geopotential_height", -10_000, 500_000,
        "geopotential",
    ),
    "t": _upper("temperature", "K", "t ta air tmp temp", "air_temperature", 150, 350, "temperature"),
    "u": _upper("eastward wind", "m s-1", "u ua uwnd ugrd", "eastward_wind", -200, 200, "u_component_of_wind"),
    "v": _upper("northward wind", "m s-1", "v va vwnd vgrd", "northward_wind", -200, 200, "v_component_of_wind"),
    # Spectral models go a little below 0 and above 100 %, over ice far above.
    "r": _upper("relative humidity", "%", "r hur rhum rh", "relative_humidity", -30, 250, "relative_humidity"),
    "q": _upper("specific humidity", "kg kg-1", "q hus shum spfh qv", "specific_humidity", -0.005, 0.06,
                "specific_humidity"),
    "w": _upper(
        "vertical velocity (pressure tendency)", "Pa s-1", "w wap omega vvel", "lagrangian_tendency_of_air_pressure",
        -60, 60, "vertical_velocity",
    ),
    "vo": _upper(
        "relative vorticity", "s-1", "vo relv", "atmosphere_relative_vorticity atmosphere_upward_relative_vorticity",
        -0.02, 0.02, "vorticity",
    ),
    "d": _upper("divergence", "s-1", "d reld", "divergence_of_wind", -0.02, 0.02, "divergence"),
    # Wind near the ground has no standard name here: ``eastward_wind`` is used at every height.
    "u10": _single(
        "10 m eastward wind", "m s-1", "u10 10u u10m uas ugrd10m ugrd_gds0_htgl ugrd10m-hag-an-ll125", "", -120, 120,
        "10m_u_component_of_wind",
    ),
    "v10": _single(
        "10 m northward wind", "m s-1", "v10 10v v10m vas vgrd10m vgrd_gds0_htgl vgrd10m-hag-an-ll125", "", -120, 120,
        "10m_v_component_of_wind",
    ),
    "sst": _single(
        "sea surface temperature", "K", "sst tos", "sea_surface_temperature", 265, 320, "sea_surface_temperature",
        may_miss=True,
    ),
    # No standard name: that of a thickness of rain says nothing about the hours that it is summed over.
    "tp": _single(
        "total precipitation of the hour before", "m", "tp", "", -1e-4, 0.5, "total_precipitation", accumulated=True
    ),
    "tcc": _single(
        "total cloud cover", "1", "tcc clt tcdc cldtot", "cloud_area_fraction", -0.01, 1.01, "total_cloud_cover"
    ),
    "tcwv": _single(
        "total column water vapour", "kg m-2", "tcwv prw pr_wtr pwat tqv pwat_gds0_eatm pwat-eatm-an-ll125",
        f"{_VAPOUR} lwe_thickness_of_atmosphere_mass_content_of_water_vapor", -1, 150, "total_column_water_vapour",
    ),
    "viwve": _single(
        "vertical integral of eastward water vapour flux", "kg m-1 s-1", "viwve p71.162 p71_162 var71",
        f"east{_VAPOUR_FLUX}", -8000, 8000, "vertical_integral_of_eastward_water_vapour_flux",
    ),
    "viwvn": _single(
        "vertical integral of northward water vapour flux", "kg m-1 s-1", "viwvn p72.162 p72_162 var72",
        f"north{_VAPOUR_FLUX}", -8000, 8000, "vertical_integral_of_northward_water_vapour_flux",
    ),
    "tclw": _single(
        "total column cloud liquid water", "kg m-2", "tclw", "atmosphere_mass_content_of_cloud_liquid_water", -0.1, 50,
        "total_column_cloud_liquid_water",
    ),
    "tciw": _single(
        "total column cloud ice water", "kg m-2", "tciw clivi", "atmosphere_mass_content_of_cloud_ice", -0.1, 50,
        "total_column_cloud_ice_water",
    ),
    "tcrw": _single("total column rain water", "kg m-2", "tcrw", "", -0.1, 100, "total_column_rain_water"),
    "tcsw": _single("total column snow water", "kg m-2", "tcsw", "", -0.1, 100, "total_column_snow_water"),
    "cape": _single(
        "convective available potential energy", "J kg-1", "cape", f"{_CAPE} {_CAPE}_wrt_surface", -1, 30_000,
        "convective_available_potential_energy",
    ),
    # ERA5 gives no inhibition where there is nothing to inhibit.
    "cin": _single(
        "convective inhibition", "J kg-1", "cin", f"{_CIN} {_CIN}_wrt_surface", -5000, 5000, "convective_inhibition",
        may_miss=True,
    ),
    "sp": _single("surface pressure", "Pa", "sp ps pres", "surface_air_pressure", 40_000, 112_000, "surface_pressure"),
    "t2m": _single("2 m temperature", "K", "t2m 2t t2 tas", "", 170, 345, "2m_temperature"),
    "d2m": _single("2 m dewpoint temperature", "K", "d2m 2d", "dew_point_temperature", 150, 320,
                   "2m_dewpoint_temperature"),
    "lsm": _single("land-sea mask", "1", "lsm", "land_binary_mask", 0, 1.0001, "land_sea_mask"),
}  # fmt: skip
"""Key that recipes use, ERA5's name in files → the quantity."""

_KEY_OF_CDS = {variable.cds: key for key, variable in RAW.items()}


def lookup(name: str) -> str | None:
    """Return the key of the variable that ``name`` (a key, or its name in CDS requests) stands for."""
    return name if name in RAW else _KEY_OF_CDS.get(name)
