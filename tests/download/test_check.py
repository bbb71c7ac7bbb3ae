"""Pieces that are good, and every way in which one is not."""

from __future__ import annotations

import hashlib
import tracemalloc
from dataclasses import replace
from datetime import date
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from pipeline.core.errors import InputError
from pipeline.download import check, survey
from pipeline.download.check import Checked, Expected, Rejected, check_file, expected_grids
from pipeline.download.grib import check_messages
from pipeline.download.survey import blocks
from pipeline.synthetic.files import GROUPS, LAYOUTS, Content, Header, read_content, relayout, write_content
from pipeline.testing import World, plant, write_world

SHARED = Path(__file__).parents[3] / "shared" / "data" / "cds_samples"
DAYS = 12
START = date(1995, 7, 1)
AREA, GRID = (55.0, 115.0, 15.0, 155.0), (5.0, 5.0)
SECONDS = (np.datetime64(START) + np.arange(DAYS)).astype("datetime64[s]").astype(np.int64)


def expected_of(group: str) -> Expected:
    names, levels = GROUPS[group]
    keys = tuple((name, float(level) if level else None) for name in names for level in (levels or (0,)))
    return Expected(keys, SECONDS, AREA, GRID)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(World(start=START, days=DAYS, groups=("all",)), folder)
    return folder


@pytest.fixture
def piece(world: Path, tmp_path: Path):
    """Return a copy of one group's file, to be spoiled."""

    def copy(group: str) -> Path:
        path = tmp_path / f"{group}.nc"
        path.write_bytes((world / f"era5_{group}_1995-07.nc").read_bytes())
        return path

    return copy


def rejected(path: Path, expected: Expected) -> str:
    """Return the one line of a refusal."""
    with pytest.raises(Rejected) as caught:
        check_file(path, expected)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_of_the_guide_passes(world: Path, group: str) -> None:
    path = world / f"era5_{group}_1995-07.nc"
    found = check_file(path, expected_of(group))
    with xr.open_dataset(path, engine="h5netcdf") as data:
        shares = {name: float(np.isnan(data[name].values).mean()) for name in GROUPS[group][0]}
    assert found == Checked(
        bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        preliminary=False,
        first="1995-07-01T00:00:00",
        last="1995-07-12T00:00:00",
        variables=GROUPS[group][0],
        missing_share=shares,
    )
    assert (0 < shares["sst"] < 1) if group == "sst" else all(v == 0 or name == "cin" for name, v in shares.items())


@pytest.mark.parametrize("layout", ["old", "old_expver", "grib"])
@pytest.mark.parametrize("group", ["z_500_1000", "tp", "ivt_flux", "sst"])
def test_other_layouts_pass(piece, layout: str, group: str) -> None:
    path = piece(group)
    before = check_file(path, expected_of(group))
    relayout(path, layout)
    found = check_file(path, expected_of(group))
    assert (found.variables, found.missing_share) == (before.variables, before.missing_share)
    assert found.preliminary is (layout == "old_expver")


def test_names_of_the_data_centre_are_understood(piece) -> None:
    expected = replace(expected_of("msl"), keys=(("mean_sea_level_pressure", None),))
    assert check_file(piece("msl"), expected).variables == ("mean_sea_level_pressure",)


