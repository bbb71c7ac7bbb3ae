"""Chains by folds, profiles of their stages, containers, and what becomes of old copies; nothing is submitted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.experiment import Experiment
from pipeline.submit.chain import STAGES
from pipeline.submit.command import inside, layout
from pipeline.submit.config import Profile, chosen_profiles
from pipeline.submit.plan import with_folds
from pipeline.submit.prune import clean, prune
from pipeline.submit.ticket import jobs_folder, stamp
from tests.conftest import ROOT
from tests.submit.test_tickets import attempt, ticket_in

CONFIG = """\
name: folds
derive: {raw: ["raw/*.nc"], labels: {files: [labels.csv]}}
store: {split: {train: [1995, 1996, 1998], val: [1997], test: [1999]}}
"""


def submit(home: Path, *words: str) -> tuple[int, str]:
    (home / "folds.yaml").write_text(CONFIG)
    command = [sys.executable, str(ROOT / "jobs" / "submit.py"), words[0], str(home / "folds.yaml"), *words[1:]]
    environment = {**os.environ, "ISOBAR_HOME": str(home)}
    done = subprocess.run(
        [*command, "--cluster", "local", "--dry-run"], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    return done.returncode, done.stdout + done.stderr


def test_a_chain_trains_each_fold_and_goes_on_fold_by_fold(tmp_path: Path) -> None:
    code, told = submit(tmp_path, "chain", "--folds", "all", "store.split.leave_one_year_out=true")
    assert code == 0, told
    for stage in ("derive", "store"):
        assert told.count(f"jobs/{stage}.py") == 2
    for stage in ("train", "thresholds", "evaluate", "report"):
        block = told.partition(f"{stage}-folds: ")[2].partition("jobs/" + stage + ".py")[2]
        years = [line.rpartition("=")[2] for line in block.splitlines()[1:5]]
        assert years == ["1995", "1996", "1997", "1998"]
    code, told = submit(tmp_path, "chain", "store.split.leave_one_year_out=true")
    assert "--folds all trains each" in told


def test_folds_that_the_division_does_not_make(tmp_path: Path) -> None:
    code, told = submit(tmp_path, "chain", "--folds", "all")
    assert code == 2
    assert "set store.split.leave_one_year_out=true" in told
    with pytest.raises(InputError, match="no fold '1996x'; did you mean '1996'"):
        with_folds([["x.yaml"]], "1995,1996x", [["1995", "1996"]])
    with pytest.raises(InputError, match="tune does not take an experiment"):
        from pipeline.submit.command import _folds

        _folds(None, "tune")


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"train": [2001, 2003], "val": [2002], "leave_one_year_out": True}, ["2001", "2002", "2003"]),
        ({"train": [2001], "val": [2002]}, []),
    ],
)
def test_folds_of_maps(split: dict[str, object], expected: list[str]) -> None:
    assert Experiment.model_validate({"name": "x", "store": {"split": split}}).folds() == expected


@pytest.mark.parametrize(("by", "expected"), [("kfold", 3), ("walk_forward", 3), ("blocks", 0)])
def test_folds_of_images(by: str, expected: int) -> None:
    store = {"images": {"train": "images"}, "split": {"by": by, "num_folds": 3}}
    found = Experiment.model_validate({"name": "x", "store": store}).folds()
    assert found == [f"fold{number}" for number in range(expected)]


def test_each_stage_has_its_profile() -> None:
    assert chosen_profiles(["cpu", "train=gpu1"], STAGES) == {"": "cpu", "train": "gpu1"}
    with pytest.raises(InputError, match="no job 'trian'; did you mean 'train'"):
        chosen_profiles(["trian=gpu1"], STAGES)
    with pytest.raises(InputError, match="given twice"):
        chosen_profiles(["cpu", "gpu1"], STAGES)


def test_only_a_training_has_several_processes() -> None:
    several = Profile(nodes=2, tasks_per_node=4, cpus=3)
    assert layout(several) == {"nodes": 2, "per_node": 4, "cpus": 3}
    assert layout(several.alone) is None


APPTAINER = """\
#!/bin/sh
# Stands for apptainer: checks what it is given as the real one would, and runs the command.
[ "$1" = exec ] || exit 64
shift
while [ "${1#-}" != "$1" ]; do
  case "$1" in
    --nv) echo gpu; shift ;;
    --bind) [ -e "${2%%:*}" ] || { echo "no folder $2"; exit 65; }; echo "bound $2"; shift 2 ;;
    *) echo "unknown option $1"; exit 66 ;;
  esac
