from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.store.images.series import Bars, Series
from pipeline.store.images.windows import Windows, align
from pipeline.store.moments import Moments
from pipeline.store.sections.series import SeriesConfig

SECOND = 1_000_000
PLAIN = Moments(np.ones(1), np.zeros(1), np.ones(1))
"""A scale that changes nothing."""


def bars(seconds: list[int], values: list[float] | None = None) -> Bars:
    column = np.arange(len(seconds), dtype=float) if values is None else np.array(values, float)
    return Bars(np.array(seconds, np.int64) * SECOND, column[:, None])


def aligned(series: Bars, seconds: list[int], **config: Any) -> Windows:
    settings = SeriesConfig.model_validate({"files": ["a"], **config})
    time = np.array(seconds, np.int64) * SECOND
    return align(Series(("x",), {"": series}, ()), settings, time, np.full(len(time), "", np.str_))


def values(windows: Windows, scale: Moments = PLAIN) -> np.ndarray:
    return np.concatenate(list(windows.blocks(scale)))[..., 0]


def expected(series: Bars, time: int, size: int, offset: int, age: int | None, gap: int | None) -> list[float]:
    """Step back from the image's time row by row."""
    row = int((series.time <= time).sum()) - 1 + offset
    window = [np.nan] * size
    if age is not None and row >= 0 and time - series.time[row] > age:
        return window
    for place in range(size - 1, -1, -1):
        if row < 0:
            break
        window[place] = series.values[row, 0]
        if gap is not None and row > 0 and series.time[row] - series.time[row - 1] > gap:
            break
        row -= 1
    return window


@given(
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    images=st.lists(st.integers(-5, 200), min_size=1, max_size=20),
    size=st.integers(1, 8),
    offset=st.integers(-3, 0),
    age=st.none() | st.integers(1, 12),
    gap=st.none() | st.integers(1, 9),
)
def test_windows_are_those_of_a_step_by_step_search_and_never_after_the_image(
    steps: list[int], images: list[int], size: int, offset: int, age: int | None, gap: int | None
) -> None:
    series = bars(np.cumsum(steps).tolist())
    config = {"window_size": size, "offset": offset}
    config |= {} if age is None else {"max_age": f"{age * 60}m"}
    config |= {} if gap is None else {"max_gap": f"{gap * 60}min"}
    series = Bars(series.time * 3600, series.values)
    hours = [time * 3600 for time in images]
    args = (size, offset, None if age is None else age * 3600 * SECOND, None if gap is None else gap * 3600 * SECOND)
    wanted = np.array([expected(series, time * SECOND, *args) for time in hours], np.float32)
    if len(set(images)) > 1 and min(images) > sum(steps) and not np.isnan(wanted).all():
        with pytest.raises(InputError, match=r"the rows end at .* before the first image"):
            aligned(series, hours, **config)
        return
    if np.isnan(wanted).all():
        with pytest.raises(InputError, match=r"no image has a row in its window"):
            aligned(series, hours, **config)
        return
    windows = aligned(series, hours, **config)
    found = values(windows)
    assert np.array_equal(found, wanted, equal_nan=True)
    for row, time in zip(found, hours, strict=True):
        rows = row[~np.isnan(row)].astype(int)
        assert (series.time[rows] <= time * SECOND).all(), "never after the image's time"
        assert (np.diff(rows) == 1).all()
    assert windows.steps.tolist() == (~np.isnan(wanted)).sum(axis=1).tolist()


def test_the_window_ends_with_the_row_at_the_very_time_of_the_image() -> None:
    series = bars([10, 20, 30, 40])
    found = values(aligned(series, [29, 30, 31], window_size=2))
    assert found.tolist() == [[0, 1], [1, 2], [1, 2]]
    assert values(aligned(series, [30], window_size=2, offset=-1)).tolist() == [[0, 1]]


def test_looking_ahead_must_be_asked_for_and_ends_with_the_series() -> None:
    with pytest.raises(ValueError, match=r"reads rows after the image's time"):
        SeriesConfig(files=["a"], offset=1)
    found = values(aligned(bars([10, 20, 30]), [20, 30], window_size=2, offset=1, look_ahead=True))
    assert np.array_equal(found, [[1, 2], [2, np.nan]], equal_nan=True)


def test_each_row_of_training_windows_counts_once_in_the_scale() -> None:
    series = bars([10, 20, 30, 40, 50, 60], [1, 2, 4, 8, np.nan, 1000])
    windows = aligned(series, [30, 40, 50, 60], window_size=3)
    scale = windows.scale(np.array([0, 1, 2]))
    seen = np.array([1, 2, 4, 8])
    assert (scale.count, scale.mean, scale.std) == (4, seen.mean(), pytest.approx(seen.std(), rel=1e-12))
    assert [mark.tolist() for mark in windows.seen(np.array([0, 2]))] == [[True] * 5 + [False]]
    standard = values(windows, scale)
    assert np.array_equal(standard[0], ((seen[:3] - seen.mean()) / seen.std()).astype(np.float32))
    assert np.isnan(standard[2, 2])


def test_series_of_several_data_sets_keep_their_rows() -> None:
    one, other = bars([10, 20, 30]), bars([10, 20, 30], [100, 101, 102])
    config = SeriesConfig(files=["a"], window_size=2)
    group = np.array(["b", "a", "b"])
    windows = align(Series(("x",), {"a": one, "b": other}, ()), config, np.array([20, 30, 30]) * SECOND, group)
    assert values(windows).tolist() == [[100, 101], [1, 2], [101, 102]]
    assert windows.scale(np.array([0, 2])).mean == 101


def test_images_outside_the_series_are_told() -> None:
    with pytest.raises(InputError, match=r"images are of 1970-01-01T00:00:05Z to .*rows of 1970-01-01T00:00:10Z"):
        aligned(bars([10, 20]), [5, 6])
    empty = aligned(bars([10, 20]), [5, 10], window_size=3)
    assert empty.steps.tolist() == [0, 1]
    assert empty.with_gaps() == [True]
