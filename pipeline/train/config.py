"""Settings of the train stage: what is trained on a store, how, and how the best weights are chosen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.config import Section, runtime

FORMAT = 1
"""Raised when the same settings would train other weights, so that old runs are not taken for new ones."""


class ModelConfig(Section):
    """Encoder of the maps and the head on top."""

    backbone: str = "simple"
    """simple, resnet_small, deformable, convnext_tiny, positional (the fields themselves), or any timm name.

    A timm name that is also one of these is written ``timm/convnext_tiny``.
    """
    pretrained: bool | str = False
    """For timm names: ``true`` (from the hub) or the path of a .safetensors / .pth / .pt file."""
    coordinates: bool = False
    """Append two channels, latitude and longitude scaled to −1…1 (CoordConv), so that position can be learned."""
    pooling: Literal["auto", "grid", "average", "windows"] = "auto"
    """Between encoder and head: ``grid`` keeps a coarse map, ``windows`` learned places, ``average`` no position."""
    pool_size: int = Field(4, ge=1)
    """Cells each way of ``grid`` pooling (fewer on a smaller map)."""
    windows: int = Field(4, ge=1)
    """Number of learned Gaussian windows, of each member, in ``windows`` pooling."""
    members: int = Field(1, ge=1)
    """Heads trained side by side and averaged (an ensemble in one model)."""
    hidden: int = Field(512, ge=0)
    """Width of the head's hidden layers; 0: linear head."""
    hidden_layers: int = Field(1, ge=1)
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    """Between the head's layers."""
    head_dropout: float = Field(0.5, ge=0, lt=1)
    dropout: float = Field(0.25, ge=0, lt=1)
    """Inside the encoder: simple, resnet_small and deformable."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Stochastic depth, the chance of skipping the last block: convnext_tiny, and timm names that have it."""


class LossConfig(Section):
    """How wrong a prediction is; every kind is averaged over samples and classes."""

    kind: Literal["bce", "focal", "asymmetric"] = "focal"
    gamma: float = Field(2.0, ge=0)
    """Focal: (1 − p_t)^γ."""
    gamma_negative: float = Field(4.0, ge=0)
    gamma_positive: float = Field(1.0, ge=0)
    margin: float = Field(0.05, ge=0, lt=1)
    """Asymmetric loss: exponents of negatives and positives, and the probability shift of negatives."""
    pos_weight: bool = False
    """Weight positives by (N − N⁺)/N⁺ of their class in training."""
    pos_weight_max: float = Field(50.0, ge=1)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)


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


class AugmentConfig(Section):
    """Map-safe augmentation: nothing that turns or mirrors the weather. None by default."""

    shift: int = Field(0, ge=0)
    """Maps are moved by up to this many cells each way, edges repeated."""
    noise: float = Field(0.0, ge=0)
    """Standard deviation of white noise added to standardised fields."""
    smooth_noise: float = Field(0.0, ge=0)
    """Standard deviation of spatially smooth noise."""
    mixup: float = Field(0.0, ge=0)
    """Parameter of the Beta distribution of mixing weights; 0: none."""


class EmaConfig(Section):
    """Exponential moving average of the weights; validated and kept in place of the raw ones."""

    decay: float = Field(0.0, ge=0, lt=1)
    """0: none. The first steps use (1 + n)/(10 + n) where that is smaller."""


class EarlyStoppingConfig(Section):
    """Stop when the selection metric no longer gains."""

    patience: int = Field(0, ge=0)
    """Epochs without a gain of ``min_delta`` before stopping; 0: never stop early."""
    min_delta: float = Field(0.0, ge=0)


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
