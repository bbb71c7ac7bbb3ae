"""Augmentation batch by batch on the device: map-safe kinds for weather, transforms and mixing for images.

All randomness comes from the generator that is passed in, so it is a function of seed, epoch and step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.core.errors import InputError, shorten
from pipeline.core.logs import log
from pipeline.train.config import AugmentConfig
from pipeline.train.encoders import ImageEncoder
from pipeline.train.images import Normalize, Preparation
from pipeline.train.mixing import Cutmix, Either, Mixup
from pipeline.train.model import Classifier
from pipeline.train.transforms import Colours, Pipeline, build_pipeline, colours_of

Inputs = dict[str, Tensor]
Augment = Callable[[Inputs, Tensor, Generator], tuple[Inputs, Tensor]]
SETTING = "train.augment.transforms"
_NODES = 5
"""Nodes of the coarse random field along the shorter side of the map."""


def build_augment(
    config: AugmentConfig, masks: Mapping[str, int] | None = None, model: Classifier | None = None
) -> Augment | None:
    """Return the augmentation, ``None`` where nothing is asked for.

    Args:
        config: how strong each kind is; a strength of 0 leaves it out.
        masks: by input, how many of its last channels are validity masks, which get no noise.
        model: that is trained; it tells which inputs are images, and how they are prepared.

    Raises:
        InputError: transforms or CutMix without images, CutMix beside other inputs, or transforms that do not fit.
    """
    images = {} if model is None else model.images()
    steps: list[Augment] = []
    if config.transforms is not None:
        steps.append(_transforms(config.transforms, images))
    elif images and (config.noise or config.smooth_noise or config.mixup or config.cutmix):
        steps.append(Prepare({name: encoder.prepare for name, encoder in images.items()}))
    if config.shift:
        steps.append(Shift(config.shift))
    if config.noise or config.smooth_noise:
        steps.append(Noise(config.noise, config.smooth_noise, dict(masks or {})))
    if config.cutmix:
        _check_cutmix(images, [] if model is None else list(model.encoders))
    mixing: list[Augment] = [Mixup(config.mixup)] if config.mixup else []
    if config.cutmix:
        cutmix = Cutmix(config.cutmix)
        mixing = [Either(Mixup(config.mixup), cutmix)] if config.mixup else [cutmix]
    steps += mixing
    return Chain(tuple(steps)) if steps else None


def by_sample(augment: Augment | None) -> bool:
    """Tell whether what becomes of a sample hangs on nothing but the sample, the seed and its place in the batch.

    Part of a batch may then be augmented alone, with the seed moved on by the samples before it. Noise and shifts are
    drawn for a batch at once, and mixing needs the other samples.
    """
    steps = augment.steps if isinstance(augment, Chain) else (augment,)
    return all(step is None or isinstance(step, Transform | Prepare) for step in steps)


def _check_cutmix(images: Mapping[str, ImageEncoder], inputs: list[str]) -> None:
    others = [name for name in inputs if name not in images]
    if not images or others:
        raise InputError(
            f"train.augment.cutmix: pastes boxes of images and needs a model that sees nothing else, found "
            f"{shorten(others) or 'no image'}; use train.augment.mixup, or set it to 0"
        )


def _transforms(entries: list[Any], images: Mapping[str, ImageEncoder]) -> Augment:
    if not images:
        raise InputError(f"{SETTING}: the store has no images; for maps there are shift, noise, smooth_noise and mixup")
    pipeline = build_pipeline(entries, SETTING)
    written = [entry for entry in entries if isinstance(entry, dict) and "Normalize" in entry]
    for entry in written:
        colours_of(entry, SETTING)
    for name, encoder in images.items():
        _check_size(pipeline, name, encoder, unit=not written)
        if written:
            _tell_colours(colours_of(written[-1], SETTING), encoder.prepare.normalize)
    finish = None if written else {name: encoder.prepare.normalize for name, encoder in images.items()}
    return Transform(pipeline, frozenset(images), finish)


def _check_size(pipeline: Pipeline, name: str, encoder: ImageEncoder, unit: bool) -> None:
    """Check that the model takes what training makes of an image, which may differ in size from validation's."""
    shape, usual = pipeline.try_on(encoder.prepare.stored, unit), encoder.prepare.shape
    if shape[1:] == usual[1:]:
        return
    try:
        with torch.no_grad():
            was, buffer = encoder.training, next(encoder.buffers())
            encoder.eval()(torch.zeros((1, *shape), device=buffer.device))
            encoder.train(was)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            f"{SETTING}: gives {name} of {shape[1]} × {shape[2]}, train.model.transforms {usual[1]} × {usual[2]}, and "
            f"this model needs one size ({str(error).splitlines()[0][:100]}); make them equal, or pooling average"
        ) from None
    log.warning("%s: %s is %d × %d in training, %d × %d in validation", SETTING, name, *shape[1:], *usual[1:])


