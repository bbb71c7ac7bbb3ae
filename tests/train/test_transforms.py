"""Transforms: written in any form, checked by name, drawn for each sample, and a function of the seed alone."""

import inspect
import math
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torchvision import transforms as v1
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from pipeline.core.config import signature
from pipeline.core.errors import InputError
from pipeline.train.colours import OPERATIONS, ColourJitter
from pipeline.train.config import AugmentConfig, ModelConfig
from pipeline.train.sections.transforms import DETERMINISTIC, MISSING, NAMES, RANDOM, described, plain, required
from pipeline.train.transforms import Draws, Pipeline, build_pipeline, split_normalize

SETTING = "train.augment.transforms"
GUIDE = [
    {"RandomResizedCrop": {"size": [20, 24]}},
    "RandomHorizontalFlip",
    {"ColorJitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}},
    {"RandomRotation": 15},
]
LEAVES: list[Any] = [
    v2.RandomResizedCrop((20, 24), scale=(0.5, 1), antialias=True),
    v2.RandomHorizontalFlip(0.3),
    v2.RandomVerticalFlip(0.3),
    v2.ColorJitter(0.2, (0.5, 1.5), 0.2, 0.1),
    v2.ColorJitter(hue=0.2),
    v2.RandomRotation(15, v2.InterpolationMode.BILINEAR, fill=7),
    v2.RandomAffine(10, translate=(0.1, 0.2), scale=(0.8, 1.2), shear=5),
    v2.RandomCrop(16, padding=4, padding_mode="reflect"),
    v2.RandomErasing(1.0, value="random"),
    v2.RandomErasing(1.0, value=0.5),
    v2.GaussianBlur(3, (0.1, 2)),
    v2.RandomPerspective(0.4, 1.0),
    v2.RandomPosterize(3, 0.5),
    v2.RandomSolarize(100, 0.5),
    v2.RandomAdjustSharpness(2, 0.5),
    v2.RandomAutocontrast(),
    v2.RandomEqualize(),
    v2.RandomInvert(),
    v2.RandomGrayscale(0.5),
    v2.RandomChannelPermutation(),
    v2.RandomPhotometricDistort(),
    v2.RandAugment(2, 7),
    v2.TrivialAugmentWide(),
    v2.AugMix(),
    v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    v2.ElasticTransform(20.0, 3.0),
    v2.Resize(12),
    v2.Resize((12, 14), v2.InterpolationMode.NEAREST),
    v2.CenterCrop(9),
    v2.Pad(2, fill=3),
    v2.Grayscale(3),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]),
    v2.RandomApply([v2.GaussianBlur(3), v2.RandomInvert(1.0)], p=0.4),
    v2.RandomOrder([v2.RandomInvert(0.5), v2.RandomPosterize(2)]),
    v2.RandomChoice([v2.RandomInvert(1.0), v2.RandomPosterize(2, 1.0)], p=[0.3, 0.7]),
]


