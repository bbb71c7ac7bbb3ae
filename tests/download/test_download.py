"""The whole way with the real client against a local data centre: plan, queue, download, check, manifest."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.contract.raw import load_raw
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.core.lock import exclusive
from tests.download.conftest import Open


def test_every_file_comes_once_and_is_listed(opened: Open) -> None:
    place = opened()
    rows = [
        {"variables": ["msl", "tcwv", "tp"]},
        {"variables": ["z"], "levels": [500]},
        {"variables": ["t"], "levels": [850]},
    ]
    summary = place.run(requests=rows)
    assert (summary.files, summary.fetched, summary.complete, summary.preliminary) == (12, 12, True, 0)
    entries = load_raw(place.data / "manifest.json")
    assert {entry.file.name for entry in entries} == set(place.files)
    assert "sl_msl-tcwv_1991-02.nc" in place.files
    assert len(place.ids) == 12
    assert not place.strays
    entry = place.manifest["files"]["sl_msl-tcwv_1991-02.nc"]
    assert entry["variables"] == ["msl", "tcwv"]
    assert (entry["first"], entry["last"]) == ("1991-02-01T00:00:00", "1991-02-28T00:00:00")
    assert entry["request_id"] in place.ids
    again = place.run(requests=rows)
    assert (again.files, again.fetched) == (12, 0)
    assert len(place.ids) == 12


def test_a_variable_or_a_day_more_brings_only_that(opened: Open) -> None:
    place = opened()
    place.run(end="1991-01-31")
    assert place.run(end="1991-02-01").fetched == 1
    assert place.run(end="1991-02-01", requests=[{"variables": ["msl", "sst"]}]).fetched == 2
    assert sorted(place.files) == [
        "sl_msl_1991-01.nc",
        "sl_msl_1991-02-01.nc",
        "sl_sst_1991-01.nc",
        "sl_sst_1991-02-01.nc",
    ]


def test_what_the_table_drops_is_kept_but_not_handed_on(opened: Open) -> None:
    place = opened()
    both = [{"variables": ["msl"]}, {"variables": ["tp"]}]
    place.run(requests=both)
    place.run(requests=both[:1])
    assert {entry.file.name[:6] for entry in load_raw(place.data / "manifest.json")} == {"sl_msl"}
    assert len(place.manifest["unused"]) == 3
    assert place.run(requests=both).fetched == 0
    assert len(place.ids) == 6


def test_a_file_that_is_gone_or_has_changed_is_fetched_again(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    place = opened()
    place.run()
    before = place.files
    (place.data / "sl_msl_1991-01.nc").unlink()
    (place.data / "sl_msl_1991-02.nc").write_bytes(b"short")
    assert place.run().fetched == 2
    assert place.files == before


def test_a_lost_manifest_is_rebuilt_from_good_files_without_a_request(opened: Open) -> None:
    place = opened()
    place.run()
    files = place.manifest["files"]
    (place.data / "manifest.json").unlink()
    (place.data / "sl_msl_1991-03.nc").write_bytes(b"CDF\x01 spoilt")
    place.run()
    assert len(place.ids) == 4
    found = place.manifest["files"]
    assert {name: entry["sha256"] for name, entry in found.items()} == {n: e["sha256"] for n, e in files.items()}


def test_another_area_wants_another_folder(opened: Open) -> None:
    place = opened()
    place.run()
    with pytest.raises(InputError, match="choose another `dataset` name"):
        place.run(area=[50, 115, 20, 155])
    assert len(place.ids) == 3


def test_costs_choose_the_longest_request(opened: Open) -> None:
    place = opened(limit=200)
    assert place.run(end="1991-12-31").fetched == 2
    assert sorted(place.files) == ["sl_msl_1991-01to06.nc", "sl_msl_1991-07to12.nc"]


def test_a_refusal_by_cost_splits_until_it_fits(opened: Open) -> None:
    place = opened(limit=70)
    rows = [{"variables": ["u", "v"], "levels": [500, 850]}]
    summary = place.run(end="1991-02-28", requests=rows)
    assert summary.complete
    # January of both winds on both levels has 124 fields, of one wind 62.
    assert sorted(place.files) == [f"pl_{wind}_500-850_1991-{month}.nc" for wind in "uv" for month in ("01", "02")]
    assert all(len(request["variable"]) == 1 for request in (item.inputs for item in place.centre.submissions))


def test_a_single_field_that_is_too_large_ends_the_job(opened: Open) -> None:
    place = opened(limit=0.5)
    with pytest.raises(InputError, match=r"a single field is too large .*reduce your selection\); change the table"):
        place.run(end="1991-01-02")


def test_a_year_that_is_refused_goes_by_halves(opened: Open) -> None:
    place = opened(limit=200)
    assert place.run(end="1991-12-31", chunk="year").complete
    assert sorted(place.files) == ["sl_msl_1991-01to06.nc", "sl_msl_1991-07to12.nc"]


def test_grib_is_fetched_and_checked(opened: Open) -> None:
    place = opened()
    rows = [{"variables": ["msl"]}, {"variables": ["z"], "levels": [500, 850]}]
    assert place.run(end="1991-01-31", requests=rows, format="grib").complete
    names = [entry.file.name for entry in load_raw(place.data / "manifest.json")]
    assert names == ["pl_z_500-850_1991-01.grib", "sl_msl_1991-01.grib"]
    assert not place.strays


def test_dry_run_writes_nothing_and_says_what_there_is(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened(limit=200)
    text = place.run(end="1991-12-31", dry_run=True).table
    assert text.splitlines()[1].split() == [
        "msl",
        "00",
        "1991-01-01",
        "…",
        "1991-12-31",
        "2",
        "365",
        "0",
        "0",
        "0",
        "2",
    ]
    assert "requests as long as the data centre allows" in text
    assert not place.data.exists()
    assert not place.ids
    place.run(end="1991-03-31")
    monkeypatch.delenv("CDSAPI_KEY")
    text = place.run(end="1991-12-31", dry_run=True).table
    assert text.splitlines()[-2].split() == ["total", "12", "365", "0", "3", "0", "9"]
    assert "no key is set, so costs are not asked for" in text


def test_no_more_requests_in_flight_than_asked_for(opened: Open) -> None:
    place = opened()
    place.run(end="1991-06-30", in_flight=2)
    assert place.centre.most_in_flight <= 2


def test_two_jobs_do_not_share_a_folder(opened: Open) -> None:
    place = opened()
    place.data.mkdir()
    with exclusive(place.data), pytest.raises(EnvironmentFault, match="in use by process"):
        place.run()


def test_no_key_says_where_to_get_one(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened()
    monkeypatch.delenv("CDSAPI_KEY")
    with pytest.raises(InputError, match=r"no key .*https://cds\.climate\.copernicus\.eu/profile.*~/\.cdsapirc"):
        place.run()


def test_an_empty_key_is_no_key(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened()
    monkeypatch.setenv("CDSAPI_KEY", " ")
    with pytest.raises(InputError, match=r"the key for the Climate Data Store .* is empty; get yours at https"):
        place.run()


def test_a_key_from_the_file_works_and_an_open_file_is_warned_about(
    opened: Open, monkeypatch: pytest.MonkeyPatch, isobar_log: list[str]
) -> None:
    place = opened()
    path = Path(place.folder / ".cdsapirc")
    path.write_text(f"url: {place.centre.url}\nkey: {place.centre.key}\n")
    monkeypatch.delenv("CDSAPI_KEY")
    monkeypatch.delenv("CDSAPI_URL")
    path.chmod(0o644)
    assert place.run().complete
    assert any("can be read by others; run: chmod 600" in line for line in isobar_log)
    isobar_log.clear()
    path.chmod(stat.S_IRUSR)
    place.run()
    assert not any("chmod" in line for line in isobar_log)
