"""Reading a store: pread gives what numpy gives, and says what is wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract.store import Rows
from pipeline.core.errors import InputError
from tests.store.conftest import Build


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    values = np.random.default_rng(0).standard_normal((50, 3, 4, 5)).astype(np.float16)
    path = tmp_path_factory.mktemp("rows") / "grid.npy"
    np.save(path, values)
    return path, values


@given(rows=st.lists(st.integers(0, 49), max_size=120))
def test_any_rows_in_any_order_are_those_of_numpy(saved: tuple[Path, np.ndarray], rows: list[int]) -> None:
    path, values = saved
    chosen = np.array(rows, np.int64)
    assert np.array_equal(Rows(path).read(chosen), values[chosen])


def test_contiguous_rows_into_a_buffer(saved: tuple[Path, np.ndarray]) -> None:
    path, values = saved
    rows = Rows(path)
    assert (len(rows), rows.shape, rows.dtype) == (50, (50, 3, 4, 5), np.float16)
    out = np.zeros((20, 3, 4, 5), np.float16)
    assert rows.read(np.arange(7, 27), out) is out
    assert np.array_equal(out, values[7:27])


def test_one_number_a_sample(tmp_path: Path) -> None:
    values = np.arange(9, dtype=np.float32)
    np.save(tmp_path / "a.npy", values)
    assert Rows(tmp_path / "a.npy").read(np.array([8, 0, 1, 1])).tolist() == [8, 0, 1, 1]


@pytest.mark.parametrize("rows", [[-1], [0, 50], [3, 4, 51]])
def test_a_row_outside_is_an_error(saved: tuple[Path, np.ndarray], rows: list[int]) -> None:
    with pytest.raises(IndexError, match="of 50 samples"):
        Rows(saved[0]).read(np.array(rows))


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((2, 3, 4, 5), np.float32),
        np.zeros((3, 3, 4, 5), np.float16),
        np.zeros((2, 3, 4, 10), np.float16)[..., ::2],
    ],
)
def test_a_buffer_that_does_not_fit_is_an_error(saved: tuple[Path, np.ndarray], out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needed: C-ordered float16"):
        Rows(saved[0]).read(np.array([1, 2]), out)


def test_a_truncated_file_is_an_error_not_old_memory(saved: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    data = saved[0].read_bytes()
    path = tmp_path / "short.npy"
    path.write_bytes(data[:-60])
    rows = Rows(path)
    assert np.array_equal(rows.read(np.array([48])), saved[1][48:49])
    with pytest.raises(InputError, match=r"short\.npy: shorter than its header says"):
        rows.read(np.array([48, 49]))


def test_fortran_order_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.asfortranarray(np.zeros((3, 4))))
    with pytest.raises(InputError, match="C order"):
        Rows(tmp_path / "f.npy")


def test_a_store_opens_by_name(build: Build) -> None:
    store = build()
    rows = store.rows("grid")
    assert rows.shape == (store.spec.samples, *store.spec.inputs["grid"].shape)
    some = store.fold().val[::7]
    assert np.array_equal(rows.read(some), np.load(store.folder / "grid.npy")[some], equal_nan=True)
    with pytest.raises(InputError, match=r"train\.fold: '2099' is not in the store; it has default"):
        store.fold("2099")
