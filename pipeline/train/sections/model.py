"""Settings of the model, its loss and its augmentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.config import Section, one_of
from pipeline.train.sections.optimisation import later
from pipeline.train.sections.transforms import Transforms

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Colour = tuple[tuple[Finite, Finite, Finite], tuple[Positive, Positive, Positive]]
"""Mean and standard deviation of red, green and blue, in 0…1."""
Normalization = Annotated[
    Literal["model", "imagenet", "dataset"] | Colour,
    one_of("model, imagenet, dataset, or [[mean, mean, mean], [std, std, std]] with std above 0"),
]
Widths = Annotated[
    Annotated[int, Field(ge=0)] | list[Annotated[int, Field(ge=1)]],
    one_of("a width of 0 or more, or a list of widths of 1 or more"),
]
Shares = Annotated[Share | list[Share], one_of("a number in 0 … 1 (below 1), or a list of them")]
ClassWeights = Annotated[
    Literal["balanced", "uniform"] | list[Positive] | None,
    one_of("null, balanced, uniform, or a list of numbers above 0"),
]


class SeriesConfig(Section):
    """Transformer encoder of a window of series (Vaswani et al. 2017)."""

    dim: int = Field(128, ge=2)
    """Width of a step's vector; even, and divisible by ``heads``."""
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    feedforward: int = Field(512, ge=1)
    """Width inside each layer's perceptron."""
    dropout: Share = 0.1
    output: Literal["last", "mean"] = "last"
    """What stands for the window: its last valid step, or the mean of its valid steps."""

    @model_validator(mode="after")
    def _divisible(self) -> SeriesConfig:
        if self.dim % 2:
            raise ValueError(f"dim {self.dim} is odd; the positional encoding needs sine and cosine pairs: an even one")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not divisible by heads {self.heads}")
        return self


class ModelConfig(Section):
    """Encoders of the inputs, how they are joined, and the head on top."""

    backbone: str = "simple"
    """simple, resnet_small, deformable, convnext_tiny, positional (the fields themselves), or any timm name.

    A timm name that is also one of these is written ``timm/convnext_tiny``. ``nfnet`` and ``nfnet_f0`` stand for
    dm_nfnet_f0, ``efficientnet`` for efficientnet_b4.
    """
    pretrained: bool | str = False
    """For timm names: ``true`` (from the hub) or the path of a .safetensors / .pth / .pt file."""
    fallback: str | None = later(None)
    """Backbone trained instead where the hub cannot be reached, such as resnet18: told loudly, noted in the run.

    It takes its own pretrained weights if they are on this machine. Nothing else than an unreachable hub leads to it.
    """
    normalize: Normalization = later("model")
    """Images: mean and standard deviation that the backbone was pretrained with, ImageNet's, the training images', or
    [[mean, mean, mean], [std, std, std]]. ``Normalize`` in ``transforms`` comes first. Our own backbones: ImageNet's.
    """
    transforms: Transforms = later(None)
    """Images, in validation and prediction: deterministic torchvision v2 transforms by name, such as
    ``- Resize: {size: 256}``; null: none. Scaling to 0…1 and normalisation are added where they are not written.
    """
    coordinates: bool = False
    """Append two channels, latitude and longitude scaled to −1…1 (CoordConv), so that position can be learned."""
    pooling: Literal["auto", "grid", "average", "windows"] = "auto"
    """Between encoder and head: ``grid`` keeps a coarse map, ``windows`` learned places, ``average`` no position.

    ``auto``: maps keep position, images are averaged; ``windows`` with the backbone positional.
    """
    pool_size: int = Field(4, ge=1)
    """Cells each way of ``grid`` pooling (fewer on a smaller map)."""
    windows: int = Field(4, ge=1)
    """Number of learned Gaussian windows, of each member, in ``windows`` pooling."""
    members: int = Field(1, ge=1)
    """Heads trained side by side and averaged (an ensemble in one model)."""
    hidden: Widths = 512
    """Width of the head's hidden layers, or a width for each, such as [256, 128]; 0: linear head."""
    hidden_layers: int = Field(1, ge=1)
    """Number of hidden layers where ``hidden`` is one width."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Between the head's layers."""
    head_dropout: Shares = 0.5
    """After each hidden layer, or one for each, such as [0.3, 0.2]."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Inside the encoder: simple, resnet_small and deformable."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Stochastic depth, the chance of skipping the last block: convnext_tiny, and timm names that have it."""
    reasoning_dim: int = later(0, ge=0)
    """Width of a hidden representation of the features that the head reads beside them; 0: none."""
    aux_loss_weight: float = later(0.0, ge=0, allow_inf_nan=False)
    """Weight of the loss of a second, linear classifier that sees that representation alone."""
    series: SeriesConfig = later(SeriesConfig())
    fusion: Literal["concat", "cross_attention"] = later("concat")
    """How an image (or map) and a series are joined: their vectors side by side; or, besides, the mean over the map's
    cells of what each of them reads from the steps of the series by attention.
    """
    modality_dropout: float = later(0.0, ge=0, lt=1)
    """Chance that one of several inputs, drawn at random, is blanked for a sample in training."""

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if self.aux_loss_weight and not self.reasoning_dim:
            raise ValueError("aux_loss_weight needs a reasoning head: set reasoning_dim, for example to 64")
        if self.reasoning_dim and self.members > 1:
            raise ValueError(f"reasoning_dim needs members: 1, found {self.members}")
        layers = len(self.hidden) if isinstance(self.hidden, list) else self.hidden_layers
        if isinstance(self.head_dropout, list) and len(self.head_dropout) != layers:
            raise ValueError(f"head_dropout lists {len(self.head_dropout)} values for {layers} hidden layers")
        return self


