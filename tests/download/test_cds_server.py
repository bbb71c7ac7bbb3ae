"""The made-up Climate Data Store answers the real clients as the real one does, and fails as it is told to."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cdsapi  # type: ignore[import-untyped]
import numpy as np
import pytest
import requests
from ecmwf import datastores
from ecmwf.datastores.processing import ProcessingFailedError

from pipeline.core.errors import InputError
from pipeline.synthetic.cds_faults import FAULTS, Fault, Rules
from pipeline.synthetic.cds_request import ON_LEVELS, SINGLE, Invalid, select
from pipeline.synthetic.cds_server import CdsServer
from pipeline.synthetic.files import Content, read_content
from pipeline.testing import World, write_world
from tests.conftest import ROOT

MONTH: dict[str, Any] = {
    "product_type": ["reanalysis"],
    "variable": ["mean_sea_level_pressure"],
    "year": ["1995"],
    "month": ["02"],
    "day": [f"{day:02d}" for day in range(1, 32)],
    "time": ["00:00"],
    "data_format": "netcdf",
    "download_format": "unarchived",
    "area": [55, 115, 15, 155],
}
FEW = {**MONTH, "day": ["01", "02", "03", "04"]}

Start = Callable[..., CdsServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server with the options given."""
    servers: list[CdsServer] = []

    def begin(**options: Any) -> CdsServer:
        server = CdsServer(tmp_path / "cds", **{"native": 5.0, "stall_seconds": 0.3, "slow_seconds": 0.2, **options})
        server.start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client asks for a status each second at first; here a fiftieth of that is enough."""
    quick = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 50))
    monkeypatch.setattr("ecmwf.datastores.processing.time", quick)


def client(server: CdsServer, tries: int = 1, **more: Any) -> datastores.Client:
    options = {"key": server.key, "timeout": 60, **more}
    return datastores.Client(server.url, progress=False, maximum_tries=tries, retry_after=0, **options)


def fetch(server: CdsServer, target: Path, inputs: dict[str, Any] = FEW, dataset: str = SINGLE) -> Content:
    return read_content(Path(client(server).retrieve(dataset, inputs, str(target))))


def asset(server: CdsServer, inputs: dict[str, Any] = FEW) -> dict[str, Any]:
    return client(server).submit(SINGLE, inputs).get_results().asset


# --- as it should be ------------------------------------------------------------------------------------------------
def test_the_old_client_gets_the_invented_weather(start: Start, tmp_path: Path) -> None:
    server = start()
    old = cdsapi.Client(server.url, server.key, quiet=True, progress=False)
    names = {**MONTH, "variable": ["sea_surface_temperature", "mean_sea_level_pressure"]}
    got = read_content(Path(old.retrieve(SINGLE, names, str(tmp_path / "got.nc"))))
    raw = write_world(World(start=date(1995, 2, 1), days=28, groups=("msl", "sst")), tmp_path / "world")
    for path in raw.files:
        world = read_content(path)
        np.testing.assert_array_equal(got.header.times, world.header.times)
        for name, values in world.arrays.items():
            np.testing.assert_array_equal(got.arrays[name], values)


def test_the_same_request_gives_the_same_bytes_after_a_restart(start: Start, tmp_path: Path) -> None:
    first = start()
    path = Path(client(first).retrieve(SINGLE, FEW, str(tmp_path / "first.nc")))
    first.stop()
    with CdsServer(tmp_path / "other", native=5.0) as second:
        again = Path(client(second).retrieve(SINGLE, {**FEW, "day": FEW["day"][::-1]}, str(tmp_path / "second.nc")))
    assert path.read_bytes() == again.read_bytes()


def test_what_a_job_tells_about_itself(start: Start) -> None:
    server = start()
    here = client(server)
    remote = here.submit(SINGLE, FEW)
    assert here.get_remote(remote.request_id).status == "successful"
    assert (remote.collection_id, remote.request) == (SINGLE, FEW)
    assert remote.started_at is not None
    assert remote.finished_at is not None
    assert remote.created_at <= remote.started_at <= remote.finished_at == remote.updated_at
    results = here.get_results(remote.request_id)
    data = requests.get(results.location, timeout=60).content
    assert results.content_length == len(data)
    assert results.content_type == "application/netcdf"
    assert results.asset["file:checksum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert server.submissions[0].inputs == FEW
    assert server.submissions[0].id == remote.request_id


def test_jobs_wait_run_and_end_in_turn(start: Start) -> None:
    server = start(queue_seconds=3600, run_seconds=3600, slots=1)
    here = client(server)
    first, second = here.submit(SINGLE, FEW), here.submit(SINGLE, FEW)
    assert (first.status, second.status) == ("accepted", "accepted")
    with pytest.raises(requests.HTTPError, match=r"404.*\n.*job results not ready"):
        first._make_results(wait=False)
    server.change(queue_seconds=0)
    assert (first.status, second.status) == ("running", "accepted")
    assert first.started_at is not None
    # The first ends now, which is after both came: the second can only have waited for the slot.
    server.change(run_seconds=time.time() - first.started_at.timestamp())
    second.get_results()
    assert second.started_at is not None
    assert second.started_at == first.finished_at, "one slot: the second starts when the first ends"
    assert server.most_in_flight == 2


def test_lists_of_jobs_have_pages_and_can_be_filtered(start: Start) -> None:
    server = start(faults=["failed:1"])
    here = client(server)
    ids = [here.submit(SINGLE, FEW).request_id for _ in range(5)]
    page = here.get_jobs(limit=2, sortby="created")
    assert page.request_ids == ids[:2]
    assert page.prev is None
    following = page.next
    assert following is not None
    assert following.request_ids == ids[2:4]
    assert following.prev is not None
    assert following.prev.request_ids == ids[:2]
    assert following.next is not None
    assert following.next.request_ids == ids[4:]
    assert following.next.next is None
    assert here.get_jobs().request_ids == ids[::-1], "the latest first"
    assert here.get_jobs(status="failed").request_ids == ids[:1]
    assert len(here.get_jobs(status=["failed", "successful"]).request_ids) == 5
    here.delete(*ids[1:3])
    here.get_remote(ids[3]).delete()
    assert here.get_jobs().request_ids == [ids[4], ids[0]]
    with pytest.raises(requests.HTTPError, match=f"404.*\njob not found\njob {ids[3]} not found"):
        here.get_remote(ids[3])
    assert len(server.submissions) == 5


def test_the_catalogue_and_the_profile(start: Start) -> None:
    server = start(accepted=False, latest=date(2020, 1, 31))
    here = client(server)
    assert here.get_collections().collection_ids == here.get_processes().collection_ids == [SINGLE, ON_LEVELS]
    collection = here.get_collection(SINGLE)
    assert collection.end_datetime is not None
    assert collection.end_datetime.date() == date(2020, 1, 31)
    assert "total_precipitation" in here.apply_constraints(SINGLE, FEW)["variable"]
    assert "500" in collection.form[0].get("pressure_level", ["500"])
    assert here.check_authentication()["sub"]
    assert here.get_accepted_licences() == []
    with pytest.raises(requests.HTTPError) as caught:
        here.submit(SINGLE, FEW)
    where = f"{server.url.removesuffix('/api')}/datasets/{SINGLE}?tab=download#manage-licences"
    assert str(caught.value).splitlines()[1:] == [
        "required licences not accepted",
        f"Not all the required licences have been accepted; please visit {where} to accept the required licence(s).",
    ]
    for licence in here.get_licences():
        here.accept_licence(licence["id"], licence["revision"])
    assert len(here.get_accepted_licences()) == 1
    assert collection.submit(FEW).status == "successful"


def test_cost_and_limits(start: Start) -> None:
    server = start(limit=50, queued=2, queue_seconds=60)
    here = client(server)
    two = {**MONTH, "variable": ["geopotential", "temperature"], "pressure_level": ["500", "850"]}
    assert here.estimate_costs(SINGLE, MONTH) | {"id": "size", "cost": 28.0, "limit": 50.0} == here.estimate_costs(
        SINGLE, MONTH
    )
    assert here.estimate_costs(ON_LEVELS, two)["cost"] == 2 * 2 * 28
    with pytest.raises(
        requests.HTTPError, match=r"403.*\ncost limits exceeded\nYour request is too large, please reduce"
    ):
        here.submit(ON_LEVELS, two)
    here.submit(SINGLE, MONTH)
    here.submit(SINGLE, MONTH)
    crowded = here.submit(SINGLE, MONTH)
    assert crowded.status == "rejected"
    with pytest.raises(requests.HTTPError, match=r"The job has been rejected\nNumber queued requests for this dataset"):
        crowded.get_results()


def test_too_many_requests_are_told_to_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("pipeline.synthetic.cds_service.time", SimpleNamespace(monotonic=lambda: now[0]))
    server = start(rate=(3, 0.5))
    url = f"{server.url}/catalogue/v1/messages"
    answers = [requests.get(url, timeout=60) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["Retry-After"] == "1"
    assert answers[3].json()["detail"] == "Rate limit exceeded. Please wait 1 seconds."
    now[0] += 0.5
    assert requests.get(url, timeout=60).status_code == 200


# --- what requests mean ---------------------------------------------------------------------------------------------
def test_levels_times_and_areas_come_as_asked(start: Start, tmp_path: Path) -> None:
    server = start()
    words = {
        **FEW,
        "variable": ["temperature", "u_component_of_wind"],
        "pressure_level": ["500", "850"],
        "time": ["12:00", "00:00"],
        "area": [52, 117, 18, 141],
        "grid": [2.0, 4.0],
    }
    got = fetch(server, tmp_path / "got.nc", words, ON_LEVELS)
    assert got.header.levels == (850, 500)
    assert got.header.latitude.tolist() == list(range(52, 16, -4)), "multiples of the spacing inside the area"
    assert got.header.longitude.tolist() == list(range(118, 142, 2))
    assert np.diff(got.header.times).tolist() == [43_200] * 7
    for values in got.arrays.values():
        # Noon is half way between the days, packed to 16 bits.
        step = 2.0**-8
        between = (values[0:-2:2].astype(float) + values[2::2]) / 2
        assert np.abs(values[1:-1:2] - between).max() <= step
        assert values.std() > 1


@pytest.mark.parametrize(
    ("change", "days", "first"),
    [
        ({"month": ["01", "02"]}, 59, "1995-01-01"),
        ({"date": "1995-02-27/1995-03-02", "year": ["2000"]}, 4, "1995-02-27"),
        ({"date": ["1995-02-27", "1996-02-29"]}, 2, "1995-02-27"),
        ({"year": "2020", "month": "1"}, 15, "2020-01-01"),
    ],
)
def test_which_days_a_request_has(change: dict[str, Any], days: int, first: str) -> None:
    found = select(SINGLE, {**MONTH, **change}, date(2020, 1, 15)).days
    assert (len(found), str(found[0])) == (days, first)


@pytest.mark.parametrize(
    ("area", "grid", "rows", "columns"),
    [
        (None, None, 73, 144),
        ([90, -180, -90, 180], None, 73, 144),
        ([60, 350, 50, 10], [5, 5], 3, 5),
        ([10.2, 10.1, 10.1, 10.2], None, 0, 0),
    ],
)
def test_which_points_a_request_has(
    area: list[float] | None, grid: list[float] | None, rows: int, columns: int
) -> None:
    words = {key: value for key, value in {**MONTH, "area": area, "grid": grid}.items() if value is not None}
    lat, lon = select(SINGLE, words, date(2020, 1, 1)).points(2.5)
    assert (len(lat), len(lon)) == (rows, columns)


@pytest.mark.parametrize(
    "change",
    [
        {"variable": ["msl"]},
        {"variable": ["temperature"]},
        {"product_type": ["ensemble_mean"]},
        {"time": ["24:00"]},
        {"month": ["winter"]},
        {"day": []},
        {"area": [15, 115, 55, 155]},
        {"area": [15, 115]},
        {"grid": [0, 1]},
        {"data_format": "netcdf_legacy"},
        {"year": ["2021"]},
        {"year": ["1939"]},
    ],
)
def test_a_request_for_what_there_is_not(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        select(SINGLE, {**MONTH, **change}, date(2020, 1, 31))


def test_refusals_are_told_as_the_service_does(start: Start) -> None:
    server = start(latest=date(2020, 1, 31))
    here = client(server)
    with pytest.raises(requests.HTTPError) as caught:
        here.submit(SINGLE, {**MONTH, "year": ["2021"]})
    assert "The latest date available for this dataset is: 2020-01-31 23:00" in str(caught.value)
    assert caught.value.response is not None
    assert caught.value.response.json()["title"] == "invalid request"
    with pytest.raises(requests.HTTPError, match=r"404.*\nprocess not found\ndataset era6 not found"):
        here.submit("era6", MONTH)
    with pytest.raises(requests.HTTPError, match=r"401.*\nAuthentication failed\noperation not allowed"):
        client(server, key="wrong").submit(SINGLE, MONTH)
    bare = requests.post(f"{server.url}/retrieve/v1/processes/{SINGLE}/execution", json={"inputs": MONTH}, timeout=60)
    assert (bare.status_code, bare.json()["detail"]) == (401, "authentication required")
    token = {"PRIVATE-TOKEN": server.key}
    odd = requests.post(f"{server.url}/retrieve/v1/processes/{SINGLE}/execution", data=b"[", headers=token, timeout=60)
    assert odd.status_code == 422
    assert server.submissions == []


def test_no_point_in_the_area_fails_the_job(start: Start) -> None:
    with pytest.raises(
        requests.HTTPError, match=r"The job has failed\n(.*\n)*The job failed with: MultiAdaptorNoDataError"
    ):
        asset(start(), {**FEW, "area": [21, 116, 20.5, 117]})


# --- what files are -------------------------------------------------------------------------------------------------
def test_accumulated_and_instantaneous_variables_come_as_an_archive(start: Start, tmp_path: Path) -> None:
    mixed = {**FEW, "variable": ["total_precipitation", "mean_sea_level_pressure"]}
    target = client(start()).retrieve(SINGLE, mixed, str(tmp_path / "mixed.nc"))
    with zipfile.ZipFile(target) as archive:
        assert sorted(archive.namelist()) == [f"data_stream-oper_stepType-{kind}.nc" for kind in ("accum", "instant")]
        archive.extractall(tmp_path)
    assert read_content(tmp_path / "data_stream-oper_stepType-accum.nc").header.names == ("tp",)
    assert read_content(tmp_path / "data_stream-oper_stepType-instant.nc").header.names == ("msl",)


def test_archive_and_grib_on_demand(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("eccodes", reason="the extra 'grib' is not installed")
    server = start()
    assert asset(server, {**FEW, "download_format": "zip"})["type"] == "application/zip"
    mixed = {**FEW, "variable": ["total_precipitation", "mean_sea_level_pressure"], "data_format": "grib"}
    path = Path(client(server).retrieve(SINGLE, mixed, str(tmp_path / "mixed.grib")))
    assert path.read_bytes().count(b"GRIB\x00") == 8, "4 times of 2 variables in one file"


def test_the_latest_days_are_preliminary_and_those_after_are_absent(start: Start, tmp_path: Path) -> None:
    import netCDF4

    server = start(final_until=date(1995, 2, 2), latest=date(1995, 2, 3))
    client(server).retrieve(SINGLE, FEW, str(tmp_path / "tail.nc"))
    with netCDF4.Dataset(tmp_path / "tail.nc") as dataset:
        assert dataset["expver"][:].tolist() == ["0001", "0001", "0005"]
    server.change(final_until=None, latest=None)
    client(server).retrieve(SINGLE, FEW, str(tmp_path / "final.nc"))
    with netCDF4.Dataset(tmp_path / "final.nc") as dataset:
        assert dataset["expver"][:].tolist() == ["0001"] * 4


def test_parts_of_files_can_be_had(start: Start) -> None:
    href = asset(start())["href"]
    whole = requests.get(href, timeout=60)
    size = len(whole.content)
    head = requests.head(href, timeout=60)
    assert (head.headers["Content-Length"], head.headers["Accept-Ranges"], head.content) == (str(size), "bytes", b"")
    rest = requests.get(href, headers={"Range": "bytes=100-"}, timeout=60)
    assert (rest.status_code, rest.content) == (206, whole.content[100:])
    assert rest.headers["Content-Range"] == f"bytes 100-{size - 1}/{size}"
    assert requests.get(href, headers={"Range": "bytes=5-9"}, timeout=60).content == whole.content[5:10]
    assert requests.get(href, headers={"Range": f"bytes={size}-"}, timeout=60).status_code == 416


# --- faults ---------------------------------------------------------------------------------------------------------
REFUSALS = {
    "http_500": "500 Server Error",
    "http_502": "502 Server Error: Bad Gateway",
    "http_503": "503 Server Error: Service Unavailable",
    "http_504": "504 Server Error: Gateway Time",
    "http_429": "429 Client Error.*\nrate limit exceeded\nRate limit exceeded. Please wait 1 seconds.",
    "bad_key": "401 Client Error.*\nAuthentication failed",
    "licence": "403 Client Error.*\nrequired licences not accepted\nNot all .* visit http.*#manage-licences to accept",
    "cost": "403 Client Error.*\ncost limits exceeded",
    "invalid": "400 Client Error.*\ninvalid request\nRequest has not produced a valid combination",
    "malformed": "422 Client Error.*\ninvalid parameter",
}
JOBS = {
    "failed": "The job has failed\nMARS has returned an error(.*\n)*.*MarsRuntimeError",
    "no_data": "The job has failed\nYour request has not found any data(.*\n)*.*MultiAdaptorNoDataError",
    "rejected": "The job has been rejected\nNumber queued requests for this dataset is temporarily limited",
    "forgotten": "404.*\njob not found",
}
FILES = {"zip", "missing_day", "wrong_variable", "nan", "wrong_grid", "preliminary"}
BYTES = {"empty", "html_file", "corrupt", "cut", "wrong_size"}
BODIES = {"reset_body", "short_body", "stall_body", "flipped_body", "html_page", "no_range"}
OTHERS = {"html_answer", "gone", "expired", "no_cost", "reset", "silent", "slow", "lost_reply", "stuck"}


def test_every_fault_is_tried() -> None:
    assert {*REFUSALS, *JOBS, *FILES, *BYTES, *BODIES, *OTHERS} == set(FAULTS)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal(start: Start, name: str) -> None:
    server = start(faults=[Fault(name, times=1, on=("submit",))])
    here = client(server)
    with pytest.raises(requests.HTTPError, match=REFUSALS[name]):
        here.submit(SINGLE, FEW)
    assert here.submit(SINGLE, FEW).status == "successful"
    assert len(server.submissions) == 1
    assert server.faults.struck == {name: 1}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_ends_badly(start: Start, name: str) -> None:
    server = start(faults={name: 1})
    here = client(server)
    with pytest.raises((requests.HTTPError, ProcessingFailedError), match=JOBS[name]):
        here.submit(SINGLE, FEW).get_results()
    assert here.submit(SINGLE, FEW).get_results().content_length > 0
    assert len(server.submissions) == 2


def test_a_job_that_never_ends(start: Start) -> None:
    server = start(faults=["stuck:1"])
    assert client(server).submit(SINGLE, FEW).status == "accepted"
    assert client(server).submit(SINGLE, FEW).status == "successful", "it does not stop the others"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_not_what_was_asked_for(start: Start, tmp_path: Path, name: str) -> None:
    server = start(faults={name: 1})
    sound = {"got.nc": fetch(start(faults={}), tmp_path / "sound.nc")}["got.nc"]
    path = Path(client(server).retrieve(SINGLE, FEW, str(tmp_path / "got.nc")))
    if name == "zip":
        assert server.faults.struck == {name: 1}
        assert zipfile.is_zipfile(path)
        assert asset(server)["href"].endswith(".nc")
        return
    got = read_content(path)
    if name == "preliminary":
        import netCDF4

        with netCDF4.Dataset(path) as dataset:
            assert set(dataset["expver"][:]) == {"0005"}
    different = {
        "missing_day": got.header.times.tolist() == np.delete(sound.header.times, 2).tolist(),
        "wrong_variable": got.header.names == ("z",),
        "nan": np.isnan(got.arrays.get("msl", np.zeros(1))).sum() == 8,
        "wrong_grid": got.header.latitude.tolist() == sound.header.latitude[::2].tolist(),
    }
    assert different.get(name, True)
    again = fetch(server, tmp_path / "again.nc")
    np.testing.assert_array_equal(again.arrays["msl"], sound.arrays["msl"])


@pytest.mark.parametrize("name", sorted(BYTES))
def test_bytes_that_are_not_a_file(start: Start, name: str) -> None:
    server = start(faults=[f"{name}:1"])
    told, sound = asset(server), asset(server)
    data, right = (requests.get(item["href"], timeout=60).content for item in (told, sound))
    assert len(right) == sound["file:size"]
    expected = {
        "empty": data == b"",
        "html_file": data.startswith(b"<html>"),
        "corrupt": len(data) == len(right) and data != right and data[: len(data) // 2] == right[: len(data) // 2],
        "cut": data == right[: len(data)] and 0 < len(data) < len(right),
        "wrong_size": data == right and told["file:size"] == len(right) + 7,
    }
    assert expected[name]
    assert name == "wrong_size" or told["file:size"] == len(data)


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_transfer_that_goes_wrong_once(start: Start, tmp_path: Path, name: str) -> None:
    server = start(faults={name: 1})
    right = asset(server)
    href, size = right["href"], right["file:size"]
    if name in ("reset_body", "short_body", "stall_body"):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            requests.get(href, timeout=60)
    elif name == "no_range":
        answer = requests.get(href, headers={"Range": "bytes=9-"}, timeout=60)
        assert (answer.status_code, len(answer.content)) == (200, size)
        assert "Accept-Ranges" not in answer.headers
    else:
        data = requests.get(href, timeout=60).content
        assert hashlib.md5(data, usedforsecurity=False).hexdigest() != right["file:checksum"]
        assert (len(data) == size) == (name == "flipped_body")
    assert len(requests.get(href, timeout=60).content) == size


@pytest.mark.parametrize("name", ["reset_body", "short_body", "stall_body"])
def test_the_real_client_takes_a_broken_transfer_up_again(start: Start, tmp_path: Path, name: str) -> None:
    server = start(native=0.25, faults={name: 1})
    # The client writes whole mebibytes; half of the file must be more than that.
    winds = {**MONTH, "variable": ["10m_u_component_of_wind", "10m_v_component_of_wind"], "data_format": "grib"}
    pytest.importorskip("eccodes", reason="the extra 'grib' is not installed")
    remote = client(server, tries=5).submit(SINGLE, winds)
    path = Path(remote.download(str(tmp_path / "got.grib")))
    right = remote.get_results().asset
    assert hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == right["file:checksum"]
    again = [line for line in server.requests if line["status"] == 206]
    assert len(again) == 1
    assert 0 < again[0]["bytes"] < right["file:size"], "only the rest was sent again"


def test_what_was_sent_before_a_reset_is_there_for_a_late_reader(start: Start) -> None:
    server = start(native=0.25, faults=["reset_body:1"])
    # Half of it is more than a socket holds for who does not read.
    right = asset(server, {**MONTH, "variable": ["10m_u_component_of_wind", "10m_v_component_of_wind"]})
    arrived, block = 0, 1 << 12
    with requests.get(right["href"], stream=True, timeout=60) as answer:
        time.sleep(0.3)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            for part in answer.iter_content(block):
                arrived += len(part)
    assert 0 <= right["file:size"] // 2 - arrived < block


def test_the_connection(start: Start) -> None:
    server = start(stall_seconds=60, faults=["reset:1", "silent:1", "slow:1", "html_answer:1"])
    url = f"{server.url}/catalogue/v1/messages"
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=60)
    with pytest.raises(requests.ReadTimeout):
        requests.get(url, timeout=(60, 0.25))
    # A busy server may take the request up after the client has left; only then is the fault spent.
    server.wait_for(lambda server: server.faults.struck["silent"], 60)
    began = time.monotonic()
    assert requests.get(url, timeout=60).headers["Content-Type"] in ("application/json", "text/html")
    assert time.monotonic() - began >= 0.2
    assert requests.get(url, timeout=60).json() == {"messages": []}
    assert server.faults.struck == {"reset": 1, "silent": 1, "slow": 1, "html_answer": 1}


def test_an_answer_that_is_lost_leaves_the_job_in_the_list(start: Start) -> None:
    server = start(faults={"lost_reply": 1})
    with pytest.raises(requests.ConnectionError):
        client(server).submit(SINGLE, FEW)
    assert client(server).get_jobs().request_ids == [server.submissions[0].id]


def test_results_and_files_that_are_gone(start: Start, tmp_path: Path) -> None:
    server = start(faults=["expired:1", "gone:1", "no_cost:1"])
    here = client(server)
    remote = here.submit(SINGLE, FEW)
    with pytest.raises(requests.HTTPError, match=r"404.*\nresults expired"):
        remote.get_results()
    results = remote.get_results()
    assert requests.get(results.location, timeout=60).status_code == 404
    results.download(str(tmp_path / "got.nc"))
    with pytest.raises(requests.HTTPError, match="500"):
        here.estimate_costs(SINGLE, FEW)


def test_rules_say_when_a_fault_strikes() -> None:
    def struck(*rules: Fault | str, kind: str = "submit", texts: str = "aaaaaa") -> str:
        faults = Rules(rules)
        return "".join("x" if faults.strike("job", kind, text) else "." for text in texts)

    assert struck("failed") == "xxxxxx"
    assert struck("failed:2") == "xx...."
    assert struck(Fault("failed", every=3)) == "..x..x"
    assert struck(Fault("failed", times=1, every=2)) == ".x...."
    assert struck(Fault("failed", match="b"), texts="abab") == ".x.x"
    assert struck("failed", kind="status") == "......"
    assert struck(Fault("failed", on=("status",)), kind="status") == "xxxxxx"
    drawn = struck(Fault("failed", share=0.3), texts="a" * 1000)
    assert 250 < drawn.count("x") < 350
    assert drawn == struck(Fault("failed", share=0.3), texts="a" * 1000), "drawn by a fixed seed"
    rules = Rules({"failed": 3})
    rules.strike("job", "submit", "")
    assert rules.left("failed") == 2
    rules.clear()
    assert not rules.strike("job", "submit", "")
    with pytest.raises(InputError, match="fault: unknown name 'failled'; did you mean 'failed'"):
        Rules(["failled"])


# --- a process of its own -------------------------------------------------------------------------------------------
@pytest.fixture
def port() -> Iterator[int]:
    """Keep a port from all who ask for any free one, so that it is there again after a server's end.

    It is bound and not listened at: connections are refused until a server, which reuses addresses, listens there.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield keeper.getsockname()[1]