def images(samples: int = 6, height: int = 24, width: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(samples, 3, height // 4, width // 4, generator=generator)
    return (nn.functional.interpolate(coarse, (height, width), mode="bilinear") * 255).to(torch.uint8)


def pipeline(*entries: Any) -> Pipeline:
    return build_pipeline(plain(list(entries)) or [], SETTING)


def test_every_name_is_torchvisions() -> None:
    for name in NAMES:
        kind = getattr(v2, name)
        assert inspect.isclass(kind)
        assert issubclass(kind, nn.Module)
    assert not DETERMINISTIC & RANDOM
    classes = {name for name, kind in vars(v2).items() if inspect.isclass(kind) and issubclass(kind, v2.Transform)}
    other = classes - NAMES - {"Transform", "Compose", "Lambda", "MixUp", "CutMix", "FiveCrop", "TenCrop"}
    # Those left are for boxes, key points and videos.
    assert all(any(word in name for word in ("Box", "Key", "IoU", "Clamp", "Temporal")) for name in other), other


@pytest.mark.parametrize("transform", LEAVES, ids=lambda t: repr(t)[:40])
def test_an_object_is_taken_apart_and_does_the_same_again(transform: Any) -> None:
    (entry,) = plain(transform) or []
    assert isinstance(entry, dict), entry
    assert plain([entry]) == [entry]
    (name,) = entry
    rebuilt = build_pipeline([entry], SETTING)
    given = images().float() / 255 if name in ("Normalize", "RandomErasing") else images()
    for seed in (1, 2, 3):
        found = rebuilt(given, seed)
        torch.default_generator.manual_seed(int(Draws.of(seed, 6).bits(0, 1)[0, 0]) >> 1)
        expected = transform(given[0])
        if name in ("RandomHorizontalFlip", "RandomVerticalFlip", "ColorJitter"):
            continue  # drawn otherwise, tested below
        assert torch.equal(found[0], expected)


def test_objects_of_both_generations_and_compositions() -> None:
    old = v1.Compose([v1.RandomResizedCrop(20), v1.RandomHorizontalFlip(), v1.ColorJitter(0.2), v1.ToTensor()])
    new = v2.Compose([v2.RandomResizedCrop(20), nn.Sequential(v2.RandomHorizontalFlip(), v2.ColorJitter(0.2))])
    names = [next(iter(entry)) for entry in plain([old, v1.Normalize([0.5] * 3, [0.2] * 3)]) or []]
    assert names == ["RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter", "ToTensor", "Normalize"]
    assert plain(old)[:3] == plain(new) == plain([*new.transforms])  # type: ignore[index]
    assert (plain(old) or [{}])[2] == {"ColorJitter": {"brightness": [0.8, 1.2]}}


@pytest.mark.parametrize("model", [AugmentConfig, ModelConfig])
def test_signature_and_saved_config_are_plain(model: Callable[..., Any]) -> None:
    transforms = v2.Compose([v2.Resize(12), v2.Lambda(lambda x: x + 1), v2.ToDtype(torch.float32)])
    found = signature(model(transforms=transforms))["transforms"]
    assert found[0] == {"Resize": {"size": [12], "interpolation": "bilinear", "antialias": True}}
    told = found[1]["object"]
    assert re.fullmatch(r"Lambda\(tests\.train\.test_transforms\.test_signature.*<lambda>#[0-9a-f]{8}\)", told)
    again = model(transforms=found)
    assert signature(again)["transforms"] == found
    with pytest.raises(InputError, match=r"an object of a \.py config.*by name"):
        build_pipeline(again.transforms, SETTING)


def test_functions_are_told_apart_by_their_code() -> None:
    def first(x: Tensor) -> Tensor:
        return x + 1

    one = described(first)

    def second(x: Tensor) -> Tensor:
        return x + 2

    second.__qualname__ = first.__qualname__
    assert re.search(r"first#[0-9a-f]{8}$", one)
    assert described(second) != one
    assert described(first) == one
    assert "0x" not in described(object())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["RandomHorizontalFlp"], "'RandomHorizontalFlp'; did you mean 'RandomHorizontalFlip'"),
        ([{"resize": 12}], "did you mean 'Resize'"),
        (["CutMix"], "train.augment.cutmix"),
        (["FiveCrop"], "CenterCrop"),
        ([{"Resize": 12, "CenterCrop": 9}], "one transform an entry, found Resize, CenterCrop"),
        ([5], "found 5"),
        ([{"RandomApply": {"transforms": ["Invert"]}}], "unknown transform 'Invert'"),
        ([None], MISSING),
    ],
)
def test_names_are_checked_without_torch(given: Any, named: str) -> None:
    for model in (AugmentConfig, ModelConfig):
        with pytest.raises(ValidationError, match=named.replace("(", r"\(").replace(")", r"\)")) as caught:
            model(transforms=given)
        assert len(caught.value.errors()) == 1


def test_the_guides_words_for_a_missing_transform() -> None:
    assert required("ToTensor") == [{"ToTensor": {}}]
    with pytest.raises(ValueError, match="transformは必須です") as caught:
        required(None)
    assert str(caught.value) == "transformは必須です. 未設定 (None) の場合はエラーになります"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"Resize": {"sise": 12}}, "has no argument 'sise'; did you mean 'size'"),
        ({"RandomResizedCrop": {}}, "RandomResizedCrop: .*size"),
        ({"RandomHorizontalFlip": {"p": 3}}, "RandomHorizontalFlip"),
        ({"Resize": {"size": 12, "interpolation": "bilinaer"}}, "bilinaer"),
        ({"ToDtype": {"dtype": "float33"}}, "float33"),
    ],
    ids=str,
)
def test_arguments_are_checked_when_built(given: Any, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        pipeline(given)
    assert "\n" not in str(caught.value)
    assert SETTING in str(caught.value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"RandomCrop": 64}, r"cannot be applied to images of 3 × 24 × 32"),
        ({"Grayscale": 1}, "an image of 3 channels is needed"),
        ({"ScaleJitter": {"target_size": [24, 24]}}, "differ in size.*CenterCrop"),
        (v2.Lambda(lambda x: "text"), "cannot be applied|an image of 3 channels"),
    ],
    ids=["too large", "grey", "sizes", "text"],
)
def test_a_pipeline_is_tried_before_training(given: Any, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        pipeline(given).try_on((3, 24, 32))
    assert "\n" not in str(caught.value)
    assert pipeline(*GUIDE).try_on((3, 24, 32)) == (3, 20, 24)


@pytest.mark.parametrize(
    "entries", [GUIDE, ["RandAugment"], [{"RandomResize": {"min_size": 18, "max_size": 30}}, {"RandomCrop": 16}]]
)
def test_samples_differ_and_a_seed_decides(entries: list[Any]) -> None:
    found = pipeline(*entries)
    same = images(1).expand(8, -1, -1, -1)
    torch.manual_seed(0)
    first = found(same, 5)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    again = found(same, 5)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state), "the generator of dropout is left as it was"
    assert torch.equal(first, again)
    assert not torch.equal(first, found(same, 6))
    assert len({image.numpy().tobytes() for image in first}) > 5


