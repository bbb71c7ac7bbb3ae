"""The table of fields: complete, described, within bounds, and each thing computed once."""

from __future__ import annotations

import gc
import re
import weakref
from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.derive.recipe import (
    FIELDS,
    Field,
    Need,
    Recipe,
    Values,
    check_grid,
    choose_fields,
    compute_block,
    raw_needs,
)
from pipeline.derive.tables.pressure import SLOPES
from pipeline.raw.grid import Grid
from pipeline.raw.variables import RAW
from pipeline.synthetic import fields as weather
from pipeline.synthetic.files import VARIABLES
from pipeline.synthetic.plan import Weather

CHANNELS = """
msl gh500 t850 u500 v500 u850 v850 r700 r850 vo850 vo500 gh1000 thk_1000_500 grad_thk_1000_500 q850 thetae850
grad_thetae850 div850 w500 w700 vmag500 vmag850 shear_850_500 mfc850 tcwv ivt ivt_dir tcc tp u10 v10 vmag10 tclw tciw
tcrw tcsw sst msl_dt24 grad_msl lap_msl
"""
FURTHER = "ivt_dir_sin ivt_dir_cos viwve viwvn cape cin tp_24h land_mask ug vg vog"
GRID = Grid(np.linspace(55, 15, 81), np.linspace(115, 155, 81))
DAYS = [date(1995, 7, 10) + timedelta(day) for day in range(3)]


class Archive:
    """Raw values of an invented weather; counts what is asked for."""

    def __init__(self) -> None:
        self.air, self.days = weather.Atmosphere(Weather(0), DAYS), weather.Grid(GRID.latitude, GRID.longitude)
        self.asked: Counter[Need] = Counter()
        self.given: list[weakref.ref[Values]] = []

    def __call__(self, need: Need) -> Values:
        self.asked[need] += 1
        name = need.variable if need.level is None else f"{need.variable}{need.level:g}"
        header = VARIABLES[need.variable]
        values = np.clip(self.days.sample(weather.FIELDS[name](self.air)), header.low, header.high).astype(np.float32)
        if need.hours_before:
            values = np.roll(values, 1, axis=0) if need.variable == "msl" else values
        if need.variable == "sst":
            values = np.where(self.days.land, np.float32(np.nan), values)
        self.given.append(weakref.ref(values))
        return values

    def alive(self) -> int:
        """Return how many of the arrays are still there."""
        gc.collect(1)  # of cycles that hold a new array; all of a long session would take half a second each time
        return sum(array() is not None for array in self.given)


def test_every_channel_of_the_guide_is_there() -> None:
    assert len(CHANNELS.split()) == 40, "and two season scalars"
    assert {*CHANNELS.split(), *FURTHER.split()} == set(FIELDS)


@pytest.mark.parametrize("name", [*FIELDS, *SLOPES])
def test_every_recipe_is_described(name: str) -> None:
    recipe = (FIELDS | SLOPES)[name]
    assert recipe.long_name
    assert recipe.units
    assert not recipe.standard_name or re.fullmatch(r"[a-z_]+", recipe.standard_name)
    assert np.isfinite([recipe.lowest, recipe.highest]).all()
    assert recipe.lowest < recipe.highest
    assert recipe.exact or recipe.reference or name in SLOPES, "where does the formula come from?"
    for need in raw_needs(recipe):
        assert need.variable in RAW
        assert RAW[need.variable].on_levels == (need.level is not None)
    for item in recipe.inputs:
        assert isinstance(item, Need) or item.name in FIELDS | SLOPES
        if isinstance(item, Field):
            part = (FIELDS | SLOPES)[item.name]
            assert recipe.differentiates >= part.differentiates
            assert recipe.geostrophic >= part.geostrophic
            assert recipe.may_miss >= part.may_miss


def test_needs_through_other_fields() -> None:
    assert raw_needs(FIELDS["grad_thetae850"]) == (Need("t", 850.0), Need("q", 850.0))
    assert raw_needs(FIELDS["vog"]) == (Need("msl"),)
    assert [need.hours_before for need in raw_needs(FIELDS["tp_24h"])] == list(range(24))


def test_all_fields_of_an_invented_summer_lie_in_their_range() -> None:
    found = dict(compute_block(FIELDS, GRID, Archive()))
    assert list(found) == list(FIELDS)
    for name, values in found.items():
        recipe = FIELDS[name]
        assert values.dtype == np.float32, name
        assert values.shape == (len(DAYS), *GRID.shape), name
        assert values.flags.c_contiguous, name
        assert recipe.lowest <= np.nanmin(values), name
        assert np.nanmax(values) <= recipe.highest, name
        assert recipe.may_miss or np.isfinite(values).all(), name
        if not recipe.exact and name != "land_mask":
            # A range that is generous is still a test: a wrong power of ten of any unit would leave it or its zero.
            assert np.nanmax(np.abs(values)) > 1e-6 * max(abs(recipe.lowest), recipe.highest), name


def test_everything_is_read_once_and_dropped() -> None:
    archive, most = Archive(), 0
    for _, values in compute_block(choose_fields(CHANNELS.split()), GRID, archive):
        del values
        most = max(most, archive.alive())
    needs = {need for name in CHANNELS.split() for need in raw_needs(FIELDS[name])}
    assert archive.asked == Counter(dict.fromkeys(needs, 1))
    assert most <= len(needs) // 2, "raw values are dropped after their last use"
    assert archive.alive() == 0


