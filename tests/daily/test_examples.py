"""The examples for cron, scrontab and systemd are understood by what reads them, and their commands work."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.core.config import load
from pipeline.daily.config import DailySettings
from tests.conftest import ROOT

CRON, SCRON = ROOT / "slurm/crontab.example", ROOT / "slurm/scrontab.example"
SERVICE, TIMER = ROOT / "slurm/isobar-daily.service", ROOT / "slurm/isobar-daily.timer"
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def entries(path: Path, commented: bool = False) -> list[tuple[list[str], str]]:
    """Return the five columns of time and the command of each entry; ``commented``: also of those to be uncommented."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("# ") if commented else line
        if re.match(r"[\d*]", text):
            *times, command = text.split(maxsplit=5)
            found.append((times, command))
    return found


def understood(column: str, low: int, high: int) -> bool:
    """Tell whether a column is one of crontab(5): ``*``, numbers, ranges, lists, steps."""
    for part in column.split(","):
        match = re.fullmatch(r"(\*|\d+(?:-\d+)?)(?:/(\d+))?", part)
        if not match or (match[2] is not None and not 1 <= int(match[2]) <= high):
            return False
        if match[1] != "*" and not all(low <= int(number) <= high for number in match[1].split("-")):
            return False
    return True


def check_command(words: list[str], folder: Path = ROOT) -> None:
    """Check that the words are a job of ours with a config that loads."""
    job, config = words[words.index(".venv/bin/python") + 1 :][:2]
    assert (folder / job).exists()
    load(folder / config, DailySettings)


@pytest.mark.parametrize("path", [CRON, SCRON], ids=lambda path: path.name)
def test_lines_of_cron(path: Path) -> None:
    found = entries(path, commented=True)
    assert found
    for times, command in found:
        assert all(understood(column, *limits) for column, limits in zip(times, LIMITS, strict=True)), times
        assert "%" not in command, "cron takes it for the end of the line"
        ended = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
    (times, command) = entries(path)[0]
    assert times[0] != "0", "not on the full hour"
    check_command(shlex.split(command, comments=True))


def test_settings_of_cron_are_taken_as_they_stand() -> None:
    """Cron expands nothing in the values of its own lines."""
    for line in CRON.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Z_]+=", line):
            assert "$" not in line


def test_options_of_scrontab_are_those_of_sbatch() -> None:
    known = {"job-name", "chdir", "cpus-per-task", "mem", "time", "signal", "open-mode", "output"}
    lines = SCRON.read_text(encoding="utf-8").splitlines()
    options = [line for line in lines if line.startswith("#SCRON ")]
    assert {re.match(r"#SCRON --([\w-]+)=\S+$", line)[1] for line in options} == known  # type: ignore[index]
    assert lines.index(options[-1]) + 1 == next(n for n, line in enumerate(lines) if re.match(r"\d", line))


def units(folder: Path) -> list[Path]:
    """Return copies of the units in which the project folder stands for ``%h/isobar``."""
    copies = []
    for path in (SERVICE, TIMER):
        copy = folder / path.name
        copy.write_text(path.read_text(encoding="utf-8").replace("%h/isobar", str(ROOT)), encoding="utf-8")
        copies.append(copy)
    return copies


def test_the_service_starts_the_job(tmp_path: Path) -> None:
    parsers = []
    for path in units(tmp_path):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[method-assign,assignment]
        parser.read(path)
        parsers.append(parser)
    service, timer = parsers
    words = shlex.split(service["Service"]["ExecStart"])
    assert Path(words[0]) == ROOT / ".venv/bin/python"
    assert Path(service["Service"]["WorkingDirectory"]) == ROOT
    check_command([".venv/bin/python", *words[1:]])
    assert timer["Timer"]["Persistent"] == "true"


def complaints(paths: list[Path]) -> list[str]:
    """Return what systemd says of units."""
    command = ["systemd-analyze", "verify", "--man=no", *map(str, paths)]
    ended = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in ended.stderr.splitlines() if "isobar" in line]
    return said or ([ended.stderr] if ended.returncode else [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_its_units(tmp_path: Path) -> None:
    copies = units(tmp_path)
    assert not complaints(copies)
    copies[0].write_text(copies[0].read_text(encoding="utf-8").replace("Type=", "Tipe="), encoding="utf-8")
    assert complaints(copies)
    when = re.search(r"OnCalendar=(.*)", TIMER.read_text(encoding="utf-8"))
    assert when is not None
    shown = subprocess.run(["systemd-analyze", "calendar", when[1]], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