# --- first bytes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title>", "a web page instead of data: 502 Bad Gateway"),
        (b"\n  <html><body>no</body>", "is a web page instead of data: <html><body>no"),
        (b'{"detail": "licence"}', 'is a JSON message instead of data: {"detail": "licence"}'),
        (b"PK\x03\x04....", "is a ZIP archive that was not unpacked"),
        (b"\x1f\x8b\x08\x00abcdefgh", "which is neither NetCDF nor GRIB"),
    ],
)
def test_files_that_are_no_data(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "piece.nc"
    path.write_bytes(content)
    assert words in rejected(path, expected_of("msl"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in rejected(tmp_path / "piece.nc", expected_of("msl"))


def test_grib_without_its_packages_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "piece.grib").write_bytes(b"GRIB....")
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="is GRIB, which needs the package eccodes"):
        check_file(tmp_path / "piece.grib", expected_of("msl"))


@pytest.mark.parametrize("layout", ["cds", "old", "grib"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99, 0.9999])
def test_truncated_files(piece, layout: str, share: float) -> None:
    path = piece("msl")
    relayout(path, layout)
    content = path.read_bytes()
    path.write_bytes(content[: min(int(len(content) * share), len(content) - 1)])
    rejected(path, expected_of("msl"))


def test_damaged_values(piece) -> None:
    path = piece("msl")
    content = bytearray(path.read_bytes())
    with h5netcdf.File(path) as file:
        chunk = file.variables["msl"]._h5ds.id.get_chunk_info(0)
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "truncated or corrupt in 'msl'" in rejected(path, expected_of("msl"))


# --- the request -----------------------------------------------------------------------------------------------


def test_a_variable_that_is_lacking(piece) -> None:
    expected = replace(expected_of("u10_v10"), keys=(("u10", None), ("msl", None), ("tp", None)))
    assert "lacks msl, tp; holds u10, v10" in rejected(piece("u10_v10"), expected)


def test_a_level_that_is_lacking(piece) -> None:
    expected = replace(expected_of("z_500_1000"), keys=(("z", 500.0), ("z", 850.0)))
    assert "level 850 hPa of 'z' is not there; holds 1000, 500" in rejected(piece("z_500_1000"), expected)


def test_a_level_that_occurs_twice(piece) -> None:
    path = piece("z_500_1000")
    content = read_content(path)
    write_content(path, replace(content, header=replace(content.header, levels=(500, 500))))
    assert "level 500 hPa of 'z' occurs twice" in rejected(
        path, replace(expected_of("z_500_1000"), keys=(("z", 500.0),))
    )


@pytest.mark.parametrize(
    ("area", "grid"),
    [((55.0, 115.0, 15.0, 150.0), GRID), ((50.0, 115.0, 15.0, 155.0), GRID), (AREA, (2.5, 2.5)), (AREA, (5.0, 10.0))],
)
def test_another_grid(piece, area: tuple[float, ...], grid: tuple[float, float]) -> None:
    text = rejected(piece("msl"), replace(expected_of("msl"), area=area, grid=grid))
    assert "is on 9 latitudes 55 … 15 and 9 longitudes 115 … 155; asked for were" in text


@pytest.mark.parametrize(("shift", "good"), [(2e-5, True), (1e-3, False)])
def test_coordinates_are_compared_to_a_ten_thousandth_of_a_degree(piece, shift: float, good: bool) -> None:
    path = piece("msl")
    content = read_content(path)
    write_content(path, replace(content, header=replace(content.header, longitude=content.header.longitude + shift)))
    if good:
        check_file(path, expected_of("msl"))
    else:
        assert "asked for were" in rejected(path, expected_of("msl"))


def test_times_that_are_lacking_or_too_many(piece) -> None:
    path = piece("msl")
    expected = expected_of("msl")
    assert "holds 2 times that were not asked for: 1995-07-11T00:00:00, 1995-07-12T00:00:00" in rejected(
        path, replace(expected, seconds=SECONDS[:-2])
    )
    more = np.append(SECONDS, SECONDS[-1] + 86_400 * np.arange(1, 5))
    text = rejected(path, replace(expected, seconds=more))
    assert "lacks 4 of 16 times: 1995-07-13T00:00:00, 1995-07-14T00:00:00, 1995-07-15T00:00:00, … and 1 more" in text


@pytest.mark.parametrize(
    ("fault", "group", "words"),
    [
        ("missing_days", "msl", "lacks 2 of 12 times"),
        ("duplicate_times", "msl", "twice"),
        ("nan", "msl", "'msl' is missing in 1 cells, first at 1995-07-"),
        ("inf", "sst", "'sst' is infinite at 1995-07-"),
        ("inf", "msl", "'msl' is infinite at 1995-07-"),
        ("mislabelled_units", "msl", "msl lies within 85000 … 112000 Pa; is the attribute units = 'Pa' right?"),
        ("missing_units", "msl", "units"),
        ("wrong_units", "z_500_1000", "units '10**3 m**2 s**-2'"),
    ],
)
def test_planted_faults(piece, fault: str, group: str, words: str) -> None:
    path = piece(group)
    plant(fault, path)
    assert words in rejected(path, expected_of(group))


def test_flipped_latitude_is_no_fault(piece) -> None:
    path = piece("msl")
    plant("flipped_latitude", path)
    check_file(path, expected_of("msl"))


@pytest.mark.parametrize("day", [0, 7])
def test_sea_surface_temperature_may_not_miss_everywhere(piece, day: int) -> None:
    path = piece("sst")
    content = read_content(path)
    content.arrays["sst"][day] = np.nan
    write_content(path, content)
    assert f"'sst' has no value at all at 1995-07-{day + 1:02d}T00:00:00 UTC" in rejected(path, expected_of("sst"))


def test_an_area_without_sea_is_told_to_leave_the_sea_out(piece) -> None:
    path = piece("sst")
    content = read_content(path)
    content.arrays["sst"][:] = np.nan
    write_content(path, content)
    assert "over land there is none: take it out of the table" in rejected(path, expected_of("sst"))


def test_inhibition_may_miss_everywhere(piece) -> None:
    path = piece("cape_cin")
    content = read_content(path)
    content.arrays["cin"][:] = np.nan
    write_content(path, content)
    assert check_file(path, expected_of("cape_cin")).missing_share == {"cape": 0.0, "cin": 1.0}


# --- variables without an entry in the table -------------------------------------------------------------------


def rename(path: Path, names: dict[str, tuple[str, str]]) -> None:
    """Give variables another name and title."""
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        data = data.load()
    for old, (new, title) in names.items():
        data = data.rename({old: new})
        data[new].attrs = {"long_name": title, "units": "1"}
    data.to_netcdf(path, engine="h5netcdf")


def test_unknown_variables_are_matched_by_title(piece) -> None:
    path = piece("u10_v10")
    rename(path, {"u10": ("zust", "Friction velocity"), "v10": ("u200", "200 metre U wind component")})
    expected = replace(expected_of("msl"), keys=(("200m_u_wind_component", None), ("friction_velocity", None)))
    assert check_file(path, expected).missing_share == {"200m_u_wind_component": 0.0, "friction_velocity": 0.0}


def test_one_unknown_variable_is_the_one_that_is_left(piece) -> None:
    path = piece("u10_v10")
    rename(path, {"u10": ("avg_ishf", "Time-mean surface sensible heat flux")})
    keys = (("v10", None), ("mean_surface_sensible_heat_flux", None))
    assert check_file(path, replace(expected_of("msl"), keys=keys)).variables == (
        "v10",
        "mean_surface_sensible_heat_flux",
    )
    assert "lacks mean_surface_sensible_heat_flux, snowfall; holds" in rejected(
        path, replace(expected_of("msl"), keys=(*keys, ("snowfall", None)))
    )


def test_unknown_variables_are_compared_with_the_request(piece) -> None:
    path = piece("z_500_1000")
    rename(path, {"z": ("pv", "Potential vorticity")})
    expected = replace(
        expected_of("z_500_1000"), keys=(("potential_vorticity", 500.0), ("potential_vorticity", 1000.0))
    )
    check_file(path, expected)
    assert "lacks 1 of 13 times" in rejected(path, replace(expected, seconds=np.append(SECONDS, SECONDS[-1] + 3600)))
    assert "asked for were" in rejected(path, replace(expected, area=(55.0, 115.0, 20.0, 155.0)))
    keys = (("potential_vorticity", 300.0),)
    assert "level 300 hPa of 'pv' is not there; holds 1000, 500" in rejected(path, replace(expected, keys=keys))


def test_unknown_variables_in_grib(piece, monkeypatch: pytest.MonkeyPatch) -> None:
    path = piece("u10_v10")
    relayout(path, "grib")
    monkeypatch.setattr(check, "lookup", lambda name: None if name == "10m_u" else name)
    expected = replace(expected_of("u10_v10"), keys=(("v10", None), ("10m_u", None)))
    assert check_file(path, expected).missing_share == {"v10": 0.0, "10m_u": 0.0}
    assert "lacks 1 of 13 times" in rejected(path, replace(expected, seconds=np.append(SECONDS, SECONDS[-1] + 3600)))


def test_an_infinite_value_of_an_unknown_variable(piece) -> None:
    path = piece("msl")
    plant("inf", path)
    rename(path, {"msl": ("lcc", "Low cloud cover")})
    assert "'lcc' is infinite" in rejected(path, replace(expected_of("msl"), keys=(("low_cloud_cover", None),)))


# --- preliminary data ------------------------------------------------------------------------------------------


def mark(path: Path, **how: object) -> None:
    """Mark a file as ERA5T's: ``over_time``, ``scalar`` or ``attribute``."""
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        data = data.load().drop_vars("expver")
    if "over_time" in how:
        data["expver"] = ("valid_time", np.array(how["over_time"], dtype=object))
    if "scalar" in how:
        data["expver"] = ((), how["scalar"])
    if "attribute" in how:
        data["msl"].attrs["GRIB_experimentVersionNumber"] = how["attribute"]
    data.to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize(
    ("how", "preliminary"),
    [
        ({"over_time": ["0001"] * DAYS}, False),
        ({"over_time": ["0001"] * (DAYS - 1) + ["0005"]}, True),
        ({"over_time": ["5"] * DAYS}, True),
        ({"scalar": 5}, True),
        ({"scalar": 1}, False),
        ({"attribute": "0005"}, True),
        ({"attribute": "0001"}, False),
        ({}, False),
    ],
)
def test_preliminary_marks(piece, how: dict[str, object], preliminary: bool) -> None:
    path = piece("msl")
    mark(path, **how)
    assert check_file(path, expected_of("msl")).preliminary is preliminary


@pytest.mark.parametrize(("days", "preliminary"), [(8, False), (9, True)])
def test_an_expver_dimension_counts_where_its_preliminary_half_has_values(piece, days: int, preliminary: bool) -> None:
    # The layout `old_expver` gives the last third of the days to the preliminary half.
    path = piece("msl")
    relayout(path, "old_expver")
    assert check_file(path, expected_of("msl")).preliminary
    if not preliminary:
        with xr.open_dataset(path, engine="scipy", decode_times=False) as data:
            data = data.isel(time=slice(0, days)).load()
        data.to_netcdf(path, engine="scipy")
        assert not check_file(path, replace(expected_of("msl"), seconds=SECONDS[:days])).preliminary


@pytest.mark.parametrize("until", [None, 5])
def test_preliminary_messages_of_grib(piece, until: int | None) -> None:
    path = piece("msl")
    content = read_content(path)
    header = replace(content.header, final_until=None if until is None else int(SECONDS[until]))
    LAYOUTS["grib"](path, path, Content(header, content.arrays))
    assert path.read_bytes()[:4] == b"GRIB"
    assert check_file(path, expected_of("msl")).preliminary is (until is not None)


def test_the_frames_of_grib_messages(piece) -> None:
    path = piece("msl")
    relayout(path, "grib")
    content = path.read_bytes()
    length = int.from_bytes(content[4:7])
    assert check_messages(path) == DAYS
    path.write_bytes(content[:length] + bytes(5000) + content[length:] + bytes(3))
    assert check_messages(path) == DAYS
    for place, value in ((6, 1), (8, 9), (10, 200), (15, 0x40), (length - 1, 0), (length + 2, 0), (7, 3)):
        damaged = bytearray(content)
        damaged[place] ^= value or 0xFF
        path.write_bytes(bytes(damaged))
        number = 2 if place > length else 1
        assert f"truncated or corrupt GRIB in message {number} at byte" in rejected(path, expected_of("msl"))


def test_frames_of_edition_2_and_of_long_messages(tmp_path: Path) -> None:
    path = tmp_path / "piece.grib"
    sections = (21).to_bytes(4) + bytes(17) + (5).to_bytes(4) + b"\x07" + b"7777"
    message = b"GRIB\0\0\0\x02" + (16 + len(sections)).to_bytes(8) + sections
    path.write_bytes(message * 3)
    assert check_messages(path) == 3
    for damaged in (message[:-1], message[:16] + b"\1" + message[17:], message[:15] + b"\1" + message[16:]):
        path.write_bytes(message + damaged)
        with pytest.raises(InputError, match=f"in message 2 at byte {len(message)}"):
            check_messages(path)
    # Edition 1 counts lengths beyond 8 388 607 bytes in units of 120 bytes.
    body = bytes(8_388_600)
    units = -(-(8 + len(body) + 4) // 120)
    path.write_bytes((b"GRIB" + (0x800000 | units).to_bytes(3) + b"\1" + body + b"7777") * 2)
    assert check_messages(path) == 2
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="in message 2"):
        check_messages(path)


def test_impossible_values_in_grib(piece) -> None:
    path = piece("msl")
    relayout(path, "grib")
    content = bytearray(path.read_bytes())
    content[8 + 12 : 8 + 14] = b"\xff\xff"  # year and month of the first message
    path.write_bytes(bytes(content))
    rejected(path, expected_of("msl"))


# --- blocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 50, 700, 10**6])
@pytest.mark.parametrize(
    ("shape", "chunks"), [((7, 3, 5, 6), (3, 1, 2, 4)), ((12, 9, 9), (12, 9, 9)), ((10,), (3,)), ((4, 4), (9, 9))]
)
def test_blocks_cover_everything_once_and_cut_no_chunk(
    shape: tuple[int, ...], chunks: tuple[int, ...], most: int
) -> None:
    seen, owners = np.zeros(shape, int), np.full(shape, -1)
    for number, place in enumerate(blocks(shape, chunks, most)):
        seen[place] += 1
        owners[place] = number
        cells = np.prod([part.stop - part.start for part in place])
        assert cells <= max(most, np.prod([min(c, s) for c, s in zip(chunks, shape, strict=True)]))
    assert (seen == 1).all()
    for corner in np.ndindex(*(-(-s // c) for s, c in zip(shape, chunks, strict=True))):
        chunk = tuple(slice(i * c, (i + 1) * c) for i, c in zip(corner, chunks, strict=True))
        assert len(np.unique(owners[chunk])) == 1


def test_each_chunk_is_read_once_and_memory_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, shape = tmp_path / "piece.nc", (60, 4, 80, 80)
    values = np.full(shape, 5000.0, np.float32)
    header = Header(
        np.arange(60) * 3600, np.linspace(59.75, 40, 80), np.linspace(0, 19.75, 80), (1000, 850, 700, 500), ("z",)
    )
    write_content(path, Content(header, {"z": values}))
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        data = data.load()
    data.to_netcdf(path, engine="h5netcdf", encoding={"z": {"chunksizes": (15, 1, 40, 40), "zlib": True}})
    reads: list[tuple[slice, ...]] = []
    real = survey._read
    monkeypatch.setattr(survey, "_read", lambda item, place, path: (reads.append(place), real(item, place, path))[1])
    monkeypatch.setattr(survey, "blocks", lambda shape, chunks: blocks(shape, chunks, 100_000))
    keys = tuple(("z", float(level)) for level in (500, 700, 850, 1000))
    expected = Expected(keys, header.times, (59.75, 0.0, 40.0, 19.75), (0.25, 0.25))
    check_file(path, expected)
    with h5netcdf.File(path) as file:
        chunks = file.variables["z"].chunks
    assert len(reads) > 4
    assert all(part.start % chunk == 0 for place in reads for part, chunk in zip(place, chunks, strict=True))
    # Without the checksum, whose blocks of 4 MiB are larger than this file.
    tracemalloc.start()
    check._survey(path, expected)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.nbytes / 2


# --- grids -----------------------------------------------------------------------------------------------------


def test_expected_grid_of_the_globe_closes_no_circle() -> None:
    grid = expected_grids((90.0, -180.0, -90.0, 180.0), (30.0, 30.0))[0]
    assert grid.latitude.tolist() == [90, 60, 30, 0, -30, -60, -90]
    assert grid.longitude.tolist() == [-180 + 30 * step for step in range(12)]


def test_a_corner_between_grid_points_has_two_right_answers() -> None:
    shifted, multiples = expected_grids((55.1, 114.9, 54.2, 115.5), (0.25, 0.25))
    assert np.allclose(shifted.latitude, [55.1, 54.85, 54.6, 54.35])
    assert multiples.latitude.tolist() == [55.0, 54.75, 54.5, 54.25]
    assert np.allclose(shifted.longitude, [114.9, 115.15, 115.4])
    assert multiples.longitude.tolist() == [115.0, 115.25, 115.5]


# --- real files ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real samples are not beside this checkout")
def test_a_real_file_of_preliminary_data() -> None:
    path = SHARED / "new_cds__u10v10_germany_20251104_hourly_era5t.nc"
    hours = np.arange(24) * 3600 + int(np.datetime64("2025-11-04", "s").astype(np.int64))
    # The request's corner, 55.05 °N 5.9 °E, is no multiple of 0.25°.
    expected = Expected((("u10", None), ("v10", None)), hours, (55.05, 5.9, 47.3, 14.9), (0.25, 0.25))
    found = check_file(path, expected)
    assert found.preliminary
    assert found.missing_share == {"u10": 0.0, "v10": 0.0}


@pytest.mark.parametrize("scalar", [True, False])
@pytest.mark.parametrize("group", ["msl", "z_500_1000"])
def test_a_single_time(piece, group: str, scalar: bool) -> None:
    path = piece(group)
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        data = data.isel(valid_time=3 if scalar else [3]).load()
    data.to_netcdf(path, engine="h5netcdf")
    expected = replace(expected_of(group), seconds=SECONDS[3:4])
    assert check_file(path, expected).first == "1995-07-04T00:00:00"
    assert "lacks 1 of 1 times" in rejected(path, replace(expected, seconds=SECONDS[4:5]))
