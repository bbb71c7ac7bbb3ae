"""Settings of the train stage: what is trained on a store, how, and how the best weights are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.core.config import Section, runtime
from pipeline.train.sections import start
from pipeline.train.sections.model import AugmentConfig, LossConfig, ModelConfig
from pipeline.train.sections.optimisation import (
    AgcConfig,
    EarlyStoppingConfig,
    EmaConfig,
    GradientsConfig,
    OptimizerConfig,
    RatesConfig,
    ScheduleConfig,
    UnfreezeConfig,
    later,
)
from pipeline.train.sections.tensorboard import TensorBoardConfig
from pipeline.train.sections.torch_schedules import torch_schedule

__all__ = [
    "FORMAT",
    "AgcConfig",
    "AugmentConfig",
    "EarlyStoppingConfig",
    "EmaConfig",
    "GradientsConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RatesConfig",
    "ScheduleConfig",
    "TensorBoardConfig",
    "TrainConfig",
    "UnfreezeConfig",
    "start_versions",
    "torch_schedule",
]

FORMAT = 1
"""Raised when the same settings would train other weights, so that old runs are not taken for new ones."""


_SAME_PRECISION = {"32-true": "32", "bf16-mixed": "bf16"}

Precision = Annotated[
    Literal["32", "32-true", "bf16", "bf16-mixed", "fp16", "16-mixed"],
    BeforeValidator(lambda value: "32" if value == 32 else value),
    AfterValidator(lambda value: _SAME_PRECISION.get(value, value)),
]
"""Lightning's names beside ours."""


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

    Batch normalisation alone notices: it takes its statistics from each micro-batch. Lightning's
    ``accumulate_grad_batches: n`` with ``batch_size: b`` is ``batch_size: n·b`` with ``accumulate: n`` here.
    """
    select: Literal["val_map", "val_loss", "val_f1", "val_accuracy", "last"] = "val_map"
    """Metric that chooses the epoch whose weights are kept (val_f1: macro F1 at 0.5, or of the likeliest class).

    ``last`` keeps the weights of the last epoch: for schedules that end near zero, so that nothing is chosen by luck,
    and where there is no validation split. Not written, it is early_stopping.monitor where that is.
    """
    sampler: Literal["shuffle", "weighted"] = "shuffle"
    """``weighted`` draws days with rare classes more often."""
    clip_norm: float = Field(0.0, ge=0)
    """Largest gradient norm; 0: no clipping."""
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    rates: RatesConfig = later(RatesConfig())
    schedule: ScheduleConfig = ScheduleConfig()
    unfreeze: UnfreezeConfig = later(UnfreezeConfig())
    agc: AgcConfig = later(AgcConfig())
    augment: AugmentConfig = AugmentConfig()
    ema: EmaConfig = EmaConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    precision: Precision = "32"
    """Of the layers' arithmetic. ``16-mixed`` is ``fp16`` on CUDA and 32 with a warning where there is none."""
    channels_last: bool = True
    """Memory layout of maps inside the model, N × H × W × C: convolutions are faster so on most processors."""
    compile: bool = False
    """torch.compile: minutes of preparation for faster steps; worth it for long runs on a GPU."""
    start_head: Literal["keep", "new"] = later("keep")
    """With ``start_from``: the head's weights are taken over as well, or drawn anew (for other classes)."""
    start_from: str | None = runtime(None)
    """Begin with the weights of a finished run (its folder) or of a file, with these settings, from epoch 0.

    The contents of the file, not its place, are part of the run's signature.
    """
    resume: str = runtime("last.ckpt", min_length=1)
    """Checkpoint to go on from: the name of one of this run (``last.ckpt`` where there is one), or the path of
    another run's (``results/…/checkpoints/last.ckpt``), to go on in this run with more epochs or other settings.

    Another run's is used once, while this run has no checkpoint; its contents are part of the signature. With more
    epochs the rate goes on along the curve of the longer training, and the best is chosen among the epochs to come.
    """
    keep_checkpoints: int = runtime(1, ge=1)
    """How many of the best epochs keep a checkpoint of their own, beside ``last.ckpt``."""
    export_metrics: bool = runtime(True)
    """Write ``metrics.csv`` after every epoch and draw its curves (loss, accuracy with the rate, rates of groups)."""
    gradients: GradientsConfig = runtime(GradientsConfig())
    tensorboard: TensorBoardConfig = runtime(TensorBoardConfig())
    device: Literal["auto", "cpu", "cuda"] = runtime("auto")
    cudnn_benchmark: bool = runtime(True)
    """Let cuDNN try its algorithms and take the fastest, on CUDA."""
    threads: int = runtime(0, ge=0)
    """CPU threads; 0: all cores of this job. Weights are the same bit for bit only with the same number."""
    memory_gb: float = runtime(2.0, gt=0)
    """Splits that fit into this much memory are kept there; larger ones are read from disk batch by batch."""
    ranks_timeout: float = runtime(10.0, gt=0)
    """With several ranks (srun, torchrun): minutes after which one that does not answer counts as lost."""
    max_time: float | None = runtime(None, gt=0)
    """Stop at a safe point after this many minutes (exit code 75)."""
    checkpoint_minutes: float = runtime(10.0, gt=0)
    """Write a checkpoint inside an epoch at least this often; one is written after every epoch anyway."""

    @model_validator(mode="before")
    @classmethod
    def _select_what_is_monitored(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "select" in values:
            return values
        stopping = values.get("early_stopping")
        monitor = stopping.get("monitor") if isinstance(stopping, dict) else getattr(stopping, "monitor", None)
        return values if monitor is None else values | {"select": monitor}

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> TrainConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: batch_size {self.batch_size} is not divisible by {self.accumulate}")
        return self


def start_versions(config: TrainConfig, home: Path) -> dict[str, str]:
    """Return the digests of what the training begins with, for the signature of its run; empty where from nothing.

    Raises:
        InputError: a file that ``start_from`` or ``resume`` names does not exist.
    """
    return start.versions(config.start_from, config.resume, home)
