"""The real command line: killed at any moment, two at once, with messages, and with real pictures."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image

from tests.conftest import ROOT, environment, run_job
from tests.daily.conftest import LAST, Place
from tests.notify.service import serving

START = {"daily": {"start": "1999-03-07", "dpi": 50, "refresh_every_days": 0}}


MOMENTS = (
    ("data/raw/weather-daily/manifest.json", 1),
    ("data/raw/weather-daily/*.nc", 1),
    ("results/weather/daily/*.png", 1),
    ("results/weather/daily/*-*.json", 1),
    ("results/weather/daily/*-*.json", 2),
    ("results/weather/daily/*-*.json", 3),
)
"""Files and how many of them there are when the job is killed, or a moment later."""


def comparable(place: Place) -> dict[str, Any]:
    """Return what the diary holds, without the times at which it was written."""
    records = [{**record, "made_at": ""} for record in place.diary.all()]
    pictures = {path.name: path.read_bytes() for path in place.diary.folder.glob("*.png")}
    return {"records": records, **pictures}


def start(place: Place) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "jobs/daily.py"), str(place.config)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(place.config))


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_the_same(place: Place) -> None:
    place.write_config(**START)
    ended = run_job("daily", place.config)
    assert ended.code == 0, ended.text
    whole = comparable(place)
    assert len(whole["records"]) == 4
    for path in [*place.diary.folder.iterdir(), *(place.home / "data/raw/weather-daily").iterdir()]:
        path.unlink()
    chance, codes = random.Random(3), []
    for pattern, count in MOMENTS:
        process = start(place)
        while process.poll() is None and len(list(place.home.glob(pattern))) < count:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        codes.append(process.wait())
        process.communicate()
    # The last one may have been quicker.
    assert codes.count(-9) >= len(MOMENTS) - 1, codes
    ended = run_job("daily", place.config)
    assert ended.code == 0, ended.text
    assert comparable(place) == whole
    assert "1999-03-07" in (place.home / "results" / ".site" / "data.js").read_text(), "the page of all results"
    for name in ("1999-03-07.png", f"{LAST}.png", "recent.png"):
        with Image.open(place.diary.folder / name) as image:
            assert image.size[0] >= 300
    assert run_job("daily", place.config).text.count("nothing to do") == 1
    strays = [path.name for path in place.diary.folder.iterdir() if path.name.startswith(".") and path.name != ".lock"]
    assert not strays


@pytest.mark.slow
def test_two_at_once_by_the_command_line(place: Place) -> None:
    place.write_config()
    place.centre.change(queue_seconds=3600.0)
    first = start(place)
    place.centre.wait_for(lambda centre: centre.submissions)
    second = run_job("daily", place.config)
    assert second.code == 1
    assert f"in use by process {first.pid} on " in second.text
    assert first.poll() is None, "the second did not wait for the first"
    place.centre.change(queue_seconds=0.0)
    assert first.wait(timeout=600) == 0
    assert place.status(10) == ["done"]


@pytest.mark.slow
def test_messages_and_exit_codes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as service:
        monkeypatch.setenv("NTFY_SERVER", service.url)
        monkeypatch.setenv("NTFY_TOPIC", "weather")
        monkeypatch.setenv("NTFY_OUTBOX", str(place.home / "outbox"))
        place.write_config(daily={"notify": True, "dpi": 50})
        ended = run_job("daily", place.config)
        assert ended.code == 0, ended.text
        (message,) = service.wait_for(1)
        labels = "+".join(place.day(10)["labels"]) or "–"
        assert f"weather 1999-03-10: {labels}" in message["title"]
        assert f"1999-03-10: {labels} (" in message["body"]
        assert run_job("daily", place.config).code == 0
        assert len(service.got) == 1, "nothing to do is not told"
        place.centre.change(latest=LAST + timedelta(1))
        place.centre.faults.add("failed:1")
        ended = run_job("daily", place.config)
        assert ended.code == 1
        assert "1 day could not be classified (1999-03-11): " in ended.text
        message = service.wait_for(2)[1]
        assert "1 day failed" in message["title"]
        assert message["priority"] == 5
        # The messages of every job, by --notify, hold the line with the day's types.
        ended = run_job("daily", place.config, "daily.notify=false", "--notify")
        assert ended.code == 0, ended.text
        last = service.wait_for(4)[-1]
        assert "1999-03-11: " in last["body"]


@pytest.mark.slow
def test_what_the_user_reads_who_got_something_wrong(place: Place) -> None:
    place.write_config(daily={"run": "results/weather/nothing"})
    ended = run_job("daily", place.config)
    assert (ended.code, "not a run folder" in ended.text) == (2, True)
    place.write_config(daily={"hours": []})
    ended = run_job("daily", place.config)
    assert (ended.code, "daily.hours: " in ended.text) == (2, True)
    place.write_config(download={"source": "local"})
    ended = run_job("daily", place.config)
    assert (ended.code, "download.files: source local needs files" in ended.text) == (2, True)
    place.write_config(download={"area": [50, 115, 20, 150], "grid": [5, 5]})
    ended = run_job("daily", place.config)
    assert ended.code == 2
    assert "was trained on latitudes 9 from 55 to 15 every 5" in ended.text
    assert json.loads((place.diary.folder / "1999-03-10.json").read_text())["trouble"]["exit_code"] == 2
