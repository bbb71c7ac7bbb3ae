"""From features to logits: a linear layer or a small perceptron, once or as an ensemble."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.train.config import ModelConfig

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


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


def build_head(features: int, outputs: int, config: ModelConfig) -> nn.Module:
    """Return the head: ``hidden_layers`` × (linear, activation, dropout), then linear."""
    hidden = [config.hidden] * config.hidden_layers if config.hidden else []
    widths = [features, *hidden]
    layers: list[nn.Module] = []
    for before, after in zip(widths, hidden, strict=False):
        layers += [_linear(config.members, before, after), _ACTIVATIONS[config.activation]()]
        layers.append(nn.Dropout(config.head_dropout))
    stack = nn.Sequential(*layers, _linear(config.members, widths[-1], outputs))
    return EnsembleHead(config.members, stack) if config.members > 1 else stack


def _linear(members: int, inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs) if members == 1 else EnsembleLinear(members, inputs, outputs)