class LossConfig(Section):
    """How wrong a prediction is; every kind is averaged over samples, multi-label kinds over classes too."""

    kind: Literal["auto", "bce", "focal", "asymmetric", "cross_entropy"] = "auto"
    """``auto``: focal where classes are independent, cross_entropy where a sample has one class.

    bce and asymmetric are for independent classes, cross_entropy for one class, focal for both.
    """
    gamma: float = Field(2.0, ge=0)
    """Focal: (1 − p_t)^γ."""
    class_weights: ClassWeights = later(None)
    """One class a sample: null or ``balanced``: inverse frequency in the training split; ``uniform``: no weights; or a
    weight for each class in the order of the classes. Scaled to a mean of 1 over the training samples.
    """
    gamma_negative: float = Field(4.0, ge=0)
    gamma_positive: float = Field(1.0, ge=0)
    margin: float = Field(0.05, ge=0, lt=1)
    """Asymmetric loss: exponents of negatives and positives, and the probability shift of negatives."""
    pos_weight: bool = False
    """Weight positives by (N − N⁺)/N⁺ of their class in training."""
    pos_weight_max: float = Field(50.0, ge=1)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)


class AugmentConfig(Section):
    """Augmentation in training. None by default: what leaves the meaning of a map or chart as it is, the user knows."""

    transforms: Transforms = later(None)
    """Images: the whole pipeline of training, torchvision v2 transforms by name, such as
    ``- RandomResizedCrop: {size: 224}``; null: that of validation. Each sample is drawn for itself. Scaling to 0…1 and
    normalisation are added where they are not written.
    """
    shift: int = Field(0, ge=0)
    """Maps are moved by up to this many cells each way, edges repeated."""
    noise: float = Field(0.0, ge=0)
    """Standard deviation of white noise added to standardised fields."""
    smooth_noise: float = Field(0.0, ge=0)
    """Standard deviation of spatially smooth noise."""
    mixup: float = Field(0.0, ge=0)
    """Parameter of the Beta distribution of mixing weights; 0: none."""
    cutmix: float = later(0.0, ge=0)
    """Images: a box of another sample is pasted in, its share of the area from this Beta distribution; 0: none.

    With ``mixup`` as well, each sample gets one of the two, at even odds.
    """
