"""The classifier: an encoder for each input, their fusion, one head for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pipeline.contract.store import InputSpec
from pipeline.core.choose import choose
from pipeline.core.errors import InputError, shorten
from pipeline.train.config import ModelConfig
from pipeline.train.encoders import ENCODERS, GridEncoder, ImageEncoder, Scale
from pipeline.train.fusion import Encoded, Fusion, ModalityDropout, build_fusion
from pipeline.train.heads import Outputs, build_head
from pipeline.train.series_encoder import SeriesEncoder


class Classifier(nn.Module):
    """Named inputs → logits."""

    def __init__(self, encoders: dict[str, nn.Module], fusion: Fusion, head: nn.Module, config: ModelConfig) -> None:
        """Keep the parts."""
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.modality_dropout = ModalityDropout(config.modality_dropout)
        self.fusion = fusion
        self.head = head
        self.facts = _facts(config, encoders)
        """What was really built, as JSON values: backbone, asked, weights, fallback, reason, normalize by input."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor | Outputs:
        """Return logits (B × outputs).

        In training an ensemble returns those of each member (B × members × outputs), and a reasoning head with an
        auxiliary classifier both logits.

        Args:
            inputs: by name, B × per-sample shape: standardised and without NaN, or uint8 images.

        Raises:
            InputError: an input that the model was trained with is not given.
        """
        missing = [name for name in self.encoders if inputs.get(name) is None]
        if missing:
            raise InputError(
                f"model input {shorten(missing)} is missing; this model was trained with {shorten(self.encoders)} "
                "and needs all of them"
            )
        encoded: dict[str, Encoded] = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        return self.head(self.fusion(self.modality_dropout(encoded)))  # type: ignore[no-any-return]

    def images(self) -> dict[str, ImageEncoder]:
        """Return the encoders of images, by name."""
        return {name: encoder for name, encoder in self.encoders.items() if isinstance(encoder, ImageEncoder)}


def build_model(
    config: ModelConfig, inputs: Mapping[str, InputSpec], outputs: int, scale: Mapping[str, Scale] | None = None
) -> Classifier:
    """Return the model for these inputs.

    Args:
        config: backbone, pooling, fusion and head.
        inputs: by name, as the store describes them; kind ``scalars`` goes straight to the head.
        outputs: number of classes.
        scale: by input, mean and std of the fold's training data; needed for images with ``normalize: dataset``.

    Raises:
        InputError: an unknown kind of input, backbone, transform or weight file; inputs too small for the backbone; or
            a setting that needs another input.
        EnvironmentFault: pretrained weights could not be fetched.
    """
    if not inputs:
        raise InputError("train.inputs: at least one input is needed")
    if config.modality_dropout and len(inputs) < 2:
        raise InputError(
            f"train.model.modality_dropout: needs two inputs or more, found {shorten(inputs)}; set it to 0"
        )
    scale = scale or {}
    encoders = {
        name: choose(ENCODERS, spec.kind, f"input {name!r} of the store: kind")(config, spec, scale.get(name))
        for name, spec in inputs.items()
    }
    maps = {name: encoder.backbone.width for name, encoder in encoders.items() if isinstance(encoder, GridEncoder)}
    series = [name for name, encoder in encoders.items() if isinstance(encoder, SeriesEncoder)]
    fusion, more = build_fusion(config, maps, series)
    features = sum(encoder.width for encoder in encoders.values()) + more  # type: ignore[misc]
    return Classifier(encoders, fusion, build_head(int(features), outputs, config), config)


def _facts(config: ModelConfig, encoders: Mapping[str, nn.Module]) -> dict[str, Any]:
    backbones = [encoder.backbone for encoder in encoders.values() if isinstance(encoder, GridEncoder)]
    nothing = {"backbone": "", "weights": "random", "fallback": False, "reason": ""}
    facts = backbones[0].facts if backbones else nothing
    normalize = {
        name: [list(encoder.prepare.normalize.colours.mean), list(encoder.prepare.normalize.colours.std)]
        for name, encoder in encoders.items()
        if isinstance(encoder, ImageEncoder)
    }
    return {**facts, "asked": config.backbone, "normalize": normalize}


def as_built(config: ModelConfig, built: Mapping[str, Any]) -> ModelConfig:
    """Return settings that build the same network again, without the hub and without files of weights.

    For resuming and predicting, where the weights (and the normalisation of images) come from a checkpoint.

    Args:
        config: the settings of the run.
        built: what its model noted in ``facts``.
    """
    changes: dict[str, Any] = {"pretrained": False, "fallback": None}
    if built["backbone"]:
        changes["backbone"] = built["backbone"]
    if config.normalize == "dataset" and built["normalize"]:
        changes["normalize"] = next(iter(built["normalize"].values()))
    return ModelConfig.model_validate({**dict(config), **changes})
