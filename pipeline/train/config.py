"""Settings of the train stage: what is trained on a store, how, and how the best weights are chosen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.core.config import Section, runtime
from pipeline.train.sections.model import AugmentConfig, LossConfig, ModelConfig
from pipeline.train.sections.optimisation import EarlyStoppingConfig, EmaConfig, OptimizerConfig, ScheduleConfig

__all__ = [
    "FORMAT",
    "AugmentConfig",
    "EarlyStoppingConfig",
    "EmaConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "TrainConfig",
]

FORMAT = 1
"""Raised when the same settings would train other weights, so that old runs are not taken for new ones."""


class TrainConfig(Section):
    """One training run."""

    seed: int = Field(42, ge=0, lt=2**63)
    fold: str = Field("default", coerce_numbers_to_str=True)
    """Division of the samples: ``default`` or, with leave_one_year_out, a year."""
    inputs: list[str] = Field(default=["ALL"], min_length=1)
    """Inputs of the store that the model sees: ``["ALL"]`` or names."""
    epochs: int = Field(50, ge=1)
    batch_size: int = Field(128, ge=1)
    accumulate: int = Field(1, ge=1)
    """Split each batch into this many micro-batches (of two samples or more): less memory for the same gradient.

    Batch normalisation alone notices: it takes its statistics from each micro-batch.
    """
    select: Literal["val_map", "val_loss", "val_f1", "last"] = "val_map"
    """Metric that chooses the epoch whose weights are kept (val_f1: macro F1 at 0.5).

    ``last`` keeps the weights of the last epoch: for schedules that end near zero, so that nothing is chosen by luck.
    """
    sampler: Literal["shuffle", "weighted"] = "shuffle"
    """``weighted`` draws days with rare classes more often."""
    clip_norm: float = Field(0.0, ge=0)
    """Largest gradient norm; 0: no clipping."""
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    augment: AugmentConfig = AugmentConfig()
    ema: EmaConfig = EmaConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    precision: Literal["32", "bf16", "fp16"] = "32"
    channels_last: bool = True
    """Memory layout of maps inside the model, N × H × W × C: convolutions are faster so on most processors."""
    compile: bool = False
    """torch.compile: minutes of preparation for faster steps; worth it for long runs on a GPU."""
    device: Literal["auto", "cpu", "cuda"] = runtime("auto")
    threads: int = runtime(0, ge=0)
    """CPU threads; 0: all cores of this job. Weights are the same bit for bit only with the same number."""
    memory_gb: float = runtime(2.0, gt=0)
    """Splits that fit into this much memory are kept there; larger ones are read from disk batch by batch."""
    max_time: float | None = runtime(None, gt=0)
    """Stop at a safe point after this many minutes (exit code 75)."""
    checkpoint_minutes: float = runtime(10.0, gt=0)
    """Write a checkpoint inside an epoch at least this often; one is written after every epoch anyway."""

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> TrainConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: batch_size {self.batch_size} is not divisible by {self.accumulate}")
        return self
