"""The store is opened once a process, and its splits are in memory once a machine."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.contract.store import Store
from pipeline.core.artifact import read_json
from pipeline.train import stage
from pipeline.train.batches import Resident, Streamed, Wanted, open_source, share_sources, split_bytes
from pipeline.train.shelf import Make, Shelf
from tests.tune.small import search, write

WANTED = Wanted(("grid",), "default", torch.device("cpu"), True)


def filled(calls: list[int], make: Make) -> torch.Tensor:
    calls.append(1)
    made = make((3, 4), torch.float32)
    made[:] = torch.arange(12.0).view(3, 4)
    return made


def folders(memory: Path) -> list[Path]:
    return list(memory.glob("isobar-*"))


def test_one_fills_and_all_read(tmp_path: Path) -> None:
    calls: list[int] = []
    one, two = Shelf("store", 2, tmp_path), Shelf("store", 2, tmp_path)
    tensors = [shelf.array("key", lambda make: filled(calls, make)) for shelf in (one, two)]
    assert len(calls) == 1
    assert torch.equal(tensors[0], tensors[1])
    assert tensors[1].tolist() == np.arange(12.0).reshape(3, 4).tolist()
    one._leave()
    assert folders(tmp_path), "somebody is still there"
    two._leave()
    assert not folders(tmp_path)
    assert tensors[1].sum() == 66, "what is in use stays"


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        shelf = Shelf("other", 2, tmp_path)
        shelf.array("key", lambda make: filled([], make))
        os._exit(0)  # as if killed: nothing is tidied up
    os.waitpid(child, 0)
    left = folders(tmp_path)
    assert len(left) == 1
    shelf = Shelf("store", 2, tmp_path)
    assert not left[0].exists()
    assert len(folders(tmp_path)) == 1
    shelf._leave()


def test_memory_that_is_full_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    calls: list[int] = []
    shelf = Shelf("store", 2, tmp_path)
    for _ in range(2):
        assert shelf.array("key", lambda make: filled(calls, make)).sum() == 66
    assert len(calls) == 2
    shelf._leave()


def test_what_is_there_needs_no_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf("store", 2, tmp_path)
    free = 10**9
    monkeypatch.setattr(os, "statvfs", lambda path: type("S", (), {"f_bavail": free, "f_frsize": 1}))
    assert shelf.has_room(free // 2)
    assert not shelf.has_room(free)
    shelf.array("key", lambda make: make((free // 10**6, 1000), torch.uint8))
    taken = free // 10**6 * 1000
    full = type("S", (), {"f_bavail": 0, "f_frsize": 1})
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    assert shelf.has_room(taken)
    assert not shelf.has_room(2 * taken)
    shelf._leave()


def test_shared_splits_are_those_of_the_store(place: Path, tmp_path: Path) -> None:
    store = Store(place / "store")
    rows = store.fold().train
    part = [np.array([5, 1, 9])]
    plain = next(iter(Resident(store, WANTED, rows).batches(part)))
    shelf = Shelf("store", 2, tmp_path)
    for _ in range(2):
        shared = next(iter(Resident(store, WANTED, rows, shelf).batches(part)))
        assert torch.equal(plain.inputs["grid"], shared.inputs["grid"])
        assert torch.equal(plain.target, shared.target)
    shelf._leave()


def test_splits_are_read_once_and_no_more_are_kept_than_fit(place: Path) -> None:
    store = Store(place / "store")
    share_sources(store)
    rows = store.fold().train
    size = split_bytes(store, ("grid",), len(rows)) / 1e9
    first = open_source(store, WANTED, rows, size)
    assert open_source(store, WANTED, rows, size) is first
    others = [open_source(store, WANTED, rows[shift:], size) for shift in (1, 2)]
    assert open_source(store, WANTED, rows[2:], size) is others[1]
    assert open_source(store, WANTED, rows, size) is not first, "the oldest made room"


def test_where_memory_cannot_be_shared_and_copies_would_not_fit_batches_are_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(place / "store")
    shelf = Shelf("store", 4, tmp_path)
    monkeypatch.setattr(shelf, "has_room", lambda size: False)
    share_sources(store, shelf)
    rows = store.fold().train
    size = split_bytes(store, ("grid",), len(rows)) / 1e9
    assert isinstance(open_source(store, WANTED, rows, size), Streamed)
    assert isinstance(open_source(store, WANTED, rows, 3 * size), Resident)
    shelf._leave()


def test_the_store_is_opened_once_for_all_trials(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Watched(Store):
        def __init__(self, folder: Path) -> None:
            opened.append(folder)
            super().__init__(folder)

    monkeypatch.setattr(stage, "Store", Watched)
    plan = search(write(place, study={"n_trials": 3, "epochs": 1}))
    assert len(read_json(plan.folder / "trials_history.json")["trials"]) == 3
    assert opened == [place / "store"]
