"""Small files that stand for enormous ones: refused in one line, in little memory and time."""

# ruff: noqa: E501 (a table: one case a line where it fits the eye)
from __future__ import annotations

import zipfile
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from tests.badinput.case import Case, Place, text
from tests.badinput.ground import Grounds, meet
from tests.badinput.pictures import ONE, png
from tests.badinput.raws import MARCH

MEMORY = {"memory_mb": 700}
"""Address space beyond the libraries', in which the job itself works on these places."""


def laughs(levels: int = 12) -> str:
    """Return YAML in which each level names the one before nine times."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n"


def yaml(name: str, contents: str, says: str) -> Case:
    return Case("bomb", name, "derive", says, spoil=text("tiny.yaml", contents), limits=MEMORY)


def typed(name: str, setting: str, says: str) -> Case:
    return Case("bomb", name, "derive", says, more=(setting,), limits=MEMORY)


def huge(points: int, days: int = 1) -> object:
    """Return what writes a NetCDF file of a few kilobytes that announces a map of so many points a side."""

    def spoil(place: Place) -> None:
        with netCDF4.Dataset(place.home / MARCH, "w") as data:
            for name, size in (("valid_time", days), ("latitude", points), ("longitude", points)):
                data.createDimension(name, size)
            time = data.createVariable("valid_time", "i8", ("valid_time",))
            time.setncatts({"units": "seconds since 1970-01-01", "standard_name": "time"})
            time[:] = [794016000 + 86400 * day for day in range(days)]
            for name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
                item = data.createVariable(name, "f8", (name,), chunksizes=(1000,))
                item.setncatts({"units": units, "standard_name": name})
                if points < 10**6:
                    item[:] = np.linspace(15, 55, points) + (100 if name == "longitude" else 0)
            field = data.createVariable(
                "msl", "f4", ("valid_time", "latitude", "longitude"), chunksizes=(1, 1000, 1000), zlib=True
            )
            field.setncatts({"units": "Pa", "standard_name": "air_pressure_at_mean_sea_level"})

    return spoil


def zip_bomb(place: Place) -> None:
    """A ZIP of 100 kB whose member says that it unpacks to more than any disk holds."""
    path = place.home / MARCH
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.nc", "w") as member:
        member.write(b"CDF\x01" + bytes(1 << 20))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02")
    # Sizes of the central directory: in 32 bits they end at 4 GiB, so a ZIP64 field holds the large one.
    extra = b"\x01\x00\x08\x00" + (1 << 60).to_bytes(8, "little")
    name = int.from_bytes(data[at + 28 : at + 30], "little")
    data[at + 24 : at + 28] = b"\xff\xff\xff\xff"
    data[at + 30 : at + 32] = len(extra).to_bytes(2, "little")
    data[at + 46 + name : at + 46 + name] = extra
    end = data.rfind(b"PK\x05\x06")
    size = int.from_bytes(data[end + 12 : end + 16], "little") + len(extra)
    data[end + 12 : end + 16] = size.to_bytes(4, "little")
    path.write_bytes(data)


CASES = [
    yaml("a billion laughs", laughs(), r"tiny\.yaml: \d+ values, aliases written out; a config has at most"),
    yaml("an anchor that holds itself", "name: x\nderive: &d {fields: *d}\n", r"tiny\.yaml:2: an anchor .* that holds itself"),
    yaml("lists in lists in lists", "name: " + "[" * 5000 + "]" * 5000 + "\n", r"tiny\.yaml: lists or sections within each other"),
    yaml("sections in sections", "name: x\n" + "a: {" * 3000 + "}" * 3000 + "\n", r"tiny\.yaml: lists or sections within each other"),
    yaml("a megabyte of keys", "".join(f"k{n}: 1\n" for n in range(150_000)), r"tiny\.yaml: \d+ bytes; a config has at most"),
    yaml("a number of 5000 digits", "name: x\ntrain: {seed: " + "9" * 5000 + "}\n", r"tiny\.yaml: a number has too many digits"),
    yaml("a number of 1000 digits", "name: x\ntrain: {seed: " + "9" * 1000 + "}\n", r"train\.seed: should be (less than|a valid integer)"),
    yaml("a number in sixties", "name: x\ntrain: {seed: 9" + ":59" * 2000 + "}\n", r"train\.seed|tiny\.yaml: "),
    typed("laughs on the command line", "derive.fields=[" + "&a [x,x,x,x,x,x,x,x,x], " + "".join(f"&{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}], " for n in range(9)) + "]", r"command line: \d+ values, aliases written out"),
    typed("lists in lists on the command line", "derive.fields=" + "[" * 3000 + "]" * 3000, r"command line: derive\.fields: lists within lists"),
    Case("bomb", "an image of 60000 × 60000", "store", r"60000 × 60000 pixels, more than", spoil=text(ONE, png(60000, 60000)), ground="charts", limits=MEMORY),
    Case("bomb", "a map of 10¹⁷ points", "derive", r"1995-03\.nc: .*latitude announces 500000000 values", spoil=huge(500_000_000), limits=MEMORY),  # type: ignore[arg-type]
    Case("bomb", "a map of 10¹¹ points", "derive", r"1995-03\.nc: its grid has|that of \S+1995-03\.nc has", spoil=huge(300_000), limits=MEMORY),  # type: ignore[arg-type]
    Case("bomb", "maps of 10¹¹ points alone", "derive", r"memory ran out|memory", more=("derive.raw=[raw/era5_msl_1995-03.nc]", "derive.fields=[msl]"), code=1, spoil=huge(300_000), limits=MEMORY),  # type: ignore[arg-type]
    Case("bomb", "a ZIP of an exabyte", "derive", r"1995-03\.nc: a ZIP archive that unpacks to 1152921504606846976 bytes", spoil=zip_bomb, limits=MEMORY),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_bombs_do_not_go_off(case: Case, grounds: Grounds, tmp_path: Path) -> None:
    ended = meet(case, grounds, tmp_path / "place")
    assert len(ended.text) < 20_000


def test_deep_json(tmp_path: Path) -> None:
    from pipeline.core.artifact import read_json
    from pipeline.core.errors import InputError

    (tmp_path / "x.json").write_text('{"schema_version": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(InputError, match=r"x\.json: not a readable JSON file"):
        read_json(tmp_path / "x.json")


def test_the_limit_of_memory_is_one(grounds: Grounds, tmp_path: Path) -> None:
    """The proof that a job that asks for more than the limit is stopped by it, and says so in one line."""
    (tmp_path / "greedy.py").write_text("name = 'x'\nmuch = bytearray(2_000_000_000)\n")
    case = Case("bomb", "greedy", "derive", "MemoryError|memory ran out", words=("./greedy.py",), limits=MEMORY)
    place = grounds.copy("raw", tmp_path / "place")
    (place.home / "greedy.py").write_text((tmp_path / "greedy.py").read_text())
    ended = grounds.run(place, case.job, *case.words, **case.limits)
    assert ended.code in (1, 2)
    assert "MemoryError" in ended.text
