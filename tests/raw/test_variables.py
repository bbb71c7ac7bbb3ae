"""The table of raw variables and their units: no name means two things, and all that centres write is understood."""

from __future__ import annotations

from itertools import combinations

import pytest

from pipeline.raw.units import FACTORS, OFFSETS, conversion, factor, spelling
from pipeline.raw.variables import RAW, RawVariable, lookup
from pipeline.synthetic.files import VARIABLES


@pytest.mark.parametrize("key", RAW)
def test_every_variable_is_described(key: str) -> None:
    variable = RAW[key]
    assert key in variable.names or key == "tcwv"
    assert variable.units in FACTORS
    assert all(name == name.lower() for name in variable.names)
    assert variable.lowest < variable.highest
    assert conversion(variable.units, variable.units) == (1, 0)
    assert lookup(key) == key
    assert lookup(variable.cds) == key


def test_no_name_means_two_variables() -> None:
    for (one, first), (other, second) in combinations(RAW.items(), 2):
        if first.on_levels == second.on_levels:
            assert not set(first.names) & set(second.names), (one, other)
            assert not set(first.standard_names) & set(second.standard_names), (one, other)
    assert lookup("sunshine") is None
    assert lookup("") is None


def test_only_rain_is_accumulated() -> None:
    assert [key for key, variable in RAW.items() if variable.accumulated] == ["tp"]
    assert [key for key, variable in RAW.items() if variable.may_miss] == ["sst", "cin"]


@pytest.mark.parametrize("name", VARIABLES)
def test_units_of_the_climate_data_store(name: str) -> None:
    assert conversion(VARIABLES[name].units, RAW[name].units) == (1, 0)
    assert RAW[name].lowest <= VARIABLES[name].low < VARIABLES[name].high <= RAW[name].highest


# What the files of other centres say: variable, its name there, its units, a value there and the same in Isobar.
@pytest.mark.parametrize(
    ("key", "name", "units", "there", "here"),
    [
        ("t", "air", "degK", 273.0, 273.0),  # NCEP/NCAR
        ("t", "air", "degC", -3.0, 270.15),
        ("z", "hgt", "m", 5500.0, 53_936.575),
        ("w", "omega", "Pascal/s", -0.5, -0.5),
        ("q", "shum", "grams/kg", 8.0, 0.008),
        ("r", "rhum", "%", 80.0, 80.0),
        ("msl", "slp", "millibars", 1013.0, 101_300.0),
        ("tcwv", "pr_wtr", "kg/m^2", 30.0, 30.0),
        ("z", "HGT_GDS0_ISBL", "gpm", 100.0, 980.665),  # JRA-55
        ("vo", "RELV_GDS0_ISBL", "s-1", 1e-5, 1e-5),
        ("t", "tmp-pres-an-ll125", "K", 280.0, 280.0),  # JRA-3Q
        ("msl", "prmsl-msl-an-ll125", "Pa", 1e5, 1e5),
        ("z", "zg", "m", 1.0, 9.80665),  # CMIP
        ("sst", "tos", "degC", 20.0, 293.15),
        ("tcc", "clt", "%", 60.0, 0.6),
        ("q", "hus", "1", 0.01, 0.01),
        ("r", "RH", "1", 0.8, 80.0),  # MERRA-2
        ("tp", "tp", "mm", 2.0, 0.002),
        ("viwve", "p71.162", "kg m**-1 s**-1", 250.0, 250.0),  # old CDS
        ("tcc", "tcc", "(0 - 1)", 0.5, 0.5),
    ],
)
def test_other_centres(key: str, name: str, units: str, there: float, here: float) -> None:
    assert name.lower() in RAW[key].names
    both = conversion(units, RAW[key].units)
    assert both is not None
    assert there * both[0] + both[1] == pytest.approx(here, rel=1e-12)


def test_unknown_units() -> None:
    assert conversion("furlong", "Pa") is None
    assert conversion("K/day", "K") is None


def test_a_factor_alone_never_stands_for_degrees_celsius() -> None:
    assert factor("K", "K") == 1
    assert factor("hPa", "Pa") == 100
    assert all(factor(name, unit) is None for unit, names in OFFSETS.items() for name in names)


def test_spelling() -> None:
    assert spelling("m s**-1") == spelling("m.s^-1") == spelling("M  S-1") == "m s-1"
    for table in FACTORS.values():
        assert all(spelling(name) == name for name in table)


def test_a_variable_cannot_be_changed() -> None:
    assert isinstance(RAW["msl"], RawVariable)
    with pytest.raises(AttributeError):
        RAW["msl"].units = "hPa"  # type: ignore[misc]
