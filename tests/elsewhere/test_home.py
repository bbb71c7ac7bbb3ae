"""``ISOBAR_HOME`` is the one variable that says where data and results are, also on disks of another kind."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import EnvironmentFault
from pipeline.core.run import existing_run, run_folder
from pipeline.experiment import home

ROOT = Path(__file__).parents[2]


def test_unset_or_empty_it_is_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISOBAR_HOME", raising=False)
    assert home() == ROOT
    monkeypatch.setenv("ISOBAR_HOME", "")
    assert home() == ROOT


def test_it_means_the_same_folder_wherever_a_job_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A job that is detached or submitted has another current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISOBAR_HOME", "here")
    assert home() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ISOBAR_HOME", "~/there")
    assert home() == tmp_path / "there"


def test_no_other_variable_and_no_fixed_root() -> None:
    """Who reads the environment for a root reads ``ISOBAR_HOME``; who writes a path into the code is listed here."""
    roots = re.compile(r"""["'(](?:/[\w/]*)?(?:data|results)/[\w.*{]|\.cwd\(\)|environ[^\n]*(?:ROOT|_DIR|_HOME)""")
    found = {
        str(path.relative_to(ROOT)): sorted({match.group().strip("\"'(") for match in roots.finditer(code_of(path))})
        for folder in ("pipeline", "jobs")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    allowed = {
        "pipeline/experiment.py": {'environ.get("ISOBAR_HOME'},
        "pipeline/submit/attend.py": {'environ.get("ISOBAR_HOME', ".cwd()"},
        "pipeline/notify/settings.py": {"results/."},
        "pipeline/testing.py": {"data/r"},
        "pipeline/synthetic/digits.py": {"data/r"},
        "pipeline/core/job.py": {".cwd()"},
    }
    for name, matches in found.items():
        assert set(matches) <= allowed.get(name, set()), name


def code_of(path: Path) -> str:
    """Return a file's code without docstrings and comments, in which commands are shown."""
    text = re.sub(r'"""(?:.|\n)*?"""', "", path.read_text(encoding="utf-8"))
    return re.sub(r"#.*", "", text)


@pytest.mark.parametrize("module", ["pipeline.testing", "pipeline.synthetic.digits"])
def test_made_up_data_go_where_their_config_looks_for_them(module: str, tmp_path: Path) -> None:
    name = "demo" if module == "pipeline.testing" else "digits"
    (tmp_path / "home" / "data" / "raw" / name).mkdir(parents=True)
    (tmp_path / "home" / "data" / "raw" / name / "labels.csv").touch()
    environment = {**os.environ, "ISOBAR_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", module, f"data/raw/{name}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{tmp_path}/home/data/raw/{name} is there already\n", done.stderr


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "ISOBAR_HOME": str(tmp_path / "file")}
    done = subprocess.run([sys.executable, "-m", "pipeline.testing"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "file/data/raw/demo" in done.stderr


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EPERM])
def test_a_disk_without_links_holds_runs_all_the_same(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Google Drive that Colab has mounted refuses symbolic links with EOPNOTSUPP, FAT with EPERM."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "symlink", refuse)
    run = run_folder(tmp_path, "exp", "cnn", {})
    run.begin("a: 1\n")
    with run.session("train"):
        pass
    assert existing_run(run.path).status == "done"
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]


def test_a_full_disk_is_not_taken_for_one_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(EnvironmentFault, match="latest: cannot write"):
        run_folder(tmp_path, "exp", "cnn", {}).begin("a: 1\n")
