"""Stopped, killed, extended or changed: only what is needed is made, and the outcome is that of one run."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from pipeline.contract.derived import DerivedSpec, load_derived, read_derived
from pipeline.core.artifact import Checksums, describe_files, sha256, write_json
from pipeline.core.errors import EnvironmentFault, InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.derive import netcdf, piece
from pipeline.derive.config import DeriveConfig
from pipeline.derive.inputs import Inputs
from pipeline.testing import World, write_world
from tests.conftest import Place, run_job
from tests.derive.raw_files import contents, load, run, settings

WORLD = World(start=date(1995, 1, 1), days=150, types=("1", "3B"))
MONTHS = [f"1995-{number:02}.nc" for number in range(1, 6)]


@dataclass
class Bench:
    """Raw files of five months, and derivations of them into ``out``."""

    home: Path

    @property
    def out(self) -> Path:
        return self.home / "out"

    def config(self, months: int = 5, **changes: object) -> DeriveConfig:
        raw = sorted((self.home / "raw").glob("*.nc"))[:months]
        labels = {"files": [str(self.home / "raw" / "labels.csv")]}
        return settings(*raw, **{"fields": ["msl", "msl_dt24", "grad_msl"], "labels": labels, **changes})

    def run(self, months: int = 5, **changes: object) -> DerivedSpec:
        return run(self.config(months, **changes), self.out)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    write_world(WORLD, tmp_path / "raw")
    return Bench(tmp_path)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the monthly files in the order in which they are made."""
    names: list[str] = []
    write = piece.Writer.write

    def noting(self: piece.Writer, task: piece.Task, inputs: Inputs) -> piece.Piece:
        names.append(task.file)
        return write(self, task, inputs)

    monkeypatch.setattr(piece.Writer, "write", noting)
    return names


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "isobar")
    return caplog


class After(Interrupt):
    """A stop that is asked for when some months have been made."""

    def __init__(self, months: int) -> None:
        super().__init__()
        self._left = months

    def requested(self) -> bool:
        self._left -= 1
        self.reason = "SIGTERM" if self._left < 0 else None
        return self.reason is not None


# --- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("months", [0, 1, 3])
def test_interrupted_and_gone_on(bench: Bench, made: list[str], months: int) -> None:
    with pytest.raises(Interrupted, match=rf"SIGTERM: {months} of 5 months are saved; run the same command again"):
        run(bench.config(), bench.out, After(months))
    assert made == MONTHS[:months]
    with pytest.raises(InputError, match=rf"unfinished \({months} months so far\); run derive again"):
        load_derived(bench.out)
    assert [item.file for item in read_derived(bench.out).pieces] == MONTHS[:months]
    bench.run()
    assert made == MONTHS, "no month twice"
    run(bench.config(), bench.home / "whole")
    assert contents(bench.out) == contents(bench.home / "whole")


