"""GRIB files of the invented weather hold the numbers, times and versions of the NetCDF files."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.synthetic.files import Content, read_content
from pipeline.testing import World, write_world

eccodes = pytest.importorskip("pipeline.synthetic.grib", reason="the extra 'grib' is not installed").eccodes

SMALL = {"start": date(1995, 1, 1), "days": 3, "lat_points": 5, "lon_points": 4}


def messages(path: Path) -> list[dict[str, Any]]:
    """Return keys and values of each message."""
    found = []
    keys = ("paramId", "level", "dataDate", "dataTime", "stepRange", "validityDate", "validityTime", "expver", "type")
    with path.open("rb") as stream:
        while (handle := eccodes.codes_grib_new_from_file(stream)) is not None:
            told = {key: eccodes.codes_get(handle, key) for key in keys}
            told["values"] = eccodes.codes_get_values(handle)
            told["missing"] = eccodes.codes_get(handle, "missingValue")
            found.append(told)
            eccodes.codes_release(handle)
    return found


@pytest.mark.parametrize("group", ["msl", "z_500_1000", "sst", "tp", "ivt_flux"])
def test_every_message_holds_the_field_of_its_time(tmp_path: Path, group: str) -> None:
    world = World(groups=(group,), **SMALL)  # type: ignore[arg-type]
    plain = read_content(write_world(world, tmp_path / "nc").files[0])
    found = messages(write_world(replace(world, layout="grib"), tmp_path / "grib").files[0])
    fields = [
        (t, name, k) for t in range(3) for name in plain.header.names for k in range(max(len(plain.header.levels), 1))
    ]
    assert len(found) == len(fields)
    for told, (t, name, k) in zip(found, fields, strict=True):
        want = plain.arrays[name][t, k] if plain.header.levels else plain.arrays[name][t]
        values = np.where(told["values"] == told["missing"], np.nan, told["values"])
        # 16 bits over a power-of-two step carry the values as they are.
        np.testing.assert_array_equal(values.astype(np.float32), want.ravel())
        assert (told["validityDate"], told["validityTime"]) == (19950101 + t, 0)
        assert not plain.header.levels or told["level"] == plain.header.levels[k]


def test_an_accumulation_is_a_forecast_that_ends_at_its_time(tmp_path: Path) -> None:
    world = World(groups=("tp",), layout="grib", **SMALL)  # type: ignore[arg-type]
    told = messages(write_world(world, tmp_path).files[0])[1]
    assert (told["dataDate"], told["dataTime"], told["stepRange"]) == (19950101, 1800, "5-6")
    assert (told["validityDate"], told["type"], told["paramId"]) == (19950102, "fc", 228)


def test_preliminary_times_have_version_5(tmp_path: Path) -> None:
    from pipeline.synthetic.grib import write_grib

    content = read_content(write_world(World(groups=("msl",), **SMALL), tmp_path).files[0])  # type: ignore[arg-type]
    header = replace(content.header, final_until=int(content.header.times[1]))
    write_grib(tmp_path / "tail.grib", Content(header, content.arrays))
    assert [told["expver"] for told in messages(tmp_path / "tail.grib")] == ["0001", "0001", "0005"]
