"""Settings of labels and of candidate columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.config import Section

Periods = Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(min_length=1)]
Statistic = Literal["last", "mean", "std", "min", "max", "slope", "change"]


class RuleConfig(Section):
    """Labels ``up``, ``flat``, ``down`` by the logarithmic return ``ln(x[t + horizon] / x[t])`` of a column."""

    column: str = "close"
    horizon: int = Field(4, ge=1, le=100_000)
    """Rows ahead."""
    dead_band: float = Field(0.0, ge=0)
    """``flat`` where the return is at most this far from 0; with 0 there is no ``flat``, and no change has no label."""


class LabelsConfig(Section):
    """Where the class of a row comes from: one of ``column``, ``file``, ``images`` and ``rule``."""

    column: str = ""
    """A column of the data files; of ``file``, its column with the class (``label`` if empty)."""
    file: str = ""
    """A CSV file with a time column and classes. Dates without a clock go with the only row of that day."""
    images: list[str] = Field(default_factory=list)
    """Folders of images named ``{dataset}_{timeframe}_{YYYYMMDD}_{HHMM}….png`` in folders named by class."""
    rule: RuleConfig | None = None
    """A return over the next rows."""
    classes: list[str] = Field(default_factory=list)
    """Only rows of these classes are used, in this order; empty: all classes, sorted."""
    offset: int | None = Field(None, le=0)
    """Last row that a sample knows, counted from the row of its label; empty: 0 with a rule, else −1.

    A row that itself determines its label must not be known: use −1 or less then.
    """

    @model_validator(mode="after")
    def _one_source(self) -> LabelsConfig:
        given = [bool(self.file), bool(self.images), self.rule is not None, bool(self.column) and not self.file]
        if sum(given) != 1:
            raise ValueError(
                "give one of column (of the data files), file, images and rule; a column beside file is the file's"
            )
        return self

    @property
    def known_offset(self) -> int:
        """Return the offset that is meant."""
        if self.offset is not None:
            return self.offset
        return 0 if self.rule else -1

    @property
    def horizon(self) -> int:
        """Return how many rows after its own a label looks at."""
        return self.rule.horizon if self.rule else 0


class ColumnsConfig(Section):
    """A family that is computed of single columns over several periods."""

    columns: list[str] = Field(default_factory=list)
    """Empty: the close."""
    periods: Periods


class ReturnsConfig(ColumnsConfig):
    """Logarithmic returns over ``periods`` rows."""

    periods: Periods = Field([1, 4, 16])


class ChangeConfig(ColumnsConfig):
    """Differences over ``periods`` rows, for columns that may be 0 or below."""

    periods: Periods = Field([1, 3])


class AverageConfig(ColumnsConfig):
    """Moving averages of ``periods`` rows."""

    periods: Periods = Field([10, 50])
    form: Literal["ratio", "difference", "level"] = "ratio"
    """``ratio``: value / average − 1; ``difference``: value − average; ``level``: the average itself."""


class VolatilityConfig(ColumnsConfig):
    """Standard deviation of one-row logarithmic returns over ``periods`` rows."""

    periods: Periods = Field([20])


class RsiConfig(ColumnsConfig):
    """Relative strength index (Wilder)."""

    periods: Periods = Field([14])


class MacdConfig(Section):
    """Moving average convergence divergence (Appel) of the close, relative to it."""

    fast: int = Field(12, ge=1)
    slow: int = Field(26, ge=2)
    signal: int = Field(9, ge=1)

    @model_validator(mode="after")
    def _order(self) -> MacdConfig:
        if self.fast >= self.slow:
            raise ValueError(f"fast {self.fast} is shorter than slow {self.slow}; make it so")
        return self


class AtrConfig(Section):
    """Average true range (Wilder), relative to the close."""

    periods: Periods = Field([14])


class BollingerConfig(ColumnsConfig):
    """Bollinger bands: place within the bands and their width."""

    periods: Periods = Field([20])
    width: float = Field(2.0, gt=0)
    """Standard deviations from the middle to a band."""


class StochasticConfig(Section):
    """Stochastic oscillator (Lane): %K over ``k`` rows and %D, its average over ``d``."""

    k: int = Field(14, ge=1)
    d: int = Field(3, ge=1)


class VolumeConfig(Section):
    """Volume relative to its moving average, ``v / average − 1``."""

    periods: Periods = Field([20])


class TimeConfig(Section):
    """Where a row lies in the day, week or year, as sine and cosine."""

    cycles: list[Literal["day", "week", "year"]] = Field(["day", "week"], min_length=1)
    timezone: str = "UTC"
    """Whose clock."""


class IndicatorsConfig(Section):
    """Families of derived columns; absent means none, ``rsi: {}`` means the defaults."""

    returns: ReturnsConfig | None = None
    change: ChangeConfig | None = None
    sma: AverageConfig | None = None
    ema: AverageConfig | None = None
    volatility: VolatilityConfig | None = None
    rsi: RsiConfig | None = None
    macd: MacdConfig | None = None
    atr: AtrConfig | None = None
    bollinger: BollingerConfig | None = None
    stochastic: StochasticConfig | None = None
    volume: VolumeConfig | None = None
    time: TimeConfig | None = None


class FeaturesConfig(Section):
    """Candidate columns, and what of their last rows LightGBM sees."""

    raw: list[str] | None = None
    """Columns taken as they are; not given: all numeric ones of the files but the label's; ``[]``: none."""
    indicators: IndicatorsConfig = IndicatorsConfig()
    open: str = "open"
    high: str = "high"
    low: str = "low"
    close: str = "close"
    volume: str = "volume"
    window: int = Field(1, ge=1, le=100_000)
    """Rows that a sample knows of each column, as ``store.series.window_size``."""
    statistics: list[Statistic] = Field(["last", "mean", "std"], min_length=1)
    """Numbers made of each window; of a window of one row only ``last`` is used."""

    @field_validator("raw", "statistics")
    @classmethod
    def _once(cls, names: list[str] | None) -> list[str] | None:
        repeated = sorted({name for name in names or [] if (names or []).count(name) > 1})
        if repeated:
            raise ValueError(f"{', '.join(repeated)} written twice; keep one")
        return names
