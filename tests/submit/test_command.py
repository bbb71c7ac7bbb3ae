"""What waits for what, on Slurm's terms."""

from __future__ import annotations

from pipeline.submit.command import _After, _dependencies


def test_dependencies_of_pieces_correspond_where_tasks_do() -> None:
    train = _After("j3", "aftercorr", ["11", "12"])
    assert _dependencies([train], 2) == ["aftercorr:11", "aftercorr:12"]
    assert _dependencies([_After("j3", "afterok", ["11", "12"])], 2) == ["afterok:11:12"]
    assert _dependencies([train], 1) == ["afterok:11:12"]
    assert _dependencies([_After("j1", "afterok", ["9"]), _After("j2", "afterok", ["10"], done=True)], 1) == [
        "afterok:9"
    ]
    assert _dependencies([_After("j2", "afterok", ["10"], done=True)], 1) == []
