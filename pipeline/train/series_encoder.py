"""A Transformer encoder of a window of numeric series (Vaswani et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pipeline.contract.store import InputSpec
from pipeline.core.errors import InputError
from pipeline.train.fusion import Encoded
from pipeline.train.sections.model import SeriesConfig


class SeriesEncoder(nn.Module):
    """Windows (B × T × (F + 1), the last channel 1 where a step is valid) → vector (B × dim).

    Invalid steps are neither read nor answered from: whatever they hold, the outcome is the same. A window without a
    valid step gives a vector of zeros.
    """

    places: Tensor

    def __init__(self, steps: int, features: int, config: SeriesConfig) -> None:
        """Build the layers for ``steps`` steps of ``features`` values."""
        super().__init__()
        self.width, self.steps, self.output = config.dim, steps, config.output
        self.project = nn.Linear(features, config.dim)
        self.register_buffer("places", sinusoids(steps, config.dim), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            config.dim, config.heads, config.feedforward, config.dropout, "gelu", batch_first=True
        )
        # Nested tensors drop steps that no window of the batch has: the shape would depend on the company.
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        for parameter in self.layers.parameters():  # the layers are copies: each is drawn anew
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, windows: Tensor) -> Encoded:
        """Return the vector, the steps (B × T × dim) and which of them are not valid (B × T)."""
        missing = windows[..., -1] <= 0
        nothing = missing.all(1)
        # Attention over no step at all is 0/0; a window without any reads its zeros and is blanked afterwards.
        ignored = missing & ~nothing[:, None]
        tokens = self.dropout(self.project(windows[..., :-1]) + self.places)
        tokens = self.layers(tokens, src_key_padding_mask=ignored)
        tokens = tokens * (~missing)[..., None].to(tokens.dtype)
        return Encoded(self._read(tokens, ~missing), tokens, missing)

    def _read(self, tokens: Tensor, valid: Tensor) -> Tensor:
        if self.output == "mean":
            return tokens.sum(1) / valid.sum(1, keepdim=True).clamp(min=1).to(tokens.dtype)
        places = torch.arange(valid.shape[1], device=valid.device)
        last = torch.where(valid, places, 0).amax(1)
        return tokens.gather(1, last[:, None, None].expand(-1, 1, tokens.shape[2]))[:, 0]


def sinusoids(steps: int, width: int) -> Tensor:
    """Return sin(t ω), cos(t ω) in turn (steps × width), ω from 1 down to 1/10000 in geometric steps.

    Raises:
        InputError: ``width`` is odd.
    """
    if width % 2:
        raise InputError(f"train.model.series.dim: {width} is odd; the positional encoding needs an even one")
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def build_series(config: SeriesConfig, spec: InputSpec) -> SeriesEncoder:
    """Return the encoder of an input of kind ``series`` (T × F)."""
    steps, features = spec.shape
    return SeriesEncoder(steps, features, config)