done
[ -e "$1" ] || { echo "no image $1"; exit 67; }
shift
exec "$@"
"""


def test_a_job_in_a_container(tmp_path: Path) -> None:
    """The image, what is bound, and the command behind it; ``isobar.sif`` and apptainer are stand-ins."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").write_text(APPTAINER)
    (tmp_path / "bin" / "apptainer").chmod(0o755)
    for name in ("home", "code", "era5"):
        (tmp_path / name).mkdir()
    (tmp_path / "isobar.sif").touch()
    profile = Profile(gpus=1, container=str(tmp_path / "isobar.sif"), binds=(f"{tmp_path}/era5:/era5:ro",))
    inner = tmp_path / "home" / "results" / ".jobs" / "code" / "abc"
    command = [*inside(profile.model_copy(update={"python": sys.executable}), [tmp_path / "home", inner]), "-c", "1"]
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["gpu", f"bound {tmp_path}/home", f"bound {tmp_path}/era5:/era5:ro"],
    )
    working_tree = inside(profile, [tmp_path / "home", tmp_path / "code"])
    assert working_tree[:6] == ["apptainer", "exec", "--nv", "--bind", f"{tmp_path}/home", "--bind"]
    assert working_tree[-2:] == [str(tmp_path / "isobar.sif"), "python"]
    assert inside(Profile(), [tmp_path]) == [sys.executable]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Four tickets: done, failed, waiting, and done but waited for; each with a copy of the code; all long ago."""
    long_ago = time.time() - 40 * 86400
    for number, code in ((1, 0), (2, 1), (3, None), (4, 0)):
        copy = jobs_folder(tmp_path) / "code" / f"c{number}"
        copy.mkdir(parents=True)
        ticket = ticket_in(tmp_path, cluster="slurm")
        facts = {**ticket.facts, "place": str(copy), "submitted": stamp(long_ago)}
        facts["after"] = [{"id": "j4", "how": "afterok"}] if number == 3 else []
        (ticket.folder / "job.json").write_text(json.dumps(facts))
        if code is not None:
            ended = {"ended": stamp(long_ago), "exit_code": code, "why": "", "heartbeat": stamp(long_ago)}
            ticket.tasks[0].claim()
            attempt(ticket.tasks[0], 1, started=stamp(long_ago), **ended)
        os.utime(copy, (long_ago, long_ago))
    return tmp_path


def copies(home: Path) -> list[str]:
    return sorted(path.name for path in (jobs_folder(home) / "code").iterdir())


def test_copies_of_the_code_that_nobody_can_start_again_are_removed(home: Path) -> None:
    (jobs_folder(home) / "code" / "young").mkdir()  # somebody is about to submit with it
    assert sorted(path.name for path in prune(home)) == ["c1", "c4"]
    assert copies(home) == ["c2", "c3", "young"]


def test_old_tickets_are_removed_when_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert [line.split(":")[0] for line in clean(home, 30 * 86400, dry_run=True)] == [
        "j1 train-tiny",
        "j2 train-tiny",
    ]
    assert len(list(jobs_folder(home).glob("j*"))) == 4
    told = list(clean(home, 30 * 86400, dry_run=False))
    assert told[-1] == "3 copies of code and configs removed"
    assert sorted(path.name for path in jobs_folder(home).glob("j*")) == ["j3", "j4"], "j3 waits, and for j4"
    assert copies(home) == ["c3"]
    assert list(clean(home, 50 * 86400, dry_run=True)) == []