@pytest.mark.parametrize("phase", ["before the file", "after the file", "half a file"])
def test_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    """A kill leaves the state at some call: before the rename, or after it but before the manifest."""

    class Killed(BaseException):
        pass

    write = piece.Writer.write

    def fatal(self: piece.Writer, task: piece.Task, inputs: Inputs) -> piece.Piece:
        if task.file == MONTHS[2]:
            if phase == "half a file":
                (self.folder / f".{task.file}.part").write_bytes(b"half")
            if phase == "after the file":
                write(self, task, inputs)
            raise Killed
        return write(self, task, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(piece.Writer, "write", fatal)
        with pytest.raises(Killed):
            bench.run()
    assert not read_derived(bench.out).complete
    bench.run()
    run(bench.config(), bench.home / "whole")
    assert contents(bench.out) == contents(bench.home / "whole")
    assert not list(bench.out.glob(".*.part"))


def test_only_one_process_works_in_a_folder(bench: Bench) -> None:
    with exclusive(bench.out), pytest.raises(EnvironmentFault, match=r"in use by process \d+"):
        bench.run()


# --- fresh, stale, extended ------------------------------------------------------------------------------------------


def test_a_fresh_run_touches_nothing(bench: Bench, made: list[str]) -> None:
    first = bench.run()
    before = {path: path.stat().st_mtime_ns for path in bench.out.glob("*.nc")}
    manifest = (bench.out / "manifest.json").stat().st_mtime_ns
    made.clear()
    assert bench.run() == first
    assert made == []
    assert {path: path.stat().st_mtime_ns for path in bench.out.glob("*.nc")} == before
    assert (bench.out / "manifest.json").stat().st_mtime_ns == manifest


def test_the_manifest_is_right(bench: Bench) -> None:
    bench.run()
    spec = load_derived(bench.out)
    assert [item.file for item in spec.pieces] == MONTHS
    assert [item.days for item in spec.pieces] == [31, 28, 31, 30, 30]
    assert (spec.pieces[0].first, spec.pieces[-1].last) == ("1995-01-01", "1995-05-30")
    for item in spec.pieces:
        assert (bench.out / item.file).stat().st_size == item.bytes
        assert sha256(bench.out / item.file) == item.sha256
    assert spec.fields == {"msl": "Pa", "msl_dt24": "Pa", "grad_msl": "Pa m-1"}
    assert spec.may_miss == ("msl_dt24",)
    assert list(spec.scalars) == ["f1_season", "f1_season_sin", "f2_season", "f2_season_sin"]
    data = load(bench.out, spec)
    assert data["msl"].dims == ("time", "latitude", "longitude")
    assert data["f1_season"].dims == ("time",)
    assert {name: data[name].attrs["units"] for name in spec.fields} == spec.fields
    assert all(data[name].dtype == "float32" for name in (*spec.fields, *spec.scalars))


def test_an_appended_month(bench: Bench, made: list[str]) -> None:
    """Only the new month is made; its first change in 24 hours looks back into the month before."""
    bench.run(4)
    made.clear()
    spec = bench.run(5)
    assert made == MONTHS[4:]
    change = load(bench.out, spec)["msl_dt24"]
    assert change.isnull().all(("latitude", "longitude")).values.tolist() == [True] + [False] * 149
    run(bench.config(), bench.home / "whole")
    assert contents(bench.out) == contents(bench.home / "whole")


def test_a_month_put_in_front(bench: Bench, made: list[str]) -> None:
    """The month after it changes as well: its first day now has a day before."""
    later = settings(*sorted((bench.home / "raw").glob("*.nc"))[1:], fields=["msl", "msl_dt24", "grad_msl"])
    run(later, bench.out)
    made.clear()
    bench.run(labels={})
    assert made == MONTHS[:2]


def test_a_changed_label(bench: Bench, made: list[str]) -> None:
    bench.run()
    labels = bench.home / "raw" / "labels.csv"
    lines = labels.read_text().splitlines()
    lines[70] = lines[70].split(",")[0] + ",6C"
    labels.write_text("\n".join(lines))
    made.clear()
    spec = bench.run()
    assert made == ["1995-03.nc"]
    data = load(bench.out, spec)
    assert data["label"].values[69] == "6C"


def test_a_changed_raw_file(bench: Bench, made: list[str]) -> None:
    """Its own month, and the next one whose first change in 24 hours comes from it."""
    bench.run()
    other = write_world(World(**{**vars(WORLD), "seed": 5}), bench.home / "other")
    path = sorted((bench.home / "raw").glob("*.nc"))[2]
    path.write_bytes(other.files[2].read_bytes())
    made.clear()
    bench.run()
    assert made == MONTHS[2:4]
    run(bench.config(), bench.home / "whole")
    assert contents(bench.out) == contents(bench.home / "whole")


def test_touched_or_moved_raw_files_are_the_same_files(bench: Bench, made: list[str]) -> None:
    """Contents decide, not times of change or folders."""
    bench.run()
    (bench.home / "raw").rename(bench.home / "elsewhere")
    for path in (bench.home / "elsewhere").iterdir():
        os.utime(path, (1, 1))
    (bench.home / "raw").symlink_to(bench.home / "elsewhere")
    made.clear()
    bench.run()
    assert made == []


@pytest.mark.parametrize("change", [{"fields": ["msl"]}, {"scalars": []}, {"timezone": "Asia/Tokyo"}, {"hours": [0]}])
def test_other_settings_make_everything_anew(bench: Bench, made: list[str], change: dict[str, object]) -> None:
    bench.run(2)
    made.clear()
    bench.run(2, **change)
    assert made == MONTHS[:2]


def test_months_that_are_not_covered_any_more(bench: Bench, made: list[str], heard: pytest.LogCaptureFixture) -> None:
    bench.run()
    made.clear()
    spec = bench.run(3)
    assert [item.file for item in spec.pieces] == MONTHS[:3]
    assert load_derived(bench.out) == spec
    assert made == []
    assert "2 months are not in the raw files any more and leave the data set" in heard.text
    assert "1995-04.nc, 1995-05.nc" in heard.text


@pytest.mark.parametrize("damage", ["gone", "shorter"])
def test_a_lost_month_is_made_again(bench: Bench, made: list[str], damage: str) -> None:
    bench.run()
    before, path = contents(bench.out), bench.out / MONTHS[1]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"1995-02\.nc: (missing|\d+ bytes), expected \d+ bytes"):
        load_derived(bench.out)
    made.clear()
    bench.run()
    assert made == [MONTHS[1]]
    assert contents(bench.out) == before


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema_version": 1, "format": 99}', '{"schema_version": 1, "format": 1}']
)
def test_a_manifest_that_cannot_be_used(
    bench: Bench, made: list[str], heard: pytest.LogCaptureFixture, text: str
) -> None:
    bench.run(2)
    before = contents(bench.out)
    (bench.out / "manifest.json").write_text(text)
    made.clear()
    bench.run(2)
    assert made == MONTHS[:2]
    assert "the manifest cannot be used" in heard.text
    assert contents(bench.out) == before


