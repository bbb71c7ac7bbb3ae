"""Fields that are raw variables as they were delivered, at one level, in the unit of the raw table."""

from __future__ import annotations

from pipeline.derive.ingredient import Need, Recipe, Values
from pipeline.raw.grid import Grid
from pipeline.raw.variables import RAW

HOURLY = "time: sum (interval: 1 hour comment: the hour that ends at the given time)"


def same(grid: Grid, values: Values) -> Values:
    """Return ``values``."""
    return values


def delivered(variable: str, level: float | None = None, standard_name: str = "", **attributes: str) -> Recipe:
    """Return the recipe of a raw variable (at ``level`` hPa) as it stands."""
    raw = RAW[variable]
    long_name = raw.long_name if level is None else f"{raw.long_name} at {level:g} hPa"
    return Recipe(
        long_name,
        raw.units,
        (Need(variable, level),),
        same,
        raw.lowest,
        raw.highest,
        standard_name,
        may_miss=raw.may_miss,
        exact=True,
        attributes=attributes,
    )


_FLUX = "ward_atmosphere_water_vapor_transport_across_unit_distance"

DELIVERED: dict[str, Recipe] = {
    "msl": delivered("msl", None, "air_pressure_at_mean_sea_level"),
    "t850": delivered("t", 850.0, "air_temperature"),
    "q850": delivered("q", 850.0, "specific_humidity"),
    "u500": delivered("u", 500.0, "eastward_wind"),
    "v500": delivered("v", 500.0, "northward_wind"),
    "u850": delivered("u", 850.0, "eastward_wind"),
    "v850": delivered("v", 850.0, "northward_wind"),
    "r700": delivered("r", 700.0, "relative_humidity"),
    "r850": delivered("r", 850.0, "relative_humidity"),
    "vo500": delivered("vo", 500.0, "atmosphere_upward_relative_vorticity"),
    "vo850": delivered("vo", 850.0, "atmosphere_upward_relative_vorticity"),
    "div850": delivered("d", 850.0, "divergence_of_wind"),
    "w500": delivered("w", 500.0, "lagrangian_tendency_of_air_pressure"),
    "w700": delivered("w", 700.0, "lagrangian_tendency_of_air_pressure"),
    "u10": delivered("u10", None, "eastward_wind"),
    "v10": delivered("v10", None, "northward_wind"),
    "tcwv": delivered("tcwv", None, "atmosphere_mass_content_of_water_vapor"),
    "viwve": delivered("viwve", None, f"east{_FLUX}"),
    "viwvn": delivered("viwvn", None, f"north{_FLUX}"),
    "tcc": delivered("tcc", None, "cloud_area_fraction"),
    "tp": delivered("tp", None, "lwe_thickness_of_precipitation_amount", cell_methods=HOURLY),
    "tclw": delivered("tclw", None, "atmosphere_mass_content_of_cloud_liquid_water"),
    "tciw": delivered("tciw", None, "atmosphere_mass_content_of_cloud_ice"),
    "tcrw": delivered("tcrw"),
    "tcsw": delivered("tcsw"),
    "cape": delivered("cape", None, "atmosphere_convective_available_potential_energy"),
    "cin": delivered("cin", None, "atmosphere_convective_inhibition", comment="missing where there is no CAPE"),
    "sst": delivered("sst", None, "sea_surface_temperature", comment="missing over land"),
}
