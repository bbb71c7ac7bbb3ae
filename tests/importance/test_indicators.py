"""Indicators: by their definitions, and blind to the future."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from pipeline.importance import indicators as kinds
from pipeline.importance.columns import candidate_columns
from pipeline.importance.indicators import DAY
from pipeline.importance.sections import FeaturesConfig, IndicatorsConfig
from pipeline.importance.series import Series
from pipeline.importance.windows import STATISTICS, window_statistic

QUARTER = 900_000_000
EVERYTHING = FeaturesConfig(
    raw=["close", "other"],
    window=7,
    statistics=list(STATISTICS),
    indicators=IndicatorsConfig.model_validate(
        {
            "returns": {"columns": ["close", "open"]},
            "change": {"columns": ["other"]},
            "sma": {"periods": [5], "form": "difference", "columns": ["other"]},
            "ema": {"periods": [6, 9]},
            "volatility": {"periods": [5]},
            "rsi": {"periods": [4]},
            "macd": {"fast": 3, "slow": 6, "signal": 4},
            "atr": {"periods": [5]},
            "bollinger": {"periods": [8]},
            "stochastic": {"k": 6, "d": 3},
            "volume": {"periods": [5]},
            "time": {"cycles": ["day", "week", "year"]},
        }
    ),
)


def bars(rows: int = 120, seed: int = 0, holes: bool = False) -> Series:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, rows)))
    opened = close * np.exp(random.normal(0, 0.003, rows))
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.002,
        "low": np.minimum(opened, close) * 0.997,
        "close": close,
        "volume": random.integers(0, 50, rows).astype(float),
        "other": random.normal(size=rows),
    }
    if holes:
        for values in columns.values():
            values[random.integers(0, rows, 4)] = np.nan
    start = 1_700_000_100_000_000
    return Series("made", start + QUARTER * np.arange(rows), columns)


def cut(series: Series, rows: int) -> Series:
    return Series(series.name, series.time[:rows], {name: values[:rows] for name, values in series.columns.items()})


@pytest.mark.parametrize("holes", [False, True])
def test_no_column_looks_ahead(holes: bool) -> None:
    """What stands at a row is the same whether later rows exist or not, of columns and of their window statistics."""
    series = bars(holes=holes)
    whole = candidate_columns(EVERYTHING, series)
    assert len(whole) >= 25
    for rows in (1, 2, 8, 37, 90, 119):
        for before, now in zip(candidate_columns(EVERYTHING, cut(series, rows)), whole, strict=True):
            # Sums may be taken in another order for another number of rows: a few units in the last place.
            np.testing.assert_allclose(before.values, now.values[:rows], rtol=1e-11, atol=1e-13, err_msg=now.name)
            for name in STATISTICS:
                np.testing.assert_allclose(
                    window_statistic(before.values, 7, name),
                    window_statistic(now.values, 7, name)[:rows],
                    rtol=1e-9,
                    atol=1e-11,
                    err_msg=f"{now.name}.{name}",
                )


def test_the_test_of_looking_ahead_finds_it() -> None:
    """A centred mean, the classic mistake, differs at the cut by far more than the tolerance."""
    x = bars().columns["close"]
    centred = np.convolve(x, np.ones(5) / 5, "same")
    assert abs(np.convolve(x[:60], np.ones(5) / 5, "same")[59] - centred[59]) > 1


def test_a_changed_future_changes_nothing() -> None:
    series = bars()
    other = {name: np.where(np.arange(120) < 80, values, values * 3 + 1) for name, values in series.columns.items()}
    for before, now in zip(
        candidate_columns(EVERYTHING, series),
        candidate_columns(EVERYTHING, Series("made", series.time, other)),
        strict=True,
    ):
        np.testing.assert_array_equal(before.values[:80], now.values[:80], err_msg=now.name)


def test_reach_is_how_far_back_a_change_is_seen() -> None:
    """Columns without memory: a row ``rows`` back still counts for none of them, the one after it may."""
    series = bars()
    for column in candidate_columns(EVERYTHING, series):
        if any(word in column.name for word in ("ema", "rsi", "macd", "atr")):
            continue
        spoiled = {name: values.copy() for name, values in series.columns.items()}
        for values in spoiled.values():
            values[: 100 - column.rows + 1] *= 1.5
        again = candidate_columns(EVERYTHING, Series("made", series.time, spoiled))
        same = next(one for one in again if one.name == column.name)
        assert same.values[100] == pytest.approx(column.values[100], rel=1e-12), column.name


def test_returns_changes_and_averages_by_definition() -> None:
    x = np.array([1.0, 2.0, 4.0, 3.0, 6.0])
    np.testing.assert_allclose(kinds.log_return(x, 2), [np.nan, np.nan, np.log(4), np.log(1.5), np.log(1.5)])
    np.testing.assert_allclose(kinds.change(x, 1), [np.nan, 1, 2, -1, 3])
    np.testing.assert_allclose(kinds.sma(x, 3), [np.nan, np.nan, 7 / 3, 3, 13 / 3])
    assert np.isnan(kinds.sma(x, 6)).all()
    # EMA of 3: weight 1/2, begun with the mean of three.
    first = 7 / 3
    np.testing.assert_allclose(kinds.ema(x, 3)[2:], [first, (first + 3) / 2, ((first + 3) / 2 + 6) / 2])
    np.testing.assert_allclose(kinds.wilder(x, 3)[2:], [first, (2 * first + 3) / 3, (2 * (2 * first + 3) / 3 + 6) / 3])
    np.testing.assert_allclose(kinds.average_form(x, kinds.sma(x, 2), "ratio")[1:], [1 / 3, 1 / 3, -1 / 7, 1 / 3])
    np.testing.assert_allclose(kinds.volatility(x, 2)[2], 0.0, atol=1e-15)
    assert np.isnan(kinds.log_return(np.array([1.0, 0.0, 1.0]), 1)[1:]).all()


def test_averages_with_memory_pass_over_holes() -> None:
    x = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    np.testing.assert_allclose(kinds.ema(x, 2), [np.nan, 1.5, np.nan, 2.5, 3.5])


def test_rsi_of_wilder() -> None:
    x = np.array([10.0, 11, 10, 12, 13, 12.5])
    up, down = (1 + 0 + 2) / 3, (0 + 1 + 0) / 3
    expected = [100 - 100 / (1 + up / down)]
    for gain, loss in ((1, 0), (0, 0.5)):
        up, down = (2 * up + gain) / 3, (2 * down + loss) / 3
        expected.append(100 - 100 / (1 + up / down))
    np.testing.assert_allclose(kinds.rsi(x, 3)[3:], expected)
    assert kinds.rsi(np.arange(5.0), 3)[-1] == 100
    assert kinds.rsi(np.ones(5), 3)[-1] == 50


def test_macd_and_atr_by_definition() -> None:
    series = bars()
    high, low, close = (series.columns[name] for name in ("high", "low", "close"))
    line, histogram = kinds.macd(close, 3, 6, 4)
    plain = kinds.ema(close, 3) - kinds.ema(close, 6)
    np.testing.assert_allclose(line * close, plain)
    signal = plain[5:9].mean()
    assert histogram[8] * close[8] == pytest.approx(plain[8] - signal)
    assert np.isnan(histogram[:8]).all()
    ranges = [
        max(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1])) for t in range(1, len(close))
    ]
    mean = np.mean(ranges[:5])
    assert kinds.atr(high, low, close, 5)[5] == pytest.approx(mean / close[5])
    assert kinds.atr(high, low, close, 5)[6] == pytest.approx((4 * mean + ranges[5]) / 5 / close[6])


def test_bollinger_stochastic_and_volume_by_definition() -> None:
    series = bars()
    high, low, close, volume = (series.columns[name] for name in ("high", "low", "close", "volume"))
    place, width = kinds.bollinger(close, 8, 2.0)
    last = close[20 - 7 : 21]
    middle, spread = last.mean(), last.std()
    lower, upper = middle - 2 * spread, middle + 2 * spread
    assert place[20] == pytest.approx((close[20] - lower) / (upper - lower))
    assert width[20] == pytest.approx((upper - lower) / middle)
    k, d = kinds.stochastic(high, low, close, 6, 3)
    of = [100 * (close[t] - low[t - 5 : t + 1].min()) / np.ptp([high[t - 5 : t + 1].max(), low[t - 5 : t + 1].min()])
          for t in (18, 19, 20)]  # fmt: skip
    assert k[20] == pytest.approx(of[-1])
    assert d[20] == pytest.approx(np.mean(of))
    assert kinds.bollinger(np.ones(9), 8, 2.0)[0][-1] == 0.5
    assert kinds.stochastic(np.ones(9), np.ones(9), np.ones(9), 6, 3)[0][-1] == 50
    assert kinds.relative_volume(volume, 5)[20] == pytest.approx(volume[20] / volume[16:21].mean() - 1)
    assert np.isnan(kinds.relative_volume(np.zeros(6), 5)[-1])


@pytest.mark.parametrize(
    ("moment", "length", "turn"),
    [
        ("1970-01-05 00:00", "week", 0.0),
        ("2024-03-06 12:00", "week", 2.5 / 7),
        ("2024-03-06 06:00", "day", 0.25),
        ("2024-12-31 00:00", "year", 365 / 366),
        ("2023-07-02 12:00", "year", 0.5),
    ],
)
def test_cycles(moment: str, length: str, turn: float) -> None:
    time = np.array([int((datetime.fromisoformat(moment) - datetime(1970, 1, 1)).total_seconds()) * 1_000_000])
    sine, cosine = kinds.cycle(time, length)
    assert (sine[0], cosine[0]) == pytest.approx((np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)), abs=1e-9)
    assert DAY == 86_400 * 1_000_000


def test_window_statistics_by_definition() -> None:
    x = np.array([5.0, 1, 2, 4, np.nan, 6])
    assert {name: window_statistic(x, 3, name)[3] for name in STATISTICS} == pytest.approx(
        {"last": 4, "mean": 7 / 3, "std": np.std([1, 2, 4]), "min": 1, "max": 4, "slope": 1.5, "change": 3}
    )
    # One of three is missing: two are enough; the ends must be there for last and change.
    last = {name: window_statistic(x, 3, name)[5] for name in STATISTICS}
    assert last == pytest.approx({"last": 6, "mean": 5, "std": 1, "min": 4, "max": 6, "slope": 1, "change": 2})
    assert np.isnan([window_statistic(x, 3, name)[4] for name in ("last", "change")]).all()
    assert np.isnan(window_statistic(x, 5, "mean")[1])