@pytest.mark.parametrize("compression", ["lz4", "zlib", "none"])
def test_compression_changes_bytes_only(bench: Bench, compression: str) -> None:
    spec = bench.run(1, compression=compression)
    plain = run(bench.config(1, compression="none"), bench.home / "plain")
    assert load(bench.out, spec).identical(load(bench.home / "plain", plain))


def test_appending_to_a_yearly_file(tmp_path: Path, made: list[str]) -> None:
    """The file of the year grows: all months that come from it are made again, those of other years are not."""
    for year, count in (("first", 365 + 59), ("second", 365 + 90)):
        write_world(World(start=date(1995, 1, 1), days=count, per="year", types=("1", "3B")), tmp_path / year)
    config = settings(tmp_path / "raw" / "*.nc", fields=["msl", "msl_dt24"])
    (tmp_path / "raw").symlink_to(tmp_path / "first")
    run(config, tmp_path / "out")
    made.clear()
    (tmp_path / "raw").unlink()
    (tmp_path / "raw").symlink_to(tmp_path / "second")
    run(config, tmp_path / "out")
    assert made == ["1996-01.nc", "1996-02.nc", "1996-03.nc"]


# --- what a download hands over --------------------------------------------------------------------------------------


def hand_over(folder: Path, complete: bool = True) -> Path:
    """Write the manifest of a download of the files in ``folder``."""
    entries = describe_files(folder, sorted(path.name for path in folder.glob("*.nc")))
    files = {name: {**entry, "preliminary": False} for name, entry in entries.items()}
    write_json(folder / "manifest.json", {"format": 1, "complete": complete, "files": files})
    return folder / "manifest.json"


def test_a_manifest_stands_for_its_files(bench: Bench, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Same bytes as with globs, and no raw file is hashed, because the download has done it."""
    bench.run()
    manifest = hand_over(bench.home / "raw")
    before = contents(bench.out)
    hashed: list[Path] = []
    monkeypatch.setattr(Checksums, "of", lambda self, path: hashed.append(path) or sha256(path))
    made.clear()
    config = bench.config().model_copy(update={"raw": [str(manifest)]})
    spec = run(config, bench.out)
    assert (made, hashed) == ([], [])
    assert spec.sources[0] == str(manifest)
    after = contents(bench.out)
    assert {name: data for name, data in after.items() if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    run(bench.config().model_copy(update={"raw": [str(manifest), "raw/*.nc"]}), bench.home / "both")
    assert hashed == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("unfinished", r"manifest\.json: the download is unfinished"),
        ("absent", r"derive\.raw: .*manifest\.json is not there; run download"),
        ("empty", r"manifest\.json: lists no file"),
        ("changed", r"manifest\.json: 1 files are missing or have changed: .*1995-03\.nc"),
    ],
)
def test_manifests_that_are_refused(bench: Bench, spoil: str, says: str) -> None:
    manifest = hand_over(bench.home / "raw", complete=spoil != "unfinished")
    if spoil == "absent":
        manifest.unlink()
    if spoil == "empty":
        write_json(manifest, {"format": 1, "complete": True, "files": {}})
    if spoil == "changed":
        path = bench.home / "raw" / "era5_msl_1995-03.nc"
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=says):
        run(settings(manifest), bench.out)


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 5, 20, 40, 80])
def test_a_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Wherever it fills up, one line and no half-written file; and when it is mended, the same bytes."""
    writes = 0
    write = os.pwrite

    def full(handle: int, data: bytes, place: int) -> int:
        nonlocal writes
        writes += len(data) > 40
        if writes > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data, place)

    with monkeypatch.context() as patch:
        patch.setattr(netcdf.os, "pwrite", full)
        with pytest.raises(EnvironmentFault, match=r"cannot write, the disk is full; mend that and run the same"):
            run(bench.config(), bench.out)
    assert not list(bench.out.glob(".*.part"))
    bench.run()
    run(bench.config(), bench.home / "whole")
    assert contents(bench.out) == contents(bench.home / "whole")


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_job(raw_place: Place, tmp_path: Path) -> None:
    place = raw_place.copy(tmp_path)
    first = run_job("derive", place.config)
    assert first.code == 0, first.text
    assert "460 days, 1994-12-01 to 1996-03-04" in first.text
    folder = place.one("data/derived/tiny-*")
    again = run_job("derive", place.config)
    assert again.code == 0
    assert "0 months made, 16 were fresh" in again.text
    assert json.loads((folder / "coverage.json").read_text())["missing_days"] == []
