"""docs/data.md lists exactly what the code knows, with its units."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.derive.recipe import FIELDS
from pipeline.derive.season import SCALARS
from pipeline.raw.units import FACTORS, OFFSETS
from pipeline.raw.variables import RAW

PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table under ``heading``: first cell without quotes → other cells."""
    section = PAGE.split(f"# {heading}\n", 1)[1]
    rows = re.search(r"\|---.*\n((?:\|.*\n)+)", section)
    assert rows is not None
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows[1].splitlines()]
    keys = [row[0].strip(" `") for row in cells]
    assert len(set(keys)) == len(keys)
    return {key: [cell.strip() for cell in row[1:]] for key, row in zip(keys, cells, strict=True)}


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_raw_variables() -> None:
    rows = table("Raw variables")
    assert list(rows) == list(RAW)
    for key, (long_name, units, _, cds, limits, _) in rows.items():
        raw = RAW[key]
        assert (long_name, units, cds) == (raw.long_name, raw.units, f"`{raw.cds}`")
        low, high = (float(text.replace("−", "-")) for text in limits.split(" … "))
        assert (low, high) == pytest.approx((raw.lowest, raw.highest)), key


def test_delivered_fields() -> None:
    rows = table("Raw variables as they were delivered")
    assert list(rows) == [name for name, recipe in FIELDS.items() if recipe.exact]
    for name, (long_name, units, missing, standard) in rows.items():
        recipe = FIELDS[name]
        assert (long_name, units, missing) == (recipe.long_name, recipe.units, "yes" if recipe.may_miss else ""), name
        assert standard.strip("`") == recipe.standard_name


def test_computed_fields() -> None:
    rows: dict[str, list[str]] = {}
    for heading in ("Pressure, heights and thickness", "Wind", "Warm and moist air, rain, land"):
        rows |= table(heading)
    assert set(rows) == {name for name, recipe in FIELDS.items() if not recipe.exact}
    for name, (long_name, units, formula, _, limits, _) in rows.items():
        recipe = FIELDS[name]
        assert (long_name, units) == (recipe.long_name, recipe.units), name
        assert formula
        assert ("missing where" in formula and "1 where" not in formula) == recipe.may_miss, name
        low, high = (float(text.replace("−", "-")) for text in limits.split(" … "))
        assert (low, high) == pytest.approx((recipe.lowest, recipe.highest)), name


def test_season_scalars() -> None:
    rows = table("Season, one value a time")
    assert list(rows) == list(SCALARS)
    for name, (formula,) in rows.items():
        assert SCALARS[name][0].startswith(formula.split(":")[0])


def test_names_that_are_understood() -> None:
    rows = table("Names that are understood")
    assert {key: (tuple(quoted(a)), tuple(quoted(b))) for key, (a, b) in rows.items()} == {
        key: (raw.names, raw.standard_names) for key, raw in RAW.items()
    }


def test_units_that_are_understood() -> None:
    rows = table("Units that are understood")
    assert {unit: sorted(quoted(cell)) for unit, (cell,) in rows.items()} == {
        unit: sorted(names) for unit, names in FACTORS.items()
    }
    for unit, (cell,) in rows.items():
        for group in cell.split("; "):
            said = re.search(r"\((×|\+) ([\d./e-]+)\)$", group)
            sign, number = (said[1], said[2]) if said else ("×", "1")
            over = [float(part) for part in number.split("/")]
            value = over[0] / over[1] if len(over) == 2 else over[0]
            for name in quoted(group):
                wanted = OFFSETS.get(unit, {}).get(name, 0.0) if sign == "+" else FACTORS[unit][name]
                assert value == pytest.approx(wanted), (unit, name)
