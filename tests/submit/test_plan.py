"""What is typed becomes tasks, profiles, limits, dependencies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.submit.chain import stages
from pipeline.submit.config import Profile, minutes, read_profile
from pipeline.submit.plan import chunks, tasks_of

PROFILES = """\
default: cpu
profiles:
  cpu: {cpus: 4, memory: 8G, time: "04:00:00"}
  short: {time: "10"}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30", 30), ("10:01", 11), ("04:00:00", 240), ("2-12", 3600), ("1-00:30", 1470), ("1-00:00:01", 1441)],
)
def test_time_limits_are_those_of_sbatch(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "4h", "0", "00:00:00", "1:2:3:4"])
def test_a_time_limit_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="a time limit is written"):
        minutes(text)


@pytest.mark.parametrize(("time", "seconds"), [("04:00:00", 120), ("10", 120), ("5", 60), ("1", 12)])
def test_the_warning_takes_at_most_a_fifth_of_a_short_limit(time: str, seconds: int) -> None:
    assert Profile(time=time).warning_seconds == seconds


@pytest.mark.parametrize(
    ("text", "name", "more", "message"),
    [
        ("default: cpu\nprofiles:\n  cpu: {cpu: 4}\n", None, [], "did you mean 'cpus'"),
        ("default: cpu\nprofiles:\n  cpu: {time: 4h}\n", None, [], "a time limit is written"),
        ("default: cpu\nprofiles:\n  cpu: {memory: lots}\n", None, [], "memory is written '16G'"),
        ("default: cpu\nprofiles:\n  cpu: {nodes: 0}\n", None, [], "greater than or equal to 1"),
        (PROFILES, "cpuu", [], "no profile 'cpuu'; did you mean 'cpu'?"),
        (PROFILES, None, ["tim=1"], "unknown key; did you mean 'time'"),
        ("profiles: {}\n", None, [], "default: required"),
    ],
)
def test_a_wrong_profile_costs_one_line(
    tmp_path: Path, text: str, name: str | None, more: list[str], message: str
) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as found:
        read_profile(path, name, more)
    assert message in str(found.value)
    assert len(str(found.value).splitlines()) == 1
    assert str(path) in str(found.value) or "command line" in str(found.value)


def test_a_profile_with_settings_on_top(tmp_path: Path) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text(PROFILES)
    name, profile = read_profile(path, None, ["time=00:30:00", "partition=long"])
    assert (name, profile.minutes, profile.cpus, profile.partition) == ("cpu", 30, 4, "long")


def test_an_array_of_overrides_ranges_configs_and_lines(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("name: other\n")
    lines = tmp_path / "tasks.txt"
    lines.write_text("# seeds\ntrain.seed=7\n\ntrain.seed=8 train.fold='a b'\n")
    found = tasks_of(
        "x.yaml", ["train.epochs=2"], ["train.seed=1..2 train.fold=3..4", f"{other} train.seed=5", f"@{lines}"]
    )
    assert found == [
        ["x.yaml", "train.epochs=2", "train.seed=1", "train.fold=3"],
        ["x.yaml", "train.epochs=2", "train.seed=1", "train.fold=4"],
        ["x.yaml", "train.epochs=2", "train.seed=2", "train.fold=3"],
        ["x.yaml", "train.epochs=2", "train.seed=2", "train.fold=4"],
        [str(other), "train.epochs=2", "train.seed=5"],
        ["x.yaml", "train.epochs=2", "train.seed=7"],
        ["x.yaml", "train.epochs=2", "train.seed=8", "train.fold=a b"],
    ]


def test_parts_of_a_job_as_an_array() -> None:
    assert [words[-1] for words in tasks_of("x.yaml", [], ["derive.parts=1..3/3"])] == [
        f"derive.parts={k}/3" for k in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    "text", ["train.seed", "nowhere.yaml", "train.seed=1 oops", "'", "@nowhere.txt", "train.seed=3..1"]
)
def test_a_task_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="--array") as found:
        tasks_of("x.yaml", [], [text])
    assert len(str(found.value).splitlines()) == 1


def test_values_with_points_are_not_ranges() -> None:
    assert tasks_of("x.yaml", [], ["train.lr=1e-3 data=../elsewhere"]) == [
        ["x.yaml", "train.lr=1e-3", "data=../elsewhere"]
    ]


def test_arrays_larger_than_the_cluster_takes_are_cut() -> None:
    pieces = chunks(60, 25)
    assert [len(piece) for piece in pieces] == [25, 25, 10]
    assert [number for piece in pieces for number in piece] == list(range(60))


def test_a_chain_of_folds_waits_task_by_task() -> None:
    tasks = [["x.yaml", "train.fold=1"], ["x.yaml", "train.fold=2"]]
    found = stages(tasks, ["x.yaml"], {"download": "…"})
    assert [one.job for one in found] == ["derive", "store", "train", "thresholds", "evaluate", "report"]
    assert [one.how for one in found] == ["afterok", "afterok", "afterok", "aftercorr", "aftercorr", "aftercorr"]
    assert [len(one.tasks) for one in found] == [1, 1, 2, 2, 2, 2]