def _tell_colours(colours: Colours, used: Normalize) -> None:
    mean, std = (torch.tensor(value, device=used.mean.device) for value in (colours.mean, colours.std))
    if not torch.allclose(mean, used.mean, atol=1e-4) or not torch.allclose(std, used.std, atol=1e-4):
        log.warning(
            "%s: Normalize has mean %s and std %s, validation and prediction use %s and %s; set train.model.normalize "
            "to the same",
            SETTING,
            *(list(value) for value in (colours.mean, colours.std)),
            *([round(v, 4) for v in value.tolist()] for value in (used.mean, used.std)),
        )


@dataclass(frozen=True)
class Transform:
    """The transforms of training, then normalisation where they have none: uint8 images → float32, prepared."""

    pipeline: Pipeline
    images: frozenset[str]
    finish: Mapping[str, nn.Module] | None

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return transformed images; a function of the generator's seed, whatever was drawn from it."""
        seed = generator.initial_seed()
        return {name: self._of(name, v, seed) if name in self.images else v for name, v in inputs.items()}, target

    def _of(self, name: str, images: Tensor, seed: int) -> Tensor:
        found = self.pipeline(images, seed)
        if self.finish is not None:
            with torch.no_grad():
                found = self.finish[name](found)
        return found.float()


@dataclass(frozen=True)
class Prepare:
    """What validation does to images, done before what needs them as float: noise and mixing."""

    preparations: Mapping[str, Preparation]

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return prepared images."""
        with torch.no_grad():
            return {name: self.preparations.get(name, nn.Identity())(v) for name, v in inputs.items()}, target


@dataclass(frozen=True)
class Chain:
    """One augmentation after the other."""

    steps: tuple[Augment, ...]

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return changed inputs and target; the ones passed in are left as they are."""
        for step in self.steps:
            inputs, target = step(inputs, target, generator)
        return inputs, target


@dataclass(frozen=True)
class Shift:
    """Each sample's maps (B × C × H × W) are moved by its own −``cells`` … ``cells`` rows and columns."""

    cells: int

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return moved maps, their edge rows and columns repeated into the gap."""
        shape = (2, len(target))
        moves = torch.randint(-self.cells, self.cells + 1, shape, generator=generator, device=generator.device)
        return {name: shifted(v, *moves.to(v.device)) if v.ndim == 4 else v for name, v in inputs.items()}, target


def shifted(maps: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return maps (B × C × H × W) moved by ``down`` rows and ``right`` columns (B each), edges repeated."""
    height, width = maps.shape[2:]
    rows = (torch.arange(height, device=maps.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=maps.device) - right[:, None]).clamp(0, width - 1)
    cells = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    moved = maps.flatten(2).gather(2, cells[:, None].expand(-1, maps.shape[1], -1))
    return moved.view(maps.shape)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on standardised maps (B × C × H × W): white, and spatially smooth."""

    white: float
    smooth: float
    masks: dict[str, int]

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return noisy maps; validity masks stay 0 and 1."""
        return {name: self._noisy(name, v, generator) if v.ndim == 4 else v for name, v in inputs.items()}, target

    def _noisy(self, name: str, maps: Tensor, generator: Generator) -> Tensor:
        shape = (len(maps), maps.shape[1] - self.masks.get(name, 0), *maps.shape[2:])
        noise = torch.zeros(shape, device=maps.device)
        if self.white:
            noise += self.white * normal(shape, generator).to(maps.device)
        if self.smooth:
            noise += self.smooth * smooth_field(shape, generator).to(maps.device)
        noisy = maps.clone()
        noisy[:, : shape[1]] += noise
        return noisy


def normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Return standard normal numbers on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)


def smooth_field(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Return random fields (B × C × H × W) of mean 0 and standard deviation 1 in every cell, smooth in space.

    White noise on a coarse grid, with a node every fifth of the shorter side, is interpolated bicubically; each
    cell's weights are scaled to a sum of squares of 1, which makes its variance 1.
    """
    samples, channels, height, width = shape
    spacing = max(1.0, min(height, width) / _NODES)
    rows, columns = (_interpolation(side, round(side / spacing) + 1).to(generator.device) for side in (height, width))
    coarse = normal((samples, channels, rows.shape[1], columns.shape[1]), generator)
    return ((coarse @ columns.T).transpose(2, 3) @ rows.T).transpose(2, 3)


@lru_cache(maxsize=16)
def _interpolation(length: int, nodes: int) -> Tensor:
    """Return the weights (length × nodes) of bicubic interpolation between nodes at both ends and evenly between."""
    unit = torch.eye(nodes)[:, None, :, None]
    weights = F.interpolate(unit, size=(length, 1), mode="bicubic", align_corners=True)[:, 0, :, 0].T
    return F.normalize(weights, dim=1)
