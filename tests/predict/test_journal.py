"""What is on disk of finished batches, whole, cut off and spoiled."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.predict.journal import Journal

ROWS, WIDTH, BATCH = 23, 5, 4


def values(first: int, last: int) -> np.ndarray:
    rows = np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH) ** 1.5
    rows[3, 2] = np.nan
    return rows[first:last]


def fill(journal: Journal, batches: int) -> None:
    for first, last in list(journal.todo())[:batches]:
        journal.add(first, values(first, last))


def test_rows_come_back_bit_for_bit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows", ROWS, WIDTH, BATCH)
    fill(journal, 6)
    assert list(journal.todo()) == []
    assert journal.read().tobytes() == values(0, ROWS).tobytes()


@pytest.mark.parametrize("cut", range(0, 24 * BATCH * 3 + 1, 7))
def test_cut_off_anywhere_it_goes_on_with_the_first_batch_that_is_not_whole(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path / "rows", ROWS, WIDTH, BATCH)
    fill(journal, 3)
    journal.path.write_bytes(journal.path.read_bytes()[:cut])
    assert next(journal.todo())[0] == cut // (24 * BATCH) * BATCH
    fill(journal, 6)
    assert journal.read().tobytes() == values(0, ROWS).tobytes()


@pytest.mark.parametrize("place", [0, 5, 23, 96, 200, 550])
def test_a_spoiled_byte_is_noticed(tmp_path: Path, place: int) -> None:
    journal = Journal(tmp_path / "rows", ROWS, WIDTH, BATCH)
    fill(journal, 6)
    data = bytearray(journal.path.read_bytes())
    data[place] ^= 16
    journal.path.write_bytes(bytes(data))
    assert next(journal.todo())[0] == place // (24 * BATCH) * BATCH
    fill(journal, 6)
    assert journal.read().tobytes() == values(0, ROWS).tobytes()


def test_rows_that_are_too_many_are_no_rows(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows", ROWS, WIDTH, BATCH)
    fill(journal, 6)
    with journal.path.open("ab") as stream:
        stream.write(b"more")
    fill(journal, 6)
    assert journal.read().tobytes() == values(0, ROWS).tobytes()
