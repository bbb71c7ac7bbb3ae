"""Every input that a user can get wrong: one clear line, the right exit code, and nothing half-written."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.badinput.case import Case, Place, labels
from tests.badinput.ground import Grounds, errors, meet
from tests.badinput.runs import one_validation_day, relabelled
from tests.badinput.table import CASES
from tests.conftest import run_job


def ids(case: Case) -> str:
    return f"{case.kind}: {case.name}".replace(" ", "-")


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_wrong_input(case: Case, grounds: Grounds, tmp_path: Path) -> None:
    meet(case, grounds, tmp_path / "place")
    if case.ground == "raw":
        assert not list((tmp_path / "place").glob("results/tiny/*"))


def test_there_are_enough_cases() -> None:
    assert len({(case.kind, case.name) for case in CASES}) == len(CASES) >= 200
    kinds = Counter(case.kind for case in CASES)
    assert min(kinds.values()) >= 3
    assert set(kinds) >= {"config", "NetCDF", "labels", "image", "CSV", "checkpoint", "store", "command line"}


SAMPLE = [case for case in CASES if (case.kind, case.name) in (("config", "unknown key"), ("NetCDF", "NaN"))]


@pytest.mark.parametrize("case", SAMPLE, ids=ids)
def test_the_same_by_the_real_command_line(case: Case, grounds: Grounds, tmp_path: Path) -> None:
    """A job in a process that Python was started for says the same."""
    forked = meet(case, grounds, tmp_path / "place")
    (tmp_path / "place").rename(tmp_path / "before")
    place = grounds.copy(case.ground, tmp_path / "place")
    words = case.spoil(place) if case.spoil else None
    typed = [*case.words, *case.more] if words is None else words
    ended = run_job(case.job, *(str(place.home / word[2:]) if word.startswith("./") else word for word in typed))
    assert ended.code == forked.code
    assert errors(ended) == errors(forked)  # type: ignore[arg-type]


def test_one_day_of_validation(grounds: Grounds, tmp_path: Path) -> None:
    place = grounds.copy("raw", tmp_path / "place")
    one_validation_day(place)
    grounds.done(place, "derive", "store", "train")
    ended = grounds.run(place, "thresholds", "./tiny.yaml")
    assert (ended.code, len(errors(ended))) == (2, 1)
    assert "has 1 labelled samples, too few" in errors(ended)[0]


def test_a_run_of_another_store(grounds: Grounds, tmp_path: Path) -> None:
    """Relabel a training day after the training: the run was made from another store than its config leads to."""
    place = grounds.copy("trained", tmp_path / "place")
    run = place.one("results/tiny/simple-*")
    relabelled(place)
    grounds.done(place, "derive", "store")
    ended = grounds.run(place, "evaluate", str(run))
    assert (ended.code, len(errors(ended))) == (2, 1)
    assert re.search(r"this run was trained on store \w+, its config now leads to store \w+", errors(ended)[0])


def test_a_class_without_positives_is_told_and_does_not_stop(grounds: Grounds, tmp_path: Path) -> None:
    place = grounds.copy("trained", tmp_path / "place")
    ended = grounds.run(place, "store", "./tiny.yaml", "store.target.classes=['1','2A','3B','4A','5','6C']")
    assert ended.code == 0, ended.text
    assert re.search(r"6C.*(no|without|absent|never)|(no|without|absent|never).*6C", ended.text)


def test_labels_that_cannot_be_read_leave_what_was_derived(grounds: Grounds, tmp_path: Path) -> None:
    place = grounds.copy("trained", tmp_path / "place")
    before = {path: path.read_bytes() for path in place.home.glob("data/derived/*/*.nc")}
    labels(lambda contents: contents + "1995-02-31,1\n")(place)
    assert grounds.run(place, "derive", "./tiny.yaml").code == 2
    assert {path: path.read_bytes() for path in place.home.glob("data/derived/*/*.nc")} == before


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("job", "setting", "kilobytes"),
    [
        ("derive", "data", 64),
        ("derive", "data", 200),
        ("store", "data", 600),
        ("train", "results", 4),
        ("train", "results", 100),
        ("train", "results", 1000),
    ],
)
def test_full_disk(grounds: Grounds, tmp_path: Path, job: str, setting: str, kilobytes: int) -> None:
    """Exit code 1 and one line that says so, wherever it strikes; nothing half-written under a final name."""
    place = grounds.copy("trained", tmp_path / "place")
    with small_disk(tmp_path / "small", kilobytes) as small:
        if job == "store":
            subprocess.run(["cp", "-r", str(place.home / "data" / "derived"), str(small)], check=True)
        ended = grounds.run(place, job, "./tiny.yaml", f"{setting}={small}")
        assert ended.code == 1, ended.text
        assert re.search("the disk is full|GB are free", errors(ended)[0])
        assert "Traceback" not in ended.text
        for path in small.rglob("*.json"):
            json.loads(path.read_text())


def test_places_are_copies(grounds: Grounds, tmp_path: Path) -> None:
    """What a case does to its place reaches no other."""
    first = grounds.copy("raw", tmp_path / "first")
    first.config.write_text("broken: [")
    assert Place(grounds.root / "raw").config.read_text() == grounds.copy("raw", tmp_path / "second").config.read_text()
    assert "broken" not in (tmp_path / "second" / "tiny.yaml").read_text()