@pytest.mark.parametrize("entries", [GUIDE, ["RandAugment"]])
def test_micro_batches_do_not_matter(entries: list[Any]) -> None:
    found, given = pipeline(*entries), images(7)
    whole = found(given, 40)
    parts = [found(given[a:b], 40 + a) for a, b in ((0, 3), (3, 4), (4, 7))]
    assert torch.equal(torch.cat(parts), whole)


def test_random_numbers() -> None:
    numbers = Draws.of(11, 20000).uniform(3, 2)
    # The mean of 20,000 uniform numbers has a standard error of 0.002, a correlation one of 0.007.
    assert abs(numbers.mean(0) - 0.5).max() < 0.01
    assert abs(numbers.std(0) - math.sqrt(1 / 12)).max() < 0.01
    assert abs(np.corrcoef(numbers.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(numbers[1:, 0], numbers[:-1, 0])[0, 1]) < 0.03
    other = Draws.of(11, 20000).uniform(4, 2)
    assert abs(np.corrcoef(numbers[:, 0], other[:, 0])[0, 1]) < 0.03


@pytest.mark.parametrize(("name", "axis"), [("RandomHorizontalFlip", 3), ("RandomVerticalFlip", 2)])
def test_flips(name: str, axis: int) -> None:
    given = images(1).expand(2000, -1, -1, -1)
    found = pipeline({name: {"p": 0.3}})(given, 1)
    turned = (found != given).flatten(1).any(1)
    assert torch.equal(found[turned], given[turned].flip(axis))
    # 2000 draws: a standard error of 0.010.
    assert turned.float().mean().item() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("number", range(4), ids=["brightness", "contrast", "saturation", "hue"])
def test_colours_are_those_of_torchvision(number: int) -> None:
    theirs = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)[number]
    given = images().float() / 255
    for factor in (0.0, 0.3, -0.4) if number == 3 else (0.0, 0.5, 1.0, 1.7):
        found = OPERATIONS[number](given, torch.full((6, 1, 1, 1), factor))
        # Other orders of float32 operations; hue divides by chroma, which grows the rounding.
        torch.testing.assert_close(found, theirs(given, factor), rtol=0, atol=2e-5)


def test_jitter_is_drawn_for_each_sample_in_its_own_order() -> None:
    jitter = ColourJitter((0.5, 1.5), (0.5, 1.5), (0.5, 1.5), (-0.2, 0.2))
    numbers = np.random.default_rng(0).random((6, 8))
    given = images()
    found = jitter(given, numbers)
    theirs = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    orders = set()
    for sample in range(6):
        value = given[sample].float() / 255
        order = np.argsort(numbers[sample, 4:])
        orders.add(tuple(order))
        for which in order:
            low, high = (-0.2, 0.2) if which == 3 else (0.5, 1.5)
            value = theirs[which](value, low + (high - low) * numbers[sample, which])
        # Rounded to whole numbers once: half a step, and the rounding of float32.
        assert (found[sample].float() - value * 255).abs().max() <= 0.51
    assert len(orders) > 3
    assert torch.equal(ColourJitter(None, None, None, None)(given, numbers), given)


def test_foreign_objects_are_seeded_as_well() -> None:
    def noisy(image: Tensor) -> Tensor:
        return image + random.random() + float(np.random.rand()) + torch.rand(1)

    found = pipeline(noisy)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    first = found(images(), 5)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[union-attr]
    random.seed(9)
    np.random.seed(9)
    assert torch.equal(found(images(), 5), first)
    assert len(set((first - images()).flatten(1)[:, 0].tolist())) == 6


def test_deterministic_ones_are_those_of_torchvision() -> None:
    given = images()
    found = pipeline(
        {"Resize": {"size": 18}},
        {"CenterCrop": 16},
        "ToTensor",
        {"Normalize": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}},
    )
    theirs = v2.Compose(
        [
            v2.Resize(18),
            v2.CenterCrop(16),
            v2.ToDtype(torch.float32, True),
            v2.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]),
        ]
    )
    assert torch.equal(found(given), theirs(given))
    with pytest.raises(InputError, match=r"RandomInvert is random; it belongs into train\.augment\.transforms"):
        build_pipeline([{"RandomInvert": {}}], "train.model.transforms", deterministic=True)


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ([{"Normalize": {"mean": [0.5], "std": [0.2]}}], "three channels"),
        ([{"Normalize": {"mean": [0, 0, 0], "std": [1, 0, 1]}}], "above 0"),
        ([{"Normalize": {}}], "three channels"),
        ([{"Normalize": {"mean": [0, 0, 0], "std": [1, 1, 1]}}, {"Resize": 4}], "must come last"),
    ],
    ids=str,
)
def test_normalize_of_validation(entries: list[Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        split_normalize(entries, "train.model.transforms")
