"""From features to logits: a linear layer or a small perceptron, once, as an ensemble, or with a reasoning layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.train.config import ModelConfig

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Outputs(NamedTuple):
    """What a model with an auxiliary classifier returns in training."""

    logits: Tensor
    auxiliary: Tensor
    """Logits of the auxiliary classifier (B × outputs)."""
    weight: float
    """Of the auxiliary loss."""


class EnsembleLinear(nn.Module):
    """A linear layer for each member: (members × B × inputs) → (members × B × outputs)."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        """Draw weights and biases within ±1/√inputs, as ``nn.Linear`` does."""
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def no_weight_decay(self) -> set[str]:
        """Biases, which are recognised elsewhere by having one dimension."""
        return {"bias"}

    def forward(self, features: Tensor) -> Tensor:
        """Return the features of the next layer."""
        return torch.baddbmm(self.bias, features, self.weight)


class EnsembleHead(nn.Module):
    """Independent heads on the same samples, averaged when not training.

    Members start from other weights and each is trained by its own loss, so their errors differ and their mean is
    better than one of them (Lakshminarayanan et al. 2017).
    """

    def __init__(self, members: int, layers: nn.Sequential) -> None:
        """Keep the layers, which work on (members × B × features)."""
        super().__init__()
        self.members, self.layers = members, layers

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B × features) or (B × members × features) into logits.

        In training (B × members × outputs), for a loss on each member; otherwise their mean (B × outputs).
        """
        if features.ndim == 2:
            features = features[:, None].expand(-1, self.members, -1)
        logits: Tensor = self.layers(features.transpose(0, 1))
        return logits.transpose(0, 1) if self.training else logits.mean(0)


class ReasoningHead(nn.Module):
    """Features → reasoning (a hidden representation) → classifier on both side by side.

    With ``weight`` > 0 a linear auxiliary classifier sees the reasoning alone and its loss shapes it; it has no part
    in predictions.
    """

    def __init__(self, reasoning: nn.Module, classifier: nn.Module, auxiliary: nn.Module | None, weight: float) -> None:
        """Keep the parts."""
        super().__init__()
        self.reasoning, self.classifier, self.auxiliary, self.weight = reasoning, classifier, auxiliary, weight

    def forward(self, features: Tensor) -> Tensor | Outputs:
        """Return logits (B × outputs), in training with those of the auxiliary classifier if there is one."""
        reasoning = self.reasoning(features)
        logits: Tensor = self.classifier(torch.cat([features, reasoning], dim=-1))
        if self.training and self.auxiliary is not None:
            return Outputs(logits, self.auxiliary(reasoning), self.weight)
        return logits


def build_head(features: int, outputs: int, config: ModelConfig) -> nn.Module:
    """Return the head: hidden layers of (linear, activation, dropout), then linear; with a reasoning layer if asked."""
    if config.reasoning_dim == 0:
        stack = _stack(features, outputs, config)
        return EnsembleHead(config.members, stack) if config.members > 1 else stack
    width = config.reasoning_dim
    reasoning = nn.Sequential(nn.Linear(features, width), _ACTIVATIONS[config.activation]())
    classifier = _stack(features + width, outputs, config)
    # The last to be drawn, so that the rest starts from the same weights with and without it.
    auxiliary = nn.Linear(width, outputs) if config.aux_loss_weight else None
    return ReasoningHead(reasoning, classifier, auxiliary, config.aux_loss_weight)


def _stack(features: int, outputs: int, config: ModelConfig) -> nn.Sequential:
    if isinstance(config.hidden, list):
        hidden = config.hidden
    else:
        hidden = [config.hidden] * config.hidden_layers if config.hidden else []
    given = config.head_dropout
    dropouts = given if isinstance(given, list) else [given] * len(hidden)
    widths = [features, *hidden]
    layers: list[nn.Module] = []
    for before, after, dropout in zip(widths, hidden, dropouts, strict=False):
        layers += [_linear(config.members, before, after), _ACTIVATIONS[config.activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers, _linear(config.members, widths[-1], outputs))


def _linear(members: int, inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs) if members == 1 else EnsembleLinear(members, inputs, outputs)
