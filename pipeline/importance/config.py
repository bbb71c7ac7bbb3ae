"""Settings of the feature importance of numeric series: one YAML file is one analysis."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.config import Section, runtime
from pipeline.importance.sections import FeaturesConfig, LabelsConfig

FORMAT = 1
"""Raised when the same settings would give other numbers, so that old runs are not taken for new ones."""


class DataConfig(Section):
    """CSV files with a time column and numbers, as ``store.series`` reads them."""

    files: list[str] = Field(min_length=1)
    """Paths or patterns. Each file is a series of its own unless a column ``dataset_id`` says whose its rows are."""
    time_column: str = ""
    """Empty: ``timestamp``, ``datetime``, ``date`` or ``time``, the first that is there."""
    timezone: str = "UTC"
    """Time zone of times that carry none themselves, those in names of images included."""
    until: str = ""
    """Labels that need rows from this time on are not used: where the rows begin that a store tests on."""


class ValidationConfig(Section):
    """Walk-forward folds for everything that is chosen, and a last block that is judged once."""

    splits: int = Field(4, ge=2, le=50)
    """Folds: trained on all blocks up to one, validated on the next."""
    test_share: float = Field(0.2, gt=0, lt=0.9)
    """Share of the samples at the end that nothing is chosen by."""
    purge: int | None = Field(None, ge=0)
    """Rows before a judged block that are not trained on because their label looks into it; empty: the horizon."""
    embargo: int | None = Field(None, ge=0)
    """Further rows, so that no judged sample shares rows with a trained one; empty: what a sample spans, less one."""


class LightgbmConfig(Section):
    """Parameters of LightGBM that the search starts from, or that are used as they are without a search."""

    rounds: int = Field(100, ge=1, le=5000)
    learning_rate: float = Field(0.05, gt=0, le=1)
    num_leaves: int = Field(15, ge=2, le=1024)
    min_data_in_leaf: int = Field(20, ge=1)
    feature_fraction: float = Field(0.8, gt=0, le=1)
    bagging_fraction: float = Field(0.8, gt=0, le=1)
    lambda_l1: float = Field(0.0, ge=0)
    lambda_l2: float = Field(1.0, ge=0)
    balance: float = Field(1.0, ge=0, le=1)
    """Weight of a sample: (N / (K n_k)) ** balance. 0: all alike; 1: all classes count the same."""
    max_bin: int = Field(63, ge=2, le=65535)
    """Not searched, so that inputs are binned once for all trials. More take longer and rarely tell more."""


class SearchConfig(Section):
    """Optuna's search over the parameters of LightGBM, for the largest mean macro-F1 over inner walk-forward folds.

    Each judged block has a search of its own, which sees only what its model is trained on.
    """

    trials: int = Field(20, ge=0, le=100_000)
    """Of each search. 0: the parameters of ``lightgbm`` are used. The first trial is always those."""
    splits: int = Field(3, ge=1, le=50)
    """Inner folds, cut with the same gaps."""
    rounds: tuple[int, int] = (20, 200)
    learning_rate: tuple[float, float] = (0.02, 0.3)
    num_leaves: tuple[int, int] = (3, 31)
    min_data_in_leaf: tuple[int, int] = (5, 200)
    feature_fraction: tuple[float, float] = (0.3, 1.0)
    bagging_fraction: tuple[float, float] = (0.4, 1.0)
    lambda_l1: tuple[float, float] = (1e-3, 10.0)
    lambda_l2: tuple[float, float] = (1e-3, 10.0)
    balance: tuple[float, float] = (0.0, 1.0)

    @field_validator("*", mode="after")
    @classmethod
    def _ascending(cls, value: object) -> object:
        if isinstance(value, tuple) and not 0 <= value[0] <= value[1]:
            raise ValueError(f"range {list(value)}: lowest first, none below 0")
        return value

    @model_validator(mode="after")
    def _within_lightgbm(self) -> SearchConfig:
        for name in ("rounds", "learning_rate", "min_data_in_leaf", "lambda_l1", "lambda_l2"):
            if getattr(self, name)[0] <= 0:
                raise ValueError(f"{name}: its range starts above 0, as it is searched on a logarithmic scale")
        for name in ("feature_fraction", "bagging_fraction", "balance", "learning_rate"):
            if getattr(self, name)[1] > 1 or (name != "balance" and getattr(self, name)[0] <= 0):
                raise ValueError(f"{name}: its range lies within 0 and 1")
        if self.num_leaves[0] < 2:
            raise ValueError("num_leaves: its range starts at 2 or above")
        return self


class NullConfig(Section):
    """The same analysis with labels shuffled in blocks: what importance looks like where there is nothing to learn."""

    shuffles: int = Field(19, ge=0, le=10_000)
    """p-values are multiples of 1 / (shuffles + 1); 0: no comparison."""
    block: int | None = Field(None, ge=1)
    """Samples that stay together; empty: the rows a sample spans with its label, at least 2 % of the samples."""
    repeats: int = Field(1, ge=1, le=1000)
    """Permutations of each column on each fold; fewer than ``repeats`` make the null wider, so p-values larger."""
    level: float = Field(0.05, gt=0, lt=1)
    """A column exceeds the null where its p-value is at most this."""


class ImportanceConfig(Section):
    """One analysis of feature importance."""

    name: str = Field(pattern=r"^[^/\\.][^/\\]*$")
    """Folder under results/."""
    results: str = runtime("results")
    data: DataConfig
    labels: LabelsConfig
    features: FeaturesConfig = FeaturesConfig()
    validation: ValidationConfig = ValidationConfig()
    lightgbm: LightgbmConfig = LightgbmConfig()
    search: SearchConfig = SearchConfig()
    null: NullConfig = NullConfig()
    repeats: int = Field(5, ge=1, le=1000)
    """Permutations of each column on each fold."""
    shap: bool = False
    """Also mean |SHAP| of each column (LightGBM's own TreeSHAP)."""
    top: int = Field(6, ge=1)
    """Columns that are selected, at most: those with the largest permutation importance, as far as it is above 0."""
    require: Literal["positive", "exceeds_null"] = "positive"
    """What a column needs to be selected; ``exceeds_null`` takes only those that the shuffled labels rarely reach."""
    seed: int = Field(0, ge=0, lt=2**31)
    threads: int = runtime(0, ge=0)
    """Models trained at a time, each in one thread; 0: as many as this process may use cores."""
    update: str = runtime("")
    """A config into whose ``store.series.feature_columns`` the selected columns are written."""

    @model_validator(mode="after")
    def _null_if_required(self) -> ImportanceConfig:
        if self.require == "exceeds_null" and self.null.shuffles == 0:
            raise ValueError("require: exceeds_null compares with shuffled labels; give null.shuffles 19 or more")
        return self
