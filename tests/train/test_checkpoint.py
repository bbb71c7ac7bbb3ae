import os
from pathlib import Path

import pytest
import torch

from pipeline.core.errors import InputError
from pipeline.train.checkpoint import Progress, keep_best, load_checkpoint, load_tensors, save_checkpoint

IDENTITY = {"channels": {"grid": ["msl"]}, "classes": ["A", "B"]}


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "last.ckpt"
    progress = Progress(epoch=2, step=3, loss_sum=0.1 + 0.2, history=[{"epoch": 1, "val_loss": 0.5}], best=0.25)
    save_checkpoint(path, progress, IDENTITY, {"model": {"w": torch.arange(3.0)}})
    return path


def test_round_trip_is_exact(tmp_path: Path) -> None:
    progress, states = load_checkpoint(saved(tmp_path), IDENTITY)
    assert (progress.epoch, progress.step, progress.loss_sum, progress.best) == (2, 3, 0.1 + 0.2, 0.25)
    assert torch.equal(states["model"]["w"], torch.arange(3.0))


def test_of_another_channel_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trained with channels .*'msl'.* this run has .*'t850'"):
        load_checkpoint(saved(tmp_path), {**IDENTITY, "channels": {"grid": ["t850"]}})


def test_truncated(tmp_path: Path) -> None:
    path = saved(tmp_path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_tensors(path)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hostile-was-here",)


def test_hostile_contents_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Hostile()}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="could run code"):
        load_tensors(tmp_path / "x.pt")
    assert not (tmp_path / "hostile-was-here").exists()


def test_the_best_keeps_its_contents_when_last_goes_on(tmp_path: Path) -> None:
    path = saved(tmp_path)
    first, second = {"epoch": 2, "val_loss": 0.123456, "val_f1": 0.5}, {"epoch": 3, "val_loss": 0.1, "val_f1": 0.6}
    keep_best(path, [first], "val_f1")
    save_checkpoint(path, Progress(epoch=3), IDENTITY, {})
    best = path.with_name("epoch=00002-val_loss=0.1235-val_f1=0.5000.ckpt")
    assert load_tensors(best)["progress"]["epoch"] == 2
    keep_best(path, [first, second], "val_f1")
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "epoch=00003-val_loss=0.1000-val_f1=0.6000.ckpt",
        "last.ckpt",
    ]
