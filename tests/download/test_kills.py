"""SIGKILL at random moments: the same command ends with the same files, and no request is sent twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core.artifact import read_json, write_json
from pipeline.synthetic.cds_faults import Fault
from tests.conftest import ROOT
from tests.download.conftest import Open, Place, write_config

SETTINGS = ("download.end=1991-04-30", "download.requests=[{variables: [msl, tp]}]")
FILES = 8


def command(place: Place) -> subprocess.Popen[str]:
    words = [sys.executable, str(ROOT / "jobs/download.py"), str(place.folder / "tiny.yaml"), *SETTINGS]
    environment = {**os.environ, "ISOBAR_HOME": str(place.folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def finish(place: Place) -> str:
    process = command(place)
    text = process.communicate(timeout=300)[1]
    assert process.returncode == 0, text
    return text


def killed_at_work(place: Place, seconds: float) -> bool:
    """Run the job and kill it some seconds after its first word to the data centre; false if it ended before."""
    before, process = len(place.centre.requests), command(place)
    while process.poll() is None and len(place.centre.requests) == before:
        time.sleep(0.01)
    try:
        text = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    assert process.returncode == 0, text
    return False


def raw_files(place: Place) -> dict[str, bytes]:
    folder = Path(place.folder, "data/raw/tiny")
    return {path.name: path.read_bytes() for path in folder.glob("*.nc")}


def being_sent(place: Place) -> set[str]:
    """Return the pieces of which nobody can tell whether their requests were sent."""
    path = place.folder / "data/raw/tiny/manifest.json"
    pieces = read_json(path)["pieces"] if path.exists() else {}
    return {name for name, piece in pieces.items() if piece["state"] == "submitting"}


def check(opened: Open, kills: int, number: int, longest: float) -> None:
    place = opened()
    write_config(place)
    finish(place)
    expected = raw_files(place)
    assert len(expected) == FILES
    chance, left = random.Random(number), kills
    while left:
        # On a fast machine all files are there before the last kill; then it is done again for the others.
        left -= check_from_nothing(place, left, chance, longest, expected)


def check_from_nothing(
    place: Place, most: int, chance: random.Random, longest: float, expected: dict[str, bytes]
) -> int:
    """Empty the folder, kill the job ``most`` times or until it is done; check the whole and return how often."""
    for path in (place.folder / "data/raw/tiny").iterdir():
        path.unlink()
    before, kills, doubtful = len(place.ids), 0, set[str]()
    while kills < most and killed_at_work(place, chance.uniform(0.0, longest)):
        kills += 1
        doubtful |= being_sent(place)
    if kills == most:
        finish(place)
    assert raw_files(place) == expected
    asked = [(item.dataset, item.request) for item in place.centre.submissions[before:]]
    assert len(asked) == len(set(asked)), "no request is sent twice"
    # A kill just before sending looks like one just after; the same request of a former run, still there, is taken up.
    assert FILES - len(doubtful) <= len(asked) <= FILES
    left = [path.name for path in (place.folder / "data/raw/tiny").iterdir() if path.name not in expected]
    assert set(left) <= {"manifest.json", ".lock", ".lock-record"}
    return kills


def test_a_kill_between_sending_and_the_answer(opened: Open) -> None:
    place = opened(faults=[Fault("slow", 4, on=("submit",))], slow_seconds=60.0)
    write_config(place)
    process = command(place)
    deadline = time.monotonic() + 300
    while not place.ids and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    text = process.communicate()[1]
    assert place.ids, text
    place.centre.faults.clear()
    assert being_sent(place)
    text = finish(place)
    assert f"its request {place.ids[0]} is on the server already; taken up again" in text
    assert len(place.ids) == FILES


@pytest.mark.parametrize("renamed", [False, True])
def test_a_kill_around_the_renaming(opened: Open, renamed: bool) -> None:
    place = opened()
    place.run(end="1991-01-31")
    before, record = place.files, place.manifest
    (name,) = record["files"]
    piece = record["pieces"][name]
    piece |= {"state": "passed", "checked": record["files"].pop(name)}
    record["complete"] = False
    write_json(place.data / "manifest.json", record)
    if not renamed:
        (place.data / name).rename(place.data / f".{name}.{piece['request_id']}.part")
    assert place.run(end="1991-01-31").complete
    assert place.files == before
    assert len(place.ids) == 1
    assert not place.strays


def test_a_few_kills_lose_nothing(opened: Open) -> None:
    check(opened, kills=2, number=1, longest=0.6)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_ten_kills_lose_nothing(opened: Open, number: int) -> None:
    check(opened, kills=10, number=10 + number, longest=0.5)
