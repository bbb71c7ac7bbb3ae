"""Settings of the model, its loss and its augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.core.config import Section


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
