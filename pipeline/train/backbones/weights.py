"""Pretrained weights for timm models: from its hub, or from a file."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from pipeline.core.errors import EnvironmentFault, InputError, disk_fault, shorten
from pipeline.core.logs import event

SUFFIXES = (".safetensors", ".pth", ".pt")
SETTING = "train.model.pretrained"


class HubFault(EnvironmentFault):
    """Pretrained weights could not be fetched: the only fault that another backbone may stand in for."""


def fetch(name: str, options: dict[str, Any]) -> nn.Module:
    """Return timm's model ``name`` with the weights of timm's hub (or its cache on this machine).

    Raises:
        InputError: the hub has no weights for this model.
        HubFault: the hub cannot be reached.
        EnvironmentFault: the disk is full or cannot be written.
    """
    if not timm.models.is_model_pretrained(name):
        raise InputError(f"{SETTING}: timm has no weights for {name!r}; set it to false or to the path of a file")
    try:
        model: nn.Module = timm.create_model(name, pretrained=True, **options)
    except OSError as error:
        fault = disk_fault(error, SETTING)
        if fault is not None:
            raise fault from error
        reason = str(error).split("\n")[0][:120]
        raise HubFault(
            f"{SETTING}: the weights of {name!r} could not be fetched ({reason}); where there is no network, copy the "
            f"weight file to this machine and set {SETTING} to its path ({', '.join(SUFFIXES)}); or set it to false, "
            "or train.model.fallback to resnet18"
        ) from error
    return model


@contextmanager
def offline() -> Iterator[None]:
    """Look for weights on this machine only; asking a hub that does not answer takes most of a minute."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def load_file(model: Any, path: str, channels: int) -> None:
    """Load weights from a file into a timm model; the classifier is left out, the first convolution adapted.

    A first convolution of three channels is repeated over ``channels`` and scaled by 3/``channels``
    (``timm.models.adapt_input_conv``).

    Raises:
        InputError: no such file, not a weight file, or any other tensor is missing, left over or of another shape.
    """
    weights = _read(Path(path))
    remap = getattr(_home(model), "checkpoint_filter_fn", None)
    if remap is not None:
        weights = remap(weights, model)
    classifier = [key for key in weights if key.startswith(_names(model, "classifier"))]
    weights = {key: value for key, value in weights.items() if key not in classifier}
    adapted = _adapt(model, weights, channels, path)
    _check(model, weights, path)
    model.load_state_dict(weights)
    event(
        f"pretrained weights: {len(weights)} tensors from {path}; left out {shorten(classifier) or 'nothing'}; "
        f"adapted to {channels} channels: {shorten(adapted) or 'nothing'}"
    )


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{SETTING}: {path} is not a weight file; allowed: {', '.join(SUFFIXES)}, true or false")
    if not path.is_file():
        raise InputError(f"{SETTING}: {path} does not exist; copy the weight file there or correct the path")
    from safetensors import SafetensorError

    wrong = (AttributeError, TypeError, KeyError)  # not a table
    broken = (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError, SafetensorError)
    try:
        value = timm.models.load_state_dict(str(path), weights_only=True)
    except (*wrong, *broken) as error:
        reason = str(error).split("\n")[0][:120]
        raise InputError(f"{SETTING}: {path} cannot be read as weights ({reason}); fetch the file again") from None
    if not value or not all(isinstance(item, Tensor) for item in value.values()):
        raise InputError(f"{SETTING}: {path} holds no table of tensors; save model.state_dict()")
    return dict(value)


def _home(model: Any) -> Any:
    """Return the timm module that defines the model: where it keeps its translation of other authors' files."""
    import sys

    return sys.modules[type(model).__module__]


def _names(model: Any, what: str) -> tuple[str, ...]:
    """Return the prefixes of ``classifier`` or ``first_conv`` as timm notes them."""
    names = model.pretrained_cfg.get(what) or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _adapt(model: Any, weights: dict[str, Tensor], channels: int, path: str) -> list[str]:
    adapted = []
    wanted = model.state_dict()
    for prefix in _names(model, "first_conv"):
        key = f"{prefix}weight"
        if key not in weights or weights[key].shape == wanted[key].shape:
            continue
        if weights[key].shape[1] != 3:
            raise InputError(
                f"{SETTING}: {path} was trained on {weights[key].shape[1]} channels, this store has {channels}; "
                "weights of 3 channels or of the same number can be used"
            )
        weights[key] = timm.models.adapt_input_conv(channels, weights[key])
        adapted.append(key)
    return adapted


def _check(model: nn.Module, weights: dict[str, Tensor], path: str) -> None:
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted]
    other = [f"{key} {found[key]} for {wanted[key]}" for key in wanted if key in found and found[key] != wanted[key]]
    faults = [
        f"{len(keys)} {label} ({shorten(keys)})"
        for keys, label in ((missing, "missing"), (extra, "left over"), (other, "of another shape"))
        if keys
    ]
    if faults:
        raise InputError(f"{SETTING}: {path} does not fit train.model.backbone: tensors {'; '.join(faults)}")
