"""Settings of how weights move: rates, optimizer, schedule, freezing, clipping, averaging, stopping."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.config import Section, runtime

Metric = Literal["val_map", "val_loss", "val_f1", "val_accuracy"]
NO_LAYER_RATES = "層別学習率が有効ですが layer_rates が定義されていません"
"""The configuration guide's words."""


def later(default: Any, **constraints: Any) -> Any:
    """Declare a setting that came after runs existed: at its default, which never changes, it is in no signature."""
    return Field(default, json_schema_extra={"later": True}, **constraints)


class OptimizerConfig(Section):
    """The optimizer."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    """SGD only."""
    nesterov: bool = later(True)
    """SGD with momentum: Nesterov's form of it."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)


class RatesConfig(Section):
    """Which parameters learn at which rate; the schedule multiplies all of them alike."""

    by: Literal["one", "stages", "layers"] = "one"
    """``one``: all at optimizer.lr; ``stages``: head, then the backbone stage by stage; ``layers``: by name."""
    head: float = Field(3e-4, gt=0)
    """Stages: everything that is not a backbone."""
    backbone: float = Field(3e-5, gt=0)
    """Stages: the deepest stage of each backbone."""
    decay: float = Field(0.1, gt=0, le=1)
    """Stages: each shallower stage learns at this share of the rate of the next deeper one."""
    layer_rates: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Layers: ordered {regular expression: rate}; the first that matches a parameter's name from its start decides.

    Names are those of the backbone (``layer1.0.conv1.weight``), ``fc.…`` for the head, or the full name in the
    checkpoint. Parameters that none matches learn at optimizer.lr.
    """

    log_scale: bool = runtime(True)
    """Whether the rates of groups are drawn on a logarithmic axis."""

    @field_validator("layer_rates")
    @classmethod
    def _expressions(cls, value: dict[str, float]) -> dict[str, float]:
        check_expressions(list(value))
        return value

    @model_validator(mode="after")
    def _defined(self) -> RatesConfig:
        if self.by == "layers" and not self.layer_rates:
            raise ValueError(NO_LAYER_RATES)
        if self.by != "layers" and self.layer_rates:
            raise ValueError(f"layer_rates: unused with by={self.by}; set by: layers, or remove them")
        return self


class ScheduleConfig(Section):
    """The learning rate over time."""

    name: Literal["plateau", "cosine", "onecycle", "step", "multistep", "exponential", "linear", "none"] = "plateau"
    factor: float = Field(0.5, gt=0, lt=1)
    """Plateau: the rate times this after ``patience`` epochs without gain of the selection metric."""
    patience: int = Field(5, ge=0)
    warmup_epochs: float = Field(0.0, ge=0)
    """Linear warm-up from 0; with cosine, step, multistep, exponential, linear and none."""
    start: float = later(1.0, gt=0, le=1)
    """Linear: first rate as a fraction of optimizer.lr (torch's ``start_factor``)."""
    final: float = Field(0.0, ge=0, le=1)
    """Cosine and linear: last rate as a fraction of optimizer.lr (torch's ``end_factor``)."""
    eta_min: float = later(0.0, ge=0)
    """Cosine: the last rate itself, in place of ``final``; a group whose own rate is smaller keeps that."""
    length: int | None = later(None, ge=1)
    """Cosine and linear: epochs until the last rate, which then stays (``T_max``, ``total_iters``); null: all epochs.

    The rate never climbs back, also where training goes on for longer.
    """
    each: Literal["step", "epoch"] = later("step")
    """Cosine and linear: the rate moves at each step, or once an epoch as torch's schedulers are usually stepped."""
    step_size: int = Field(10, ge=1)
    gamma: float = Field(0.1, gt=0, le=1)
    """Step, multistep, exponential: factor a step."""
    milestones: list[int] = Field(default_factory=list)
    """Multistep: epochs."""

    @model_validator(mode="after")
    def _one_floor(self) -> ScheduleConfig:
        if self.eta_min and (self.final or self.name != "cosine"):
            raise ValueError("eta_min: of cosine only, and in place of final; set one of them")
        return self


class UnfreezeConfig(Section):
    """Progressive unfreezing: the backbone starts frozen and is trained stage by stage, the deepest first."""

    enabled: bool = False
    epochs: list[Annotated[int, Field(ge=0)]] = Field(default=[10, 20, 30], min_length=1)
    """Epochs finished before the deepest stage is trained, before the next shallower one, and so on."""
    rest: Literal["frozen", "last"] = "frozen"
    """Stages shallower than those: stay ``frozen``, or are trained together with the ``last``."""

    @field_validator("epochs")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if value != sorted(value):
            raise ValueError(f"deeper stages come first, so epochs must not fall; found {value}")
        return value


class AgcConfig(Section):
    """Adaptive gradient clipping (Brock et al. 2021): each unit's gradient against the size of its own weights."""

    enabled: bool = False
    clip_factor: float = Field(0.01, gt=0)
    """Largest ratio of gradient norm to weight norm."""
    eps: float = Field(1e-3, gt=0)
    """Weights count as at least this large."""


class EmaConfig(Section):
    """Exponential moving average of the weights; validated and kept in place of the raw ones."""

    decay: float = Field(0.0, ge=0, lt=1)
    """0: none. The first steps use (1 + n)/(10 + n) where that is smaller."""


class EarlyStoppingConfig(Section):
    """Stop when the monitored metric no longer gains."""

    patience: int = Field(0, ge=0)
    """Epochs without a gain of ``min_delta`` before stopping; 0: never stop early."""
    min_delta: float = Field(0.0, ge=0)
    """A gain of at least this counts, any gain with 0; of val_accuracy in percent points, of others in their unit."""
    monitor: Metric | None = later(None)
    """Metric that is watched; null: the one that selects. Where ``select`` is not written, this selects as well."""


class GradientsConfig(Section):
    """A record of the gradient norms of every epoch in ``gradient_trace.csv``; it changes no weight."""

    enabled: bool = False
    record_frequency: int = Field(1, ge=1)
    """Epochs from one row to the next."""
    exclude_patterns: list[str] = Field(default=[r"fc\.", r"\.bias"])
    """Regular expressions; a parameter in whose name one occurs is left out (``fc.…`` is the head)."""
    group_by_block: bool = True
    """A column a block (layer1, stages.0, …) instead of one a parameter."""
    aggregation_method: Literal["median", "mean", "max", "rms"] = "median"
    """From the parameters of a block to its value; each parameter's is the mean norm over the steps of the epoch."""

    @field_validator("exclude_patterns")
    @classmethod
    def _expressions(cls, value: list[str]) -> list[str]:
        check_expressions(value)
        return value


def check_expressions(patterns: list[str]) -> None:
    """Raise ``ValueError`` for a text that is no regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
