"""Candidate columns of a series: raw ones and the families of indicators that the config asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.core.times import zone
from pipeline.importance import indicators as kinds
from pipeline.importance.indicators import Floats
from pipeline.importance.labels import local_times
from pipeline.importance.sections import (
    AverageConfig,
    ChangeConfig,
    FeaturesConfig,
    ReturnsConfig,
    RsiConfig,
    VolatilityConfig,
)
from pipeline.importance.series import DATASET, Series
from pipeline.importance.sheet import TIMES


@dataclass(frozen=True)
class Column:
    """A candidate: one number a row."""

    name: str
    values: Floats
    rows: int
    """Rows that a value is made of, its own included; averages with memory count by their period."""
    derived: bool


def candidate_columns(features: FeaturesConfig, series: Series) -> list[Column]:
    """Return the candidate columns of one series, raw ones first.

    Raises:
        InputError: a column that is asked for is not there, a name occurs twice, or there is no candidate.
    """
    source = _Source(features, series)
    raw = list(series.columns) if features.raw is None else features.raw
    found = [Column(name, source.of(name, "features.raw"), 1, False) for name in raw]
    found += [Column(name, values, rows, True) for name, values, rows in _derived(features, source)]
    names = [column.name for column in found]
    twice = sorted({name for name in names if names.count(name) > 1} | ({*TIMES, DATASET} & set(names)))
    if twice:
        raise InputError(
            f"features: two columns would be named {shorten(twice)}; rename that of the files, or leave one"
        )
    if not found:
        raise InputError("features: no candidate column; give features.raw or features.indicators")
    return found


class _Source:
    def __init__(self, features: FeaturesConfig, series: Series) -> None:
        self._features, self.series = features, series

    def of(self, name: str, setting: str) -> Floats:
        if name not in self.series.columns:
            names = list(self.series.columns)
            raise InputError(
                f"{setting}: no column {name!r} in the data files{near(name, names)} Numeric columns: "
                f"{shorten(names, 20)}"
            )
        return self.series.columns[name]

    def price(self, role: str) -> Floats:
        """Return the open, high, low, close or volume."""
        return self.of(str(getattr(self._features, role)), f"features.{role}")

    def each(self, columns: list[str], setting: str) -> Iterator[tuple[str, Floats]]:
        """Yield the columns of a family with the prefix of their derived columns: none for the close."""
        close = self._features.close
        for name in columns or [close]:
            values = self.price("close") if name == close else self.of(name, setting)
            yield "" if name == close else f"{name}_", values


_Steps = ReturnsConfig | ChangeConfig | VolatilityConfig | RsiConfig
Derived = Iterator[tuple[str, Floats, int]]
"""Name, values and rows that a value is made of."""


def _derived(features: FeaturesConfig, source: _Source) -> Derived:
    yield from _moves(features, source)
    yield from _averages("sma", features.indicators.sma, source)
    yield from _averages("ema", features.indicators.ema, source)
    yield from _oscillators(features, source)
    yield from _of_bars(features, source)
    if features.indicators.time:
        place = zone(features.indicators.time.timezone, "features.indicators.time.timezone")
        local = local_times(source.series.time, place)
        for length in features.indicators.time.cycles:
            sine, cosine = kinds.cycle(local, length)
            yield f"{length}_sin", sine, 1
            yield f"{length}_cos", cosine, 1


def _moves(features: FeaturesConfig, source: _Source) -> Derived:
    families = features.indicators
    yield from _by_rows("returns", "return", families.returns, kinds.log_return, source)
    yield from _by_rows("change", "change", families.change, kinds.change, source)
    yield from _by_rows("volatility", "volatility", families.volatility, kinds.volatility, source)


def _by_rows(
    family: str, name: str, settings: _Steps | None, kind: Callable[[Floats, int], Floats], source: _Source
) -> Derived:
    """Yield what is computed from the steps between rows, for each column and each number of steps."""
    if settings is None:
        return
    for prefix, x in source.each(settings.columns, f"features.indicators.{family}.columns"):
        for rows in settings.periods:
            yield f"{prefix}{name}_{rows}", kind(x, rows), rows + 1


def _averages(kind: str, settings: AverageConfig | None, source: _Source) -> Derived:
    if settings is None:
        return
    average = kinds.sma if kind == "sma" else kinds.ema
    for prefix, x in source.each(settings.columns, f"features.indicators.{kind}.columns"):
        for rows in settings.periods:
            yield f"{prefix}{kind}_{rows}", kinds.average_form(x, average(x, rows), settings.form), rows


def _oscillators(features: FeaturesConfig, source: _Source) -> Derived:
    families = features.indicators
    yield from _by_rows("rsi", "rsi", families.rsi, kinds.rsi, source)
    if families.bollinger:
        for prefix, x in source.each(families.bollinger.columns, "features.indicators.bollinger.columns"):
            for rows in families.bollinger.periods:
                place, width = kinds.bollinger(x, rows, families.bollinger.width)
                yield f"{prefix}bollinger_b_{rows}", place, rows
                yield f"{prefix}bollinger_width_{rows}", width, rows
    if families.macd:
        macd = families.macd
        line, histogram = kinds.macd(source.price("close"), macd.fast, macd.slow, macd.signal)
        yield "macd", line, macd.slow
        yield "macd_histogram", histogram, macd.slow + macd.signal - 1


def _of_bars(features: FeaturesConfig, source: _Source) -> Derived:
    """Yield what needs high and low, or the volume."""
    families = features.indicators
    if families.atr:
        high, low, close = (source.price(role) for role in ("high", "low", "close"))
        for rows in families.atr.periods:
            yield f"atr_{rows}", kinds.atr(high, low, close, rows), rows + 1
    if families.stochastic:
        high, low, close = (source.price(role) for role in ("high", "low", "close"))
        k, d = families.stochastic.k, families.stochastic.d
        percent, smooth = kinds.stochastic(high, low, close, k, d)
        yield f"stochastic_k_{k}", percent, k
        yield f"stochastic_d_{k}", smooth, k + d - 1
    if families.volume:
        volume = source.price("volume")
        for rows in families.volume.periods:
            yield f"volume_{rows}", np.asarray(kinds.relative_volume(volume, rows)), rows
