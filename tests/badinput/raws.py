"""Wrong raw files and label files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable

import netCDF4
import numpy as np

from tests.badinput.case import Case, Place, Spoil, cut, fault, labels, text

MARCH = "raw/era5_msl_1995-03.nc"


def netcdf(change: Callable[[netCDF4.Dataset], None]) -> Spoil:
    """Change one raw file by the netCDF library."""

    def spoil(place: Place) -> None:
        with netCDF4.Dataset(place.home / MARCH, "r+") as data:
            data.set_auto_maskandscale(False)
            change(data)

    return spoil


def values(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def set_values(data: netCDF4.Dataset) -> None:
        data[name][:] = change(np.asarray(data[name][:]))

    return netcdf(set_values)


def zipped(*members: tuple[str, bytes]) -> Spoil:
    def spoil(place: Place) -> None:
        with zipfile.ZipFile(place.home / MARCH, "w") as archive:
            for name, data in members:
                archive.writestr(name, data)

    return spoil


def no_variable(data: netCDF4.Dataset) -> None:
    data.renameVariable("msl", "gusts")
    for name in ("standard_name", "long_name"):
        data["gusts"].delncattr(name)
    for name in [name for name in data["gusts"].ncattrs() if name.startswith("GRIB_")]:
        data["gusts"].delncattr(name)


def no_coordinate(data: netCDF4.Dataset) -> None:
    for name in data["latitude"].ncattrs():
        if name != "_FillValue":
            data["latitude"].delncattr(name)
    data.renameVariable("latitude", "height_of_something")


def strange_calendar(data: netCDF4.Dataset) -> None:
    data["valid_time" if "valid_time" in data.variables else "time"].calendar = "360_day"


def strange_epoch(data: netCDF4.Dataset) -> None:
    data["valid_time" if "valid_time" in data.variables else "time"].units = "moons since the flood"


def wrong_units(data: netCDF4.Dataset) -> None:
    data["msl"].units = "furlongs"


def folder_in_place(place: Place) -> None:
    (place.home / MARCH).unlink()
    (place.home / MARCH).mkdir()


def second_file(place: Place) -> None:
    (place.raw / "again.nc").write_bytes((place.home / MARCH).read_bytes())


def broken_link(place: Place) -> None:
    (place.home / MARCH).unlink()
    (place.home / MARCH).symlink_to("nowhere.nc")


def derive(kind: str, name: str, says: str, spoil: Spoil | None = None, *more: str) -> Case:
    return Case(kind, name, "derive", says, more=more, spoil=spoil)


RAWS = [
    derive("NetCDF", "raw file missing", r"derive\.raw: .*nothing\.nc", None, "derive.raw=[nothing.nc]"),
    derive("NetCDF", "truncated", r"era5_msl_\S+\.nc: .*(truncated|cannot be read|damaged)", fault("truncated_file")),
    derive("NetCDF", "cut to its first bytes", r"1995-03\.nc: .*(truncated|corrupt)", cut(MARCH, 0.01)),
    derive("NetCDF", "empty", r"1995-03\.nc: is empty; download it again", text(MARCH, "")),
    derive("NetCDF", "text named .nc", r"x\.nc: .*not a? ?NetCDF", text("raw/x.nc", "hello")),
    derive(
        "NetCDF",
        "an HTML page named .nc",
        r"1995-03\.nc: is not NetCDF \(it begins with",
        text(MARCH, "<html>sign in</html>"),
    ),
    derive("NetCDF", "NaN", r"'msl' is missing or infinite in 1 cells, first at 1995", fault("nan")),
    derive("NetCDF", "inf", r"'msl' is missing or infinite in 1 cells", fault("inf")),
    derive(
        "NetCDF",
        "values of other units than said",
        r"'msl' is \d+\.\d+ Pa at .*lies within 85000",
        fault("mislabelled_units"),
    ),
    derive("NetCDF", "no units", r"msl.*units", fault("missing_units")),
    derive("NetCDF", "units that nobody knows", r"furlongs", netcdf(wrong_units)),
    derive("NetCDF", "a time twice", r"(twice|duplicate|ascend, each once)", fault("duplicate_times")),
    derive("NetCDF", "a file twice", r"again\.nc: holds msl.* and so does|holds .*again\.nc", second_file),
    derive("NetCDF", "another variable", r"1 whole months are missing .*1995-03", netcdf(no_variable)),
    derive("NetCDF", "no latitude", r"1995-03\.nc: .*latitude", netcdf(no_coordinate)),
    derive(
        "NetCDF",
        "latitudes beyond the pole",
        r"1995-03\.nc: latitude .* not degrees",
        values("latitude", lambda v: v + 60),
    ),
    derive(
        "NetCDF",
        "a latitude twice",
        r"1995-03\.nc: a latitude or longitude occurs twice",
        values("latitude", lambda v: np.full_like(v, 30)),
    ),
    derive(
        "NetCDF",
        "a latitude that is missing",
        r"1995-03\.nc: a latitude or longitude is missing",
        values("latitude", lambda v: np.where(v == v[0], np.nan, v)),
    ),
    derive(
        "NetCDF",
        "another grid",
        r"1995-03\.nc: its grid has|that of .*1995-03\.nc has",
        values("longitude", lambda v: v + 1),
    ),
    derive("NetCDF", "a calendar of 360 days", r"1995-03\.nc: .*(calendar|360_day)", netcdf(strange_calendar)),
    derive("NetCDF", "times since the flood", r"1995-03\.nc: .*(time|units)", netcdf(strange_epoch)),
    derive(
        "NetCDF", "times that go back", r"1995-03\.nc: .*times must ascend", values("valid_time", lambda v: v[::-1])
    ),
    derive("NetCDF", "a folder named .nc", r"1 whole months are missing .*1995-03", folder_in_place),
    derive("NetCDF", "a link to nowhere", r"1 whole months are missing .*1995-03", broken_link),
    derive("NetCDF", "a ZIP without files", r"1995-03\.nc: a ZIP archive without a file", zipped()),
    derive("NetCDF", "a ZIP with text in it", r"1995-03\.nc.*is not NetCDF", zipped(("readme.txt", b"hello"))),
    derive(
        "NetCDF",
        "a ZIP cut short",
        r"1995-03\.nc: a ZIP archive that is truncated",
        lambda place: [zipped(("a.nc", bytes(5000)))(place), cut(MARCH)(place)][0],
    ),
    derive(
        "NetCDF",
        "GRIB cut short",
        r"1995-03\.nc.*(GRIB|truncated|corrupt)",
        text(MARCH, b"GRIB\x00\x00\x00\x02" + bytes(200)),
    ),
    derive("NetCDF", "a month left out", r"1 whole months are missing", lambda place: (place.home / MARCH).unlink()),
    derive("NetCDF", "unknown field", r"derive\.fields.*'msll'; did you mean 'msl'", None, "derive.fields=[msll]"),
    derive("NetCDF", "a field without its variable", r"derive\.raw: no file holds", None, "derive.fields=[t850]"),
    derive("NetCDF", "unknown time zone", r"derive\.timezone.*Asia/Tokio", None, "derive.timezone=Asia/Tokio"),
    derive("NetCDF", "an hour without data", r"derive\.hours: no time at 7 UTC", None, "derive.hours=[7]"),
    derive("labels", "label file missing", r"nolabels\.csv", None, "derive.labels.files=[nolabels.csv]"),
    derive("labels", "label column missing", r"labels\.csv.*'type'", None, "derive.labels.label_column=type"),
    derive("labels", "date column missing", r"labels\.csv.*'day'", None, "derive.labels.date_column=day"),
    derive("labels", "unreadable date", r"labels\.csv:\d+: .*1995-02-31", labels(lambda t: t + "1995-02-31,1\n")),
    derive(
        "labels",
        "a date the other way round",
        r"labels\.csv:\d+: '31/01/1995' is not a date",
        labels(lambda t: t + "31/01/1995,1\n"),
    ),
    derive("labels", "two labels for a day", r"labels\.csv:\d+: .*1995-01-01", labels(lambda t: t + "1995-01-01,6C\n")),
    derive("labels", "labels of other years", r"(no|none).*label", labels(lambda t: re.sub(r"\n19", "\n18", t))),
    derive("labels", "an empty label file", r"labels\.csv: holds no label", text("raw/labels.csv", "")),
    derive("labels", "a header alone", r"labels\.csv: holds no label", text("raw/labels.csv", "date,label\n")),
    derive(
        "labels",
        "labels in UTF-16",
        r"labels\.csv: not UTF-8",
        text("raw/labels.csv", "date,label\n1995-01-01,1\n".encode("utf-16")),
    ),
    derive(
        "labels",
        "a line cut short",
        r"labels\.csv:\d+: 1 columns, the header has 2",
        labels(lambda t: t + "1995-01-01\n"),
    ),
    derive(
        "labels", "a NUL in a label", r"labels\.csv.*NUL", text("raw/labels.csv", "date,label\n1995-01-01,1\x002A\n")
    ),
    derive(
        "labels",
        "a spreadsheet named .csv",
        r"labels\.csv: not UTF-8|not a CSV",
        text("raw/labels.csv", b"PK\x03\x04\xff\xfe\x80\x81"),
    ),
    derive(
        "labels",
        "semicolons",
        r"labels\.csv:1: no column 'date'.*There are date;label",
        labels(lambda t: t.replace(",", ";")),
    ),
    derive(
        "labels",
        "a cell of a megabyte",
        r"labels\.csv.*(field larger|not a CSV)",
        labels(lambda t: t + "1995-01-01," + "x" * 1_000_000 + "\n"),
    ),
]
