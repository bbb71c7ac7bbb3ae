"""Every way a data centre, a network or a person can fail a download, and what the user reads."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.download.cds import Access, Cds
from pipeline.download.outcome import Hiccup
from pipeline.synthetic.cds_faults import Fault
from tests.conftest import ROOT, run_job
from tests.download.conftest import Open, Place, write_config

ONE = {"end": "1991-01-31", "in_flight": 1}


@pytest.mark.parametrize(
    ("fault", "requests", "said"),
    [
        # Answers.
        (Fault("http_500", 2, on=("submit",)), 1, "the server answered 500 Internal Server Error; again in"),
        (Fault("http_502", 1, on=("status",)), 1, "the server answered 502 Bad Gateway; again in"),
        (Fault("http_503", 1, on=("results",)), 1, "the server answered 503 Service Unavailable; again in"),
        (Fault("http_504", 1, on=("download",)), 1, "the server answered 504 Gateway Timeout; again in"),
        (Fault("http_429", 1, on=("submit",)), 1, "Rate limit exceeded. Please wait 1 seconds; again in"),
        (Fault("http_429", 1, on=("status",)), 1, "Rate limit exceeded. Please wait 1 seconds; again in"),
        (Fault("html_answer", 1, on=("status",)), 1, "again in"),
        # The connection.
        (Fault("reset", 1, on=("status",)), 1, "Connection reset by peer; again in"),
        (Fault("silent", 1, on=("status",)), 1, "again in"),
        (Fault("lost_reply", 1), 1, "is on the server already; taken up again"),
        # Jobs.
        (Fault("failed", 2), 3, "MARS has returned an error"),
        (Fault("rejected", 2), 3, "Number queued requests for this dataset is temporarily limited"),
        (Fault("forgotten", 1), 2, "again in"),
        (Fault("expired", 1), 2, "results expired; the results of the job have expired; again in"),
        # Files.
        (Fault("zip", 1), 1, ""),
        (Fault("missing_day", 1), 2, "again in"),
        (Fault("wrong_variable", 1), 2, "again in"),
        (Fault("nan", 1), 2, "again in"),
        (Fault("wrong_grid", 1), 2, "again in"),
        (Fault("empty", 1), 2, "again in"),
        (Fault("html_file", 1), 2, "again in"),
        (Fault("corrupt", 1), 2, "again in"),
        (Fault("cut", 1), 2, "again in"),
        (Fault("wrong_size", 1), 2, "were announced; again in"),
        # Transfers.
        (Fault("gone", 1), 2, "again in"),
        (Fault("reset_body", 2), 1, "again in"),
        (Fault("short_body", 2), 1, "again in"),
        (Fault("stall_body", 1), 1, "again in"),
        (Fault("flipped_body", 1), 1, "what arrived has another checksum than was announced; again in"),
        (Fault("html_page", 1), 1, "File size mismatch"),
    ],
    ids=lambda value: f"{value.name} {' '.join(value.on)}".strip() if isinstance(value, Fault) else "",
)
def test_what_passes_is_waited_out(
    opened: Open, isobar_log: list[str], fault: Fault, requests: int, said: str, january: dict[str, bytes]
) -> None:
    place = opened(faults=[fault])
    # Only where nothing comes is it the client that has to lose patience; elsewhere a slow moment is no fault.
    patience = 0.5 if fault.name in ("silent", "stall_body") else 60
    assert place.run(**ONE, timeout_seconds=patience).complete
    assert len(place.ids) == requests
    assert any(said in line for line in isobar_log), isobar_log
    assert not place.strays
    assert place.centre.faults.struck[fault.name] == fault.times
    assert place.files == january


def test_the_wait_that_the_server_asks_for_is_kept(opened: Open) -> None:
    place = opened(faults=[Fault("http_429", 1, on=("submit",))])
    began = time.monotonic()
    place.run(**ONE)
    assert time.monotonic() - began > 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            "licence",
            "reanalysis-era5-single-levels: a licence is not accepted yet; log in and accept it at "
            "{root}/datasets/reanalysis-era5-single-levels?tab=download#manage-licences",
        ),
        ("invalid", "1 file could not be had: sl_msl_1991-01.nc; "),
        ("malformed", "1 file could not be had: sl_msl_1991-01.nc; "),
        ("bad_key", "reanalysis-era5-single-levels: the key was not accepted"),
    ],
)
def test_what_cannot_pass_ends_the_job_with_one_line(opened: Open, fault: str, said: str) -> None:
    place = opened(faults=[fault])
    with pytest.raises(InputError) as caught:
        place.run(**ONE)
    root = place.centre.url.removesuffix("/api")
    assert str(caught.value).startswith(said.replace("{root}", root))
    assert "\n" not in str(caught.value)


def test_costs_that_cannot_be_told_are_done_without(opened: Open, isobar_log: list[str]) -> None:
    place = opened(faults=["no_cost"], limit=200)
    assert place.run(end="1991-12-31").complete
    assert any("no estimate of costs (the server answered 500 Internal Server Error)" in line for line in isobar_log)
    assert len(place.files) == 2


def test_no_data_is_asked_for_three_times(opened: Open) -> None:
    place = opened(faults=["no_data"])
    with pytest.raises(EnvironmentFault, match="has not found any data"):
        place.run(**ONE)
    assert len(place.ids) == 3


def test_a_wrong_key(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened()
    monkeypatch.setenv("CDSAPI_KEY", "12345:old-key")
    with pytest.raises(InputError) as caught:
        place.run(**ONE)
    assert str(caught.value).endswith(
        "a key with a colon is of the old service, which ended in 2024; "
        "copy the one of https://cds.climate.copernicus.eu/profile into ~/.cdsapirc"
    )
    assert "old-key" not in str(caught.value)
    assert len(place.ids) == 0


def test_what_the_server_calls_a_checksum_may_be_something_else(opened: Open, tmp_path: Path) -> None:
    access = Access(opened().centre.url, "secret")
    cds, target, told = Cds(access, 5.0), tmp_path / "file", "0" * 32
    target.write_bytes(b"the same bytes each time")
    with pytest.raises(Hiccup, match="another checksum than was announced"):
        cds._compare(target, 24, told)
    target.write_bytes(b"the same bytes each time")
    cds._compare(target, 24, told)
    assert target.exists()
    cds._compare(target, 24, "1" * 32)
    assert "secret" not in repr(access)
    assert "secret" not in cds._scrubbed("the key secret is wrong")


def test_no_data_centre_at_all(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened()
    monkeypatch.setenv("CDSAPI_URL", "http://127.0.0.1:9/api")
    with pytest.raises(EnvironmentFault, match=r"cannot be reached \(Connection refused\); what was requested stays"):
        place.run(**ONE, attempts=2)
    monkeypatch.setenv("CDSAPI_URL", "cds.climate")
    with pytest.raises(InputError, match="not an address of a data centre"):
        place.run(**ONE)


def test_a_piece_that_cannot_be_had_does_not_stop_the_others(opened: Open) -> None:
    place = opened(faults=["failed:3"])
    with pytest.raises(EnvironmentFault) as caught:
        place.run(in_flight=1, attempts=3)
    assert str(caught.value) == (
        "1 file could not be had: sl_msl_1991-01.nc; The job has failed; MARS has returned an error, please check your "
        "selection; Request submitted to the MARS server; Full error message; mars - ERROR - 20250101.000000 - Cannot "
        "connect to the archive; The job failed with: MarsRuntimeError, after 3 attempts; "
        "all others are kept, the same command tries these again"
    )
    assert sorted(place.files) == ["sl_msl_1991-02.nc", "sl_msl_1991-03.nc"]
    assert not place.manifest["complete"]
    assert place.manifest["pieces"]["sl_msl_1991-01.nc"]["state"] == "failed"
    assert place.run().fetched == 1
    assert place.manifest["complete"]


def test_preliminary_data_are_listed_and_replaced_when_asked_to(opened: Open) -> None:
    place = opened(final_until=date(1991, 2, 14))
    summary = place.run(end="1991-02-28")
    assert summary.preliminary == 1
    before = place.files
    assert place.run(end="1991-02-28").fetched == 0
    assert place.run(end="1991-02-28", refresh=True).preliminary == 1
    assert place.files == before, "identical, so it stays"
    place.centre.change(final_until=None)
    summary = place.run(end="1991-02-28", refresh=True)
    assert (summary.preliminary, summary.fetched) == (0, 1)
    assert [name for name, content in place.files.items() if content != before[name]] == ["sl_msl_1991-02.nc"]
    assert len(place.ids) == 4


def test_a_refresh_that_fails_keeps_the_old_file(opened: Open) -> None:
    place = opened(final_until=date(1991, 1, 14))
    place.run(**ONE)
    before = place.files
    place.centre.faults.add("corrupt")
    with pytest.raises(EnvironmentFault):
        place.run(**ONE, refresh=True, attempts=2)
    assert place.files == before
    assert place.manifest["complete"], "what is there is whole"


def test_a_full_disk_is_the_machines_fault(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    place = opened()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.download.cds.multiurl.download", full)
    with pytest.raises(EnvironmentFault, match="the disk is full; mend that and run the same command again"):
        place.run(**ONE)
    monkeypatch.undo()
    monkeypatch.setenv("CDSAPI_URL", place.centre.url)
    monkeypatch.setenv("CDSAPI_KEY", place.centre.key)
    assert place.run(**ONE).complete
    assert len(place.ids) == 1


@pytest.fixture
def job(opened: Open) -> Place:
    place = opened()
    write_config(place)
    return place


def test_the_key_reaches_no_file_and_no_line(job: Place) -> None:
    ended = run_job("download", job.folder / "tiny.yaml", "--verbose")
    assert ended.code == 0, ended.text
    written = [path for path in job.folder.rglob("*") if path.is_file()]
    assert len(written) > 4
    assert job.centre.key not in ended.text
    assert not [path for path in written if job.centre.key.encode() in path.read_bytes()]
    assert str(job.folder) not in (job.folder / "data/raw/tiny/manifest.json").read_text()
    assert "next: python jobs/derive.py" in ended.text


@pytest.mark.parametrize(("fault", "code"), [("licence", 2), ("failed", 1)])
def test_an_error_is_never_exit_code_0(job: Place, fault: str, code: int) -> None:
    job.centre.faults.add(fault)
    ended = run_job("download", job.folder / "tiny.yaml", "download.attempts=2", "download.end=1991-01-31")
    assert ended.code == code
    assert "Traceback" not in ended.text


def test_a_stop_waits_for_no_request_and_the_same_command_takes_up_its_requests(job: Place) -> None:
    job.centre.change(queue_seconds=3600)
    process = start(job)
    wait_until(lambda: len(job.ids) == 3)
    process.send_signal(signal.SIGTERM)
    # The requests wait for an hour: that it ends at all shows that it does not wait for them.
    text = process.communicate(timeout=300)[1]
    assert process.returncode == 75, text
    assert "requests stay on the server; run the same command again to go on" in text
    job.centre.change(queue_seconds=0)
    ended = run_job("download", job.folder / "tiny.yaml")
    assert ended.code == 0, ended.text
    assert len(job.ids) == 3


def test_parts_share_one_manifest(job: Place) -> None:
    parts = [start(job, "--parts", f"{number}/3", "download.end=1991-06-30") for number in (1, 2, 3)]
    for part in parts:
        text = part.communicate(timeout=300)[1]
        assert part.returncode == 0, text
    assert len(job.ids) == len({item.request for item in job.centre.submissions}) == 6
    ended = run_job("download", job.folder / "tiny.yaml", "download.end=1991-06-30")
    assert ended.code == 0
    assert "(6 files" in ended.text
    assert "0 came now" in ended.text


def start(place: Place, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "jobs/download.py"), str(place.folder / "tiny.yaml"), *arguments]
    environment = {**os.environ, "ISOBAR_HOME": str(place.folder)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def wait_until(true: object, seconds: float = 300.0) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