def serve(folder: Path, port: int, *more: str) -> tuple[subprocess.Popen[str], str, str]:
    """Start the command and return it with the url and key that it prints."""
    words = ["--folder", str(folder), "--port", str(port), "--native", "5", *more]
    command = [sys.executable, "-m", "pipeline.synthetic.cds_server", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url, key = (process.stdout.readline().strip().split(": ", 1)[1] for _ in range(2))
    return process, url, key


def test_a_killed_server_goes_on_where_it_was(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first, url, key = serve(tmp_path / "cds", port, "--run-seconds", "0.4")
    monkeypatch.setenv("CDSAPI_URL", url)
    monkeypatch.setenv("CDSAPI_KEY", key)
    here = datastores.Client(url, key, progress=False, maximum_tries=1, retry_after=0)
    done = here.submit(SINGLE, FEW)
    before = Path(done.download(str(tmp_path / "before.nc"))).read_bytes()
    waiting = here.submit(SINGLE, MONTH).request_id
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=120)
    with pytest.raises(requests.ConnectionError):
        here.get_remote(waiting)
    second, again, _ = serve(tmp_path / "cds", port, "--run-seconds", "0.4")
    try:
        assert again == url
        assert len(read_content(Path(here.download_results(waiting, str(tmp_path / "waited.nc")))).header.times) == 28
        assert Path(done.download(str(tmp_path / "after.nc"))).read_bytes() == before
        lines = [json.loads(line) for line in (tmp_path / "cds/requests.jsonl").read_text().splitlines()]
        assert sum(line["kind"] == "submit" for line in lines) == 2, "each request was sent once"
    finally:
        second.kill()
        second.communicate(timeout=120)


def test_a_server_that_is_stopped_and_started_keeps_its_address(start: Start, port: int) -> None:
    server = start(port=port)
    url, here = server.url, client(server)
    request_id = here.submit(SINGLE, FEW).request_id
    server.stop()
    with pytest.raises(requests.ConnectionError):
        here.get_remote(request_id)
    server.start()
    assert server.url == url
    assert here.get_remote(request_id).status == "successful"
    assert (server.count("submit"), server.count("status", 200)) == (1, 2)


def test_a_wrong_word_on_the_command_line(tmp_path: Path) -> None:
    words = ["--folder", str(tmp_path), "--fault", "fire:1"]
    command = [sys.executable, "-m", "pipeline.synthetic.cds_server", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: fault: unknown name 'fire'")
