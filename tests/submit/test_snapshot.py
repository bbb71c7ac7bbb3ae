"""A submitted job runs the code as it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.submit.snapshot import freeze

FILES = {
    "pipeline/a.py": "A = 1\n",
    "jobs/train.py": "print(1)\n",
    "configs/x.yaml": "name: x\n",
    "tests/t.py": "",
    "big.bin": "",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ".gitignore").write_text("*.secret\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    return root


def test_uncommitted_and_new_files_are_in_it_and_ignored_ones_are_not(project: Path, tmp_path: Path) -> None:
    (project / "pipeline/a.py").write_text("A = 2\n")
    (project / "pipeline/new file.py").write_text("")
    (project / "configs/key.secret").write_text("tk")
    code = freeze(project, tmp_path)
    assert code.frozen
    assert (code.root / "pipeline/a.py").read_text() == "A = 2\n"
    assert code.names == {"pipeline/a.py", "pipeline/new file.py", "jobs/train.py", "configs/x.yaml"}
    assert {str(path.relative_to(code.root)) for path in code.root.rglob("*") if path.is_file()} == code.names
    assert code.facts["git"]["dirty"]
    assert len(code.facts["git"]["sha"]) == 40
    assert code.facts["new_files"] == "pipeline/new file.py"
    (project / "pipeline/a.py").write_text("A = 3\n")
    assert (code.root / "pipeline/a.py").read_text() == "A = 2\n"


def test_equal_code_is_copied_once_and_other_code_is_another_copy(project: Path, tmp_path: Path) -> None:
    first = freeze(project, tmp_path)
    made = os.stat(first.root).st_ino
    assert freeze(project, tmp_path).root == first.root
    assert os.stat(first.root).st_ino == made
    (project / "jobs/train.py").write_text("print(2)\n")
    named = freeze(project, tmp_path, write=False)
    assert named.root != first.root
    assert not named.root.exists()
    (project / "jobs/train.py").unlink()
    assert "jobs/train.py" not in freeze(project, tmp_path).names


@pytest.mark.parametrize("wanted", [True, False])
def test_without_a_copy_the_ticket_says_so(tmp_path: Path, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    code = freeze(tmp_path / "nowhere", tmp_path, wanted=wanted)
    assert (code.root, code.frozen) == (tmp_path / "nowhere", False)
    assert "runs the working tree" in code.facts["why"]
