"""The raw variables that Isobar knows: how files call them, their units, and the values that can occur."""

from __future__ import annotations

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
    """CF standard names that mean this quantity and no other one."""
    lowest: float
    highest: float
    """Outside of these the value is an error of the file or of its units attribute."""
    on_levels: bool = False
    """Whether it comes on pressure levels."""
    may_miss: bool = False
    """Whether a missing value has a meaning (sea surface temperature over land)."""


RAW: dict[str, RawVariable] = {
    # Extremes of sea level pressure on record: 870 hPa (typhoon Tip, 1979) and 1085 hPa (Tosontsengel, 2001); values
    # reduced to sea level under high ground go a little further.
    "msl": RawVariable(
        "mean sea level pressure",
        "Pa",
        ("msl", "slp", "prmsl", "mslp", "psl", "pmsl"),
        ("air_pressure_at_mean_sea_level", "air_pressure_at_sea_level"),
        85_000.0,
        112_000.0,
    ),
    "u10": RawVariable("10 m eastward wind", "m s-1", ("u10", "10u", "uas"), (), -120.0, 120.0),
    "v10": RawVariable("10 m northward wind", "m s-1", ("v10", "10v", "vas"), (), -120.0, 120.0),
    "z": RawVariable("geopotential", "m2 s-2", ("z",), ("geopotential",), -10_000.0, 500_000.0, on_levels=True),
}
"""Key that recipes use → the quantity. Wind has no standard name here: ``eastward_wind`` is used at every height."""
