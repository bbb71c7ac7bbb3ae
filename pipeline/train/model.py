"""The classifier: an encoder for each input, one head for all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.contract.store import InputSpec
from pipeline.core.choose import choose
from pipeline.core.errors import InputError
from pipeline.train.config import ModelConfig
from pipeline.train.encoders import ENCODERS
from pipeline.train.heads import build_head


class Classifier(nn.Module):
    """Named inputs → logits."""

    def __init__(self, encoders: dict[str, nn.Module], head: nn.Module, members: int) -> None:
        """Keep the parts."""
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.head = head
        self.members = members

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return logits (B × outputs); an ensemble in training returns those of each member (B × members × outputs).

        Args:
            inputs: by name, B × per-sample shape, standardised, without NaN.
        """
        features = [encoder(inputs[name]) for name, encoder in self.encoders.items()]
        if any(value.ndim == 3 for value in features):
            features = [value if value.ndim == 3 else self._for_each_member(value) for value in features]
        return self.head(torch.cat(features, dim=-1))  # type: ignore[no-any-return]

    def _for_each_member(self, features: Tensor) -> Tensor:
        return features[:, None].expand(-1, self.members, -1)


def build_model(config: ModelConfig, inputs: dict[str, InputSpec], outputs: int) -> Classifier:
    """Return the model for these inputs.

    Args:
        config: backbone, pooling and head.
        inputs: by name, as the store describes them; kind ``scalars`` goes straight to the head.
        outputs: number of classes.

    Raises:
        InputError: an unknown kind of input, backbone or weight file, or maps too small for the backbone.
        EnvironmentFault: pretrained weights could not be fetched.
    """
    if not inputs:
        raise InputError("train.inputs: at least one input is needed")
    encoders = {
        name: choose(ENCODERS, spec.kind, f"input {name!r} of the store: kind")(config, spec)
        for name, spec in inputs.items()
    }
    features = sum(encoder.width for encoder in encoders.values())  # type: ignore[misc]
    return Classifier(encoders, build_head(int(features), outputs, config), config.members)
