"""Parts of a job, and the locks by which processes share a folder."""

import logging
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from pipeline.core import lock
from pipeline.core.errors import EnvironmentFault
from pipeline.core.lock import exclusive, holding, updating
from pipeline.core.parts import Part


@pytest.mark.parametrize("of", [1, 2, 3, 7, 20])
def test_parts_cover_everything_once_and_evenly(of: int) -> None:
    items = list(range(13))
    shares = [Part(number, of).mine(items) for number in range(1, of + 1)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("text", "said"), [("3/2", "within 1 and n"), ("0/2", "within"), ("a/b", "i/n"), ("2", "i/n")])
def test_a_wrong_part_is_explained(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Part.parse(text)


def test_no_part_is_the_whole() -> None:
    assert Part.parse("").whole
    assert str(Part.parse("2/8")) == "2/8"


def test_different_parts_share_a_folder_and_one_part_has_one_owner(tmp_path: Path) -> None:
    with holding(tmp_path, Part(1, 2)), holding(tmp_path, Part(2, 2)):
        with pytest.raises(EnvironmentFault, match="in use"), holding(tmp_path, Part(1, 2)):
            pass
        with pytest.raises(EnvironmentFault, match="in use"), exclusive(tmp_path):
            pass
    with exclusive(tmp_path), pytest.raises(EnvironmentFault, match="in use"), holding(tmp_path, Part(1, 2)):
        pass


def _count(folder: str, times: int) -> None:
    for _ in range(times):
        with updating(Path(folder)):
            path = Path(folder) / "count"
            path.write_text(str(int(path.read_text()) + 1))


def test_updates_of_a_shared_record_do_not_overtake_each_other(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(str(tmp_path), 100)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "count").read_text() == "300"


def test_who_waits_long_for_a_shared_record_says_for_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "_PATIENCE", 0.05)
    with caplog.at_level(logging.WARNING, logger="isobar"), updating(tmp_path):
        waiting = threading.Thread(target=_enter, args=(tmp_path,))
        waiting.start()
        while not caplog.messages and waiting.is_alive():
            waiting.join(0.01)
        assert not (tmp_path / "entered").exists()
    waiting.join()
    assert f"waiting for process {os.getpid()} on " in caplog.text
    assert (tmp_path / "entered").exists()


def _enter(folder: Path) -> None:
    with updating(folder):
        (folder / "entered").touch()
