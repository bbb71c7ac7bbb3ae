"""Image transforms as plain data: names of torchvision.transforms.v2 with arguments, whatever they were written as.

Without torch, so that every job can check a config. Objects of a ``.py`` config are taken apart into the same form; so
a run's saved config tells them, and nothing that reads it later has to run code.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from pipeline.core.choose import near

MISSING = "transformは必須です. 未設定 (None) の場合はエラーになります"
"""What the guide says of a transform that is None; a config in its form is refused with these words."""

_DETERMINISTIC = (
    "CenterCrop ConvertImageDtype Grayscale Identity LinearTransformation Normalize PILToTensor Pad RGB Resize ToDtype "
    "ToImage ToPILImage ToPureTensor ToTensor"
)
_RANDOM = (
    "AugMix AutoAugment ColorJitter ElasticTransform GaussianBlur GaussianNoise JPEG RandAugment RandomAdjustSharpness "
    "RandomAffine RandomApply RandomAutocontrast RandomChannelPermutation RandomChoice RandomCrop RandomEqualize "
    "RandomErasing RandomGrayscale RandomHorizontalFlip RandomInvert RandomOrder RandomPerspective "
    "RandomPhotometricDistort RandomPosterize RandomResize RandomResizedCrop RandomRotation RandomShortestSize "
    "RandomSolarize RandomVerticalFlip RandomZoomOut ScaleJitter TrivialAugmentWide"
)
DETERMINISTIC, RANDOM = frozenset(_DETERMINISTIC.split()), frozenset(_RANDOM.split())
NAMES = DETERMINISTIC | RANDOM
"""The transforms of torchvision.transforms.v2 that turn one image into one image."""
_ELSEWHERE = {
    "MixUp": "set train.augment.mixup",
    "CutMix": "set train.augment.cutmix",
    "FiveCrop": "it turns one image into five; use CenterCrop",
    "TenCrop": "it turns one image into ten; use CenterCrop",
    "Lambda": "functions cannot be written in YAML; use a .py config",
}
OBJECT = "object"
"""Key under which a saved config tells of an object that has no plain form."""


def plain(value: Any) -> list[Any] | None:
    """Return transforms as a list of ``{name: arguments}``; an object without such a form stays as it is.

    Args:
        value: ``None``, a name, ``{name: arguments}``, a torchvision transform or ``Compose``, or a list of these.
            Arguments are a mapping, or the first argument alone.

    Raises:
        ValueError: an unknown name, or an entry of another form.
    """
    if value is None:
        return None
    return _flat(value)


def required(value: Any) -> list[Any]:
    """Return :func:`plain` of transforms that must be given.

    Raises:
        ValueError: they are ``None``, in the guide's words.
    """
    found = plain(value)
    if found is None:
        raise ValueError(MISSING)
    return found


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [entry for item in value for entry in _flat(item)]
    if value is None:
        raise ValueError(MISSING)
    if isinstance(value, str):
        return [{_known(value): {}}]
    if isinstance(value, dict):
        return [_entry(value)]
    if type(value).__name__ in ("Compose", "Sequential"):
        return _flat(list(getattr(value, "transforms", value)))
    if not callable(value):
        raise ValueError(f"expected names, 'name: arguments' or transform objects, found {value!r}")
    return [_taken_apart(value)]


def _entry(value: dict[Any, Any]) -> dict[str, Any]:
    if len(value) != 1:
        raise ValueError(
            f"one transform an entry, found {', '.join(map(str, value))}; write each as '- Name: {{argument: value}}'"
        )
    ((name, arguments),) = value.items()
    if name == OBJECT:
        return {OBJECT: arguments}
    if isinstance(arguments, dict):
        arguments = {key: plain(item) if key == "transforms" else item for key, item in arguments.items()}
    return {_known(name): {} if arguments is None else arguments}


def _known(name: Any) -> str:
    if name in _ELSEWHERE:
        raise ValueError(f"{name} is no transform of a list: {_ELSEWHERE[name]}")
    if name not in NAMES:
        raise ValueError(
            f"unknown transform {name!r}{near(str(name), NAMES)} Allowed: image transforms of torchvision.transforms.v2"
        )
    return str(name)


def _taken_apart(transform: Callable[..., Any]) -> Any:
    """Return ``{name: arguments}`` of a torchvision transform: each argument is kept as an attribute of its name."""
    kind = type(transform)
    if not kind.__module__.startswith("torchvision.transforms") or kind.__name__ not in NAMES:
        return transform
    arguments = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        value = getattr(transform, name, None)
        if value is None and (kind.__name__, name) == ("RandomErasing", "value"):
            value = "random"
        if name == "inplace" or (value is None and parameter.default is not inspect.Parameter.empty):
            continue
        try:
            arguments[name] = _flat(value) if name == "transforms" else _plain_value(value)
        except TypeError:
            return transform
    return {kind.__name__: arguments}


def _plain_value(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain_value(item) for item in value]
    if type(value).__module__ == "torch" and type(value).__name__ == "dtype":
        return str(value).removeprefix("torch.")
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} is no plain value")


def as_json(value: list[Any] | None) -> list[Any] | None:
    """Return the list with each object replaced by a text that is the same in every process."""
    return None if value is None else [_saved(item) for item in value]


def _saved(item: Any) -> Any:
    if isinstance(item, dict):
        return {
            name: {k: as_json(v) if k == "transforms" else v for k, v in value.items()}
            if isinstance(value, dict)
            else value
            for name, value in item.items()
        }
    return {OBJECT: described(item)}


def described(item: Any) -> str:
    """Return a text for an object: its ``repr`` without addresses; of a function, its name and a hash of its code."""
    if hasattr(item, "lambd"):
        return f"{type(item).__name__}({described(item.lambd)})"
    code = getattr(item, "__code__", None)
    if code is not None:
        parts = repr((code.co_code, code.co_names, [c for c in code.co_consts if not hasattr(c, "co_code")]))
        return f"{item.__module__}.{item.__qualname__}#{hashlib.sha256(parts.encode()).hexdigest()[:8]}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(item))


Transforms = Annotated[list[Any] | None, BeforeValidator(plain), PlainSerializer(as_json, list[Any] | None, "json")]