def test_only_what_is_asked_for_is_read() -> None:
    archive = Archive()
    assert [name for name, _ in compute_block(choose_fields(["grad_thetae850", "t850"]), GRID, archive)] == [
        "grad_thetae850",
        "t850",
    ]
    assert set(archive.asked) == {Need("t", 850.0), Need("q", 850.0)}


def test_order_and_company_do_not_matter() -> None:
    everything = dict(compute_block(FIELDS, GRID, Archive()))
    for name in reversed(FIELDS):
        ((_, alone),) = compute_block({name: FIELDS[name]}, GRID, Archive())
        np.testing.assert_array_equal(alone, everything[name], err_msg=name)
    for name, values in compute_block({name: FIELDS[name] for name in reversed(FIELDS)}, GRID, Archive()):
        np.testing.assert_array_equal(values, everything[name], err_msg=name)


def test_a_day_is_the_same_in_any_block() -> None:
    whole = dict(compute_block(FIELDS, GRID, Archive()))
    archive = Archive()
    for name, values in compute_block(FIELDS, GRID, lambda need: archive(need)[1:2]):
        np.testing.assert_array_equal(values, whole[name][1:2], err_msg=name)


def test_values_are_read_only() -> None:
    for _, values in compute_block(choose_fields(["msl", "thk_1000_500"]), GRID, Archive()):
        with pytest.raises(ValueError, match="read-only"):
            values[0, 0, 0] = 0


# --- formulas --------------------------------------------------------------------------------------------------------


def block(raw: dict[tuple[str, float | None, int], float | list[float]], name: str) -> Values:
    """Return field ``name`` of maps that are the same everywhere, one value a time."""

    def get(need: Need) -> Values:
        column = np.float32(raw[need.variable, need.level, need.hours_before]).reshape(-1, 1, 1)
        return np.broadcast_to(column, (len(column), 4, 4)).copy()

    grid = Grid(np.linspace(40, 30, 4), np.linspace(130, 140, 4))
    ((_, values),) = compute_block({name: FIELDS[name]}, grid, get)
    return values[:, 0, 0]


def test_heights_and_thickness() -> None:
    raw: dict[tuple[str, float | None, int], float | list[float]] = {
        ("z", 500.0, 0): 55_000.0,
        ("z", 1000.0, 0): 1000.0,
    }
    np.testing.assert_allclose(block(raw, "gh500"), 55_000 / 9.80665, rtol=1e-6)
    np.testing.assert_allclose(block(raw, "gh1000"), 1000 / 9.80665, rtol=1e-6)
    np.testing.assert_allclose(block(raw, "thk_1000_500"), 54_000 / 9.80665, rtol=1e-6)
    np.testing.assert_array_equal(block(raw, "grad_thk_1000_500"), 0)


def test_rain_of_a_day_is_the_sum_of_24_hours() -> None:
    """Each hour once; where one is missing so is the sum."""
    values = [0.001 * 1.1**hour for hour in range(24)]
    raw: dict[tuple[str, float | None, int], float | list[float]]
    raw = {("tp", None, hour): [amount, amount] for hour, amount in enumerate(values)}
    np.testing.assert_allclose(block(raw, "tp_24h"), sum(values), rtol=1e-6)
    raw["tp", None, 7] = [np.nan, 0.0]
    found = block(raw, "tp_24h")
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(sum(values) - values[7], rel=1e-6)
    assert "interval: 1 hour" in FIELDS["tp"].attributes["cell_methods"]
    assert "24 hours" in FIELDS["tp_24h"].attributes["cell_methods"]


def test_change_in_24_hours() -> None:
    assert block({("msl", None, 0): [101_000.0, 99_000.0], ("msl", None, 24): [100_000.0, np.nan]}, "msl_dt24")[
        0
    ] == pytest.approx(1000)


def test_land_is_where_there_is_no_sea_temperature() -> None:
    sea = np.full((2, 4, 4), 290, np.float32)
    sea[:, 1, 2] = np.nan
    grid = Grid(np.linspace(40, 30, 4), np.linspace(130, 140, 4))
    fields = choose_fields(["land_mask", "sst"])
    found = dict(compute_block(fields, grid, lambda need: sea))
    np.testing.assert_array_equal(found["land_mask"], np.isnan(sea))
    np.testing.assert_array_equal(found["sst"], sea)
    sea[1, 3, 3] = np.nan
    with pytest.raises(InputError, match="leave land_mask out"):
        dict(compute_block(fields, grid, lambda need: sea))


def test_a_pole_and_the_equator_are_refused() -> None:
    pole = Grid(np.linspace(90, 60, 31), np.linspace(0, 350, 36))
    equator = Grid(np.linspace(10, -10, 21), np.linspace(0, 350, 36))
    for name, recipe in FIELDS.items():
        for grid, refused in ((pole, recipe.differentiates), (equator, recipe.geostrophic)):
            if refused:
                with pytest.raises(InputError, match=f"derive.fields: {name} "):
                    check_grid({name: recipe}, grid)
            else:
                check_grid({name: recipe}, grid)


def test_recipes_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        FIELDS["msl"].units = "hPa"  # type: ignore[misc]
    assert isinstance(FIELDS["msl"], Recipe)
