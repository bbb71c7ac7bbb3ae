"""Settings of how weights move: optimizer, schedule, averaging, stopping."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.config import Section


class OptimizerConfig(Section):
    """The optimizer."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    """SGD only (Nesterov)."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)


class ScheduleConfig(Section):
    """The learning rate over time."""

    name: Literal["plateau", "cosine", "onecycle", "step", "multistep", "exponential", "linear", "none"] = "plateau"
    factor: float = Field(0.5, gt=0, lt=1)
    """Plateau: the rate times this after ``patience`` epochs without gain of the selection metric."""
    patience: int = Field(5, ge=0)
    warmup_epochs: float = Field(0.0, ge=0)
    """Linear warm-up from 0; with cosine, step, multistep, exponential, linear and none."""
    final: float = Field(0.0, ge=0, le=1)
    """Cosine and linear: last rate as a fraction of the first."""
    step_size: int = Field(10, ge=1)
    gamma: float = Field(0.1, gt=0, le=1)
    """Step, multistep, exponential: factor a step."""
    milestones: list[int] = Field(default_factory=list)
    """Multistep: epochs."""


class EmaConfig(Section):
    """Exponential moving average of the weights; validated and kept in place of the raw ones."""

    decay: float = Field(0.0, ge=0, lt=1)
    """0: none. The first steps use (1 + n)/(10 + n) where that is smaller."""


class EarlyStoppingConfig(Section):
    """Stop when the selection metric no longer gains."""

    patience: int = Field(0, ge=0)
    """Epochs without a gain of ``min_delta`` before stopping; 0: never stop early."""
    min_delta: float = Field(0.0, ge=0)
