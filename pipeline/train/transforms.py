"""Transforms of images by name, batch by batch on the device where the images are.

A deterministic transform runs on the whole batch. A random one draws for each sample: the usual ones from numbers that
are a function of the sample's seed, all others by torchvision under that seed. A sample's seed is that of the step plus
its place in it, so a resumed run repeats the outcome, and it is the same however a batch is divided into micro-batches.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.train.colours import ColourJitter
from pipeline.train.sections.transforms import DETERMINISTIC, OBJECT, described
from pipeline.train.seeding import seed_generators

Numbers = NDArray[np.float64]
Images = Tensor | list[Tensor]
"""B × 3 × H × W, or a list of 3 × H × W while samples differ in size."""
_GOLDEN = 0x9E3779B97F4A7C15
_MOST = 2.0
"""Numbers above this are no longer 0 … 1 with noise, but 0 … 255 that nobody scaled."""
_FAULTS = (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError, IndexError)


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return well-mixed bits of each number (the finaliser of SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True)
class Draws:
    """Random numbers of the samples of a batch: functions of each sample's seed and the place in the pipeline."""

    seeds: NDArray[np.uint64]

    @classmethod
    def of(cls, seed: int, samples: int) -> Draws:
        """Return the draws of samples whose seeds are ``seed``, ``seed`` + 1, …."""
        return cls(mixed(np.arange(samples, dtype=np.uint64) + np.uint64(seed % 2**63)))

    def bits(self, place: int, count: int) -> NDArray[np.uint64]:
        """Return ``count`` numbers of 64 bits for each sample (B × count)."""
        steps = [(_GOLDEN * (1024 * place + number + 1)) % 2**64 for number in range(count)]
        return mixed(self.seeds[:, None] + np.array(steps, dtype=np.uint64))

    def uniform(self, place: int, count: int) -> Numbers:
        """Return ``count`` numbers in 0 … 1 for each sample (B × count)."""
        return (self.bits(place, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Step:
    """One transform of a pipeline."""

    name: str

    def __call__(self, images: Images, draws: Draws, place: int) -> Images:
        """Return the transformed images."""
        raise NotImplementedError


@dataclass(frozen=True)
class Whole(Step):
    """A deterministic transform, on the whole batch."""

    name: str
    transform: Callable[[Tensor], Tensor]

    def __call__(self, images: Images, draws: Draws, place: int) -> Images:
        """Return the transformed images."""
        if isinstance(images, Tensor):
            return self.transform(images)
        return _stacked([self.transform(image) for image in images])


@dataclass(frozen=True)
class Drawn(Step):
    """A transform that does all samples at once, each with its own numbers."""

    name: str
    numbers: int
    transform: Callable[[Tensor, Numbers], Tensor]
    """(B × 3 × H × W, B × numbers) → B × 3 × H × W."""

    def __call__(self, images: Images, draws: Draws, place: int) -> Images:
        """Return the transformed images."""
        numbers = draws.uniform(place, self.numbers)
        if isinstance(images, Tensor):
            return self.transform(images, numbers)
        pairs = zip(images, numbers, strict=True)
        return [self.transform(image[None], row[None])[0] for image, row in pairs]


@dataclass(frozen=True)
class Single(Step):
    """A transform of torchvision or of the user, sample by sample, under a seed of its own."""

    name: str
    transform: Callable[[Tensor], Tensor]
    foreign: bool
    """Whether it may draw from Python's or NumPy's generators as well."""

    def __call__(self, images: Images, draws: Draws, place: int) -> Images:
        """Return the transformed images; the states of torch's generators are put back."""
        found = []
        device = images[0].device
        with torch.random.fork_rng([device.index] if device.type == "cuda" else []), _kept_generators(self.foreign):
            for image, seed in zip(images, draws.bits(place, 1)[:, 0].tolist(), strict=True):
                seed_generators(seed >> 1, device)
                if self.foreign:
                    random.seed(seed)
                    np.random.seed(seed % 2**32)
                found.append(self.transform(image))
        return _stacked(found)


@contextmanager
def _kept_generators(foreign: bool) -> Iterator[None]:
    if not foreign:
        yield
        return
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _stacked(images: list[Tensor]) -> Images:
    same = len({tuple(image.shape) for image in images}) == 1
    return torch.stack(images) if same else images


@dataclass(frozen=True)
class Pipeline:
    """Transforms one after the other, as one setting lists them."""

    setting: str
    steps: tuple[Step, ...]

    def __call__(self, images: Tensor, seed: int = 0) -> Tensor:
        """Return the transformed images (B × 3 × H × W → B × 3 × H' × W').

        Raises:
            InputError: the results differ in size from sample to sample.
        """
        # Fixed transforms draw nothing, and asking for the number of samples would fix it in an exported graph.
        fixed = all(isinstance(step, Whole) for step in self.steps)
        draws, state = Draws.of(seed, 0 if fixed else len(images)), images
        for place, step in enumerate(self.steps):
            state = step(state, draws, place)  # type: ignore[assignment]
        if not isinstance(state, Tensor):
            sizes = dict.fromkeys("×".join(map(str, image.shape)) for image in state)
            raise InputError(
                f"{self.setting}: the images that come out differ in size ({shorten(sizes, 3)}); "
                "end with CenterCrop, RandomCrop or Resize of a fixed size (height and width)"
            )
        return state

    def try_on(self, shape: Sequence[int], unit: bool = False) -> tuple[int, ...]:
        """Return what becomes of images of this shape (3 × H × W), found out by doing it.

        Args:
            shape: of one image as the store holds it.
            unit: whether numbers that are not uint8 must be in 0 … 1, because a normalisation follows.

        Raises:
            InputError: a transform cannot take them, or what comes out is no image of 3 channels, or not in 0 … 1.
        """
        images = torch.arange(int(np.prod(shape)), dtype=torch.int64).remainder(251).to(torch.uint8).view(1, *shape)
        try:
            found = self(images.repeat(4, 1, 1, 1))
        except _FAULTS as error:
            reason = str(error).split("\n")[0][:160]
            raise InputError(f"{self.setting}: cannot be applied to images of {_size(shape)}: {reason}") from None
        if not isinstance(found, Tensor) or found.ndim != 4 or found.shape[1] != 3:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"{self.setting}: gives {what} for images of {_size(shape)}; an image of 3 channels is needed"
            )
        if unit and found.dtype != torch.uint8 and found.max() > _MOST:
            raise InputError(
                f"{self.setting}: gives numbers up to {float(found.max()):g} where 0 … 1 are to be normalised; use "
                "ToTensor, or ToDtype: {dtype: float32, scale: true}"
            )
        return tuple(found.shape[1:])


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


@dataclass(frozen=True)
class Colours:
    """Mean and standard deviation of red, green and blue, in 0 … 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_pipeline(entries: Sequence[Any], setting: str, deterministic: bool = False) -> Pipeline:
    """Return the pipeline that a setting lists.

    Args:
        entries: as :func:`pipeline.train.sections.transforms.plain` returns them.
        setting: its dotted name, for messages.
        deterministic: whether random transforms are refused.

    Raises:
        InputError: wrong arguments, an object that a saved config cannot give back, or a random transform.
    """
    return Pipeline(setting, tuple(_step(entry, setting, deterministic) for entry in entries))


def split_normalize(entries: Sequence[Any], setting: str) -> tuple[list[Any], Colours | None]:
    """Return the entries before a last ``Normalize``, and its numbers if there is one.

    Raises:
        InputError: Normalize is not the last, or has not three positive standard deviations.
    """
    places = [place for place, entry in enumerate(entries) if isinstance(entry, dict) and "Normalize" in entry]
    if not places:
        return list(entries), None
    if places[0] != len(entries) - 1:
        raise InputError(f"{setting}: Normalize must come last and once; what follows it would see no image")
    return list(entries[:-1]), colours_of(entries[-1], setting)


def colours_of(entry: dict[str, Any], setting: str) -> Colours:
    """Return the numbers of a ``Normalize`` entry.

    Raises:
        InputError: they are not three each, or a standard deviation is not positive.
    """
    arguments = entry["Normalize"]
    try:
        mean, std = (tuple(float(value) for value in arguments[key]) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError):
        mean = std = ()
    if len(mean) != 3 or len(std) != 3 or not min(std) > 0 or not np.isfinite([*mean, *std]).all():
        raise InputError(
            f"{setting}: Normalize needs mean and std of three channels, std above 0, found {arguments}; "
            "for example {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}"
        )
    return Colours(mean, std)


def _step(entry: Any, setting: str, deterministic: bool) -> Step:
    if not isinstance(entry, dict):
        return Single(described(entry), entry, foreign=True)
    ((name, arguments),) = entry.items()
    if name == OBJECT:
        raise InputError(
            f"{setting}: {arguments} was an object of a .py config, which a saved config cannot give back; "
            "use the .py config, or torchvision's transforms by name"
        )
    if name in DETERMINISTIC:
        return Whole(name, _construct(name, arguments, setting))
    if deterministic:
        raise InputError(f"{setting}: {name} is random; it belongs into train.augment.transforms")
    transform = _construct(name, arguments, setting)
    if name in ("RandomHorizontalFlip", "RandomVerticalFlip"):
        return Drawn(name, 1, _Flip(-1 if name == "RandomHorizontalFlip" else -2, float(transform.p)))
    if name == "ColorJitter":
        ranges = transform.brightness, transform.contrast, transform.saturation, transform.hue
        return Drawn(name, 8, ColourJitter(*ranges))
    return Single(name, transform, foreign=_has_object(arguments))


def _has_object(arguments: Any) -> bool:
    inner = arguments.get("transforms") or [] if isinstance(arguments, dict) else []
    return any(not isinstance(entry, dict) or any(map(_has_object, entry.values())) for entry in inner)


@dataclass(frozen=True)
class _Flip:
    axis: int
    chance: float

    def __call__(self, images: Tensor, numbers: Numbers) -> Tensor:
        turned = numbers[:, 0] < self.chance
        if images.device.type != "cpu":
            chosen = torch.from_numpy(turned).to(images.device)[:, None, None, None]
            return torch.where(chosen, images.flip(self.axis), images)
        found = images.clone()
        for place in np.flatnonzero(turned).tolist():  # a tenth of the time of the whole batch at once
            found[place] = images[place].flip(self.axis)
        return found


def _construct(name: str, arguments: Any, setting: str) -> Any:
    """Return torchvision's transform; images are tensors already, so what turns PIL images into them does nothing."""
    # Imported when asked for: torchvision takes a second or two to import.
    from torchvision.transforms import v2

    if name == "ToTensor":
        return v2.ToDtype(torch.float32, scale=True)
    if name in ("PILToTensor", "ToImage", "ToPILImage", "ToPureTensor"):
        return nn.Identity()
    kind = _normalize if name == "Normalize" else getattr(v2, name)
    parameters = [key for key in inspect.signature(kind).parameters]
    given = arguments if isinstance(arguments, dict) else {parameters[0]: arguments}
    for key in given:
        if key not in parameters:
            raise InputError(
                f"{setting}: {name} has no argument {key!r}{near(key, parameters)} It has {shorten(parameters, 20)}"
            )
    try:
        return kind(**{key: _argument(key, value, setting) for key, value in given.items()})
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{setting}: {name}: {str(error).splitlines()[0][:160]}") from None


def _normalize(mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Return torchvision's ``Normalize``, which refuses uint8, after what makes 0 … 1 of them."""
    from torchvision.transforms import v2

    return nn.Sequential(v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std)))


def _argument(key: str, value: Any, setting: str) -> Any:
    from torchvision.transforms import AutoAugmentPolicy, InterpolationMode

    if key == "transforms":
        return [_inner(entry, setting) for entry in value]
    if key == "interpolation" and isinstance(value, str):
        return InterpolationMode(value.lower())
    if key == "policy" and isinstance(value, str):
        return AutoAugmentPolicy(value.lower())
    if key == "dtype" and isinstance(value, str):
        found = getattr(torch, value.removeprefix("torch."), None)
        if not isinstance(found, torch.dtype):
            raise ValueError(f"{value!r} is no dtype; use uint8 or float32")
        return found
    return value


def _inner(entry: Any, setting: str) -> Any:
    if not isinstance(entry, dict):
        return entry
    ((name, arguments),) = entry.items()
    return _construct(name, arguments, setting)
