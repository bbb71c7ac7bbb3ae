"""What waits for what, on Slurm's terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.submit.command import _After, _as_found, _dependencies


def test_dependencies_of_pieces_correspond_where_tasks_do() -> None:
    train = _After("j3", "aftercorr", ["11", "12"])
    assert _dependencies([train], 2) == ["aftercorr:11", "aftercorr:12"]
    assert _dependencies([_After("j3", "afterok", ["11", "12"])], 2) == ["afterok:11:12"]
    assert _dependencies([train], 1) == ["afterok:11:12"]
    assert _dependencies([_After("j1", "afterok", ["9"]), _After("j2", "afterok", ["10"], done=True)], 1) == [
        "afterok:9"
    ]
    assert _dependencies([_After("j2", "afterok", ["10"], done=True)], 1) == []


def test_paths_among_the_arguments_are_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a b.nc").touch()
    for word, expected in (
        ("new/a b.nc", f"{tmp_path}/new/a b.nc"),
        ("new/", f"{tmp_path}/new"),
        ("new", "new"),
        ("--out=new/x", "--out=new/x"),
        ("nowhere/x.nc", "nowhere/x.nc"),
        ("4", "4"),
    ):
        assert _as_found(word) == expected
