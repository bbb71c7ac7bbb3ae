"""The image encoder: what it does before the backbone, where its weights come from, and what may stand in for them."""

import errno
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms import v2

from pipeline.contract.store import InputSpec
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.train.augment import build_augment
from pipeline.train.backbones import ALIASES, weights, zoo
from pipeline.train.config import AugmentConfig, ModelConfig
from pipeline.train.images import IMAGENET, Normalize
from pipeline.train.model import Classifier, as_built, build_model

SMALL: dict[str, Any] = {"backbone": "simple", "hidden": 8, "head_dropout": 0, "dropout": 0}
TIMM: dict[str, Any] = SMALL | {"backbone": "resnet10t"}


def image_spec(height: int = 32, width: int = 32) -> InputSpec:
    return InputSpec("image", "image.npy", "uint8", (3, height, width), ("red", "green", "blue"), ("1",) * 3)


def raw(samples: int = 4, height: int = 32, width: int = 32) -> Tensor:
    return torch.randint(0, 256, (samples, 3, height, width), generator=torch.Generator().manual_seed(1)).to(
        torch.uint8
    )


def built(
    settings: dict[str, Any], scale: dict[str, Any] | None = None, size: tuple[int, int] = (32, 32)
) -> Classifier:
    torch.manual_seed(7)
    return build_model(ModelConfig(**settings), {"image": image_spec(*size)}, 4, scale)


def seen_by_backbone(model: Classifier, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = model.images()["image"].backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model({"image": images})
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("normalize", "mean", "std"),
    [
        ("model", IMAGENET.mean, IMAGENET.std),
        ("imagenet", IMAGENET.mean, IMAGENET.std),
        ("dataset", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        (((0.5, 0.4, 0.3), (0.25, 0.2, 0.3)), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)),
    ],
    ids=["model", "imagenet", "dataset", "numbers"],
)
def test_normalisation_is_part_of_the_model(normalize: Any, mean: Any, std: Any, layout: torch.memory_format) -> None:
    scale = {"image": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    model = built({**SMALL, "normalize": normalize}, scale).eval()
    images = raw().contiguous(memory_format=layout)
    found = seen_by_backbone(model, images)
    expected = v2.Normalize(mean, std)(v2.functional.to_dtype(images, torch.float32, scale=True))
    # One multiplication and addition against torchvision's three steps: float32 rounding of values up to 3.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert found.is_contiguous(memory_format=layout)
    state = model.state_dict()
    assert state["encoders.image.prepare.normalize.mean"].tolist() == pytest.approx(mean)
    assert state["encoders.image.prepare.normalize.std"].tolist() == pytest.approx(std)
    assert model.facts["normalize"] == {"image": [pytest.approx(mean), pytest.approx(std)]}
    assert torch.equal(seen_by_backbone(model, expected), expected), "float images are prepared already"


def test_each_model_has_its_own_mean_and_std() -> None:
    model = built({**SMALL, "backbone": "tf_efficientnetv2_b0"})
    known = timm.get_pretrained_cfg("tf_efficientnetv2_b0")
    assert model.facts["normalize"]["image"] == [pytest.approx(known.mean), pytest.approx(known.std)]
    special = built({**SMALL, "backbone": "vit_tiny_patch16_224"})
    assert special.facts["normalize"]["image"] == [[0.5] * 3, [0.5] * 3]


def test_transforms_of_validation_are_part_of_the_model() -> None:
    settings = {**SMALL, "transforms": [{"Resize": {"size": 24}}, {"CenterCrop": 20}]}
    model = built(settings, size=(32, 40)).eval()
    images = raw(4, 32, 40)
    small = v2.CenterCrop(20)(v2.Resize(24)(images))
    found = seen_by_backbone(model, images)
    assert torch.equal(found, model.images()["image"].prepare.normalize(small))
    assert model.images()["image"].prepare.shape == (3, 20, 20)
    model.train()
    assert torch.equal(seen_by_backbone(model, images), found), "without transforms of its own, training sees the same"


def test_normalize_among_the_transforms_comes_first() -> None:
    entry = {"Normalize": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    model = built({**SMALL, "normalize": "imagenet", "transforms": ["ToTensor", entry]})
    assert model.facts["normalize"]["image"] == [[0.5] * 3, [0.25] * 3]
    expected = v2.Normalize([0.5] * 3, [0.25] * 3)(raw().float() / 255)
    torch.testing.assert_close(seen_by_backbone(model, raw()), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"transforms": ["RandomHorizontalFlip"]}, "RandomHorizontalFlip is random"),
        ({"transforms": [{"CenterCrop": 64}, {"Grayscale": 1}]}, "3 channels"),
        ({"normalize": "dataset"}, "needs the scale of a store"),
        ({"backbone": "resnt18"}, "did you mean 'resnet18'"),
        ({"backbone": "simple", "pretrained": True}, "only for timm names"),
        ({"backbone": "resnet18", "fallback": "resnet81"}, r"train\.model\.fallback: unknown name 'resnet81'"),
    ],
    ids=str,
)
def test_bad_settings(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        built({**SMALL, **settings})
    assert "\n" not in str(caught.value)


def test_building_leaves_the_statistics_of_batch_norm_alone() -> None:
    """A trial in training mode would move them, and fail on one sample of one cell."""
    model = built(TIMM)
    for name, value in model.state_dict().items():
        if name.endswith("running_mean"):
            assert (value == 0).all(), name
        if name.endswith("num_batches_tracked"):
            assert value == 0


@pytest.mark.parametrize(("name", "known"), sorted(ALIASES.items()))
def test_names_of_the_guide(name: str, known: str) -> None:
    assert timm.is_model(known)
    with torch.device("meta"):
        assert isinstance(timm.create_model(known, num_classes=0), torch.nn.Module)
    assert ALIASES[name] == known


def test_pooling_of_images_is_the_average_unless_asked() -> None:
    assert built(TIMM).encoders["image"].width == 512
    assert built({**TIMM, "pooling": "grid", "pool_size": 2}, size=(64, 64)).encoders["image"].width == 512 * 4


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_three_channels_take_pretrained_weights_as_they_are(name: str, tmp_path: Path) -> None:
    torch.manual_seed(11)
    saved = dict(timm.create_model("resnet10t", num_classes=7).state_dict())
    path = tmp_path / name
    save_file(saved, path) if path.suffix == ".safetensors" else torch.save(saved, path)
    model = built({**TIMM, "pretrained": str(path)})
    found = model.images()["image"].backbone.model.state_dict()
    assert set(saved) - set(found) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, saved[key]) for key, value in found.items())
    assert model.facts["weights"] == "file"
    again = build_model(as_built(ModelConfig(**TIMM, pretrained="gone.pth"), model.facts), {"image": image_spec()}, 4)
    assert again.state_dict().keys() == model.state_dict().keys()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_hub_out_of_reach_is_an_error_that_says_what_to_do(no_hub: None) -> None:
    with pytest.raises(EnvironmentFault, match=r"set train.model.pretrained to its path.*fallback") as caught:
        built({**TIMM, "backbone": "efficientnet_b0", "pretrained": True})
    assert "\n" not in str(caught.value)


def test_fallback_is_told_and_noted(no_hub: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        model = built({**SMALL, "backbone": "resnet18", "pretrained": True, "fallback": "resnet10t"})
    assert "FALLBACK: training resnet10t with RANDOM weights, NOT resnet18" in caplog.text
    facts = model.facts
    assert {**facts, "reason": "", "normalize": {}} == {
        "backbone": "resnet10t",
        "asked": "resnet18",
        "weights": "random",
        "fallback": True,
        "reason": "",
        "normalize": {},
    }
    assert "could not be fetched" in facts["reason"]
    assert type(model.images()["image"].backbone.model).__name__ == "ResNet"
    config = ModelConfig(**{**SMALL, "backbone": "resnet18", "pretrained": True, "fallback": "resnet10t"})
    again = build_model(as_built(config, facts), {"image": image_spec()}, 4)
    again.load_state_dict(model.state_dict())


def test_fallback_takes_its_own_pretrained_weights_if_they_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str, options: dict[str, Any]) -> torch.nn.Module:
        if name != "resnet10t":
            raise weights.HubFault("out of reach")
        model: torch.nn.Module = timm.create_model(name, **options)
        torch.nn.init.constant_(model.bn1.weight, 3.0)  # type: ignore[arg-type, union-attr]
        return model

    monkeypatch.setattr(zoo, "fetch", fetch)
    model = built({**SMALL, "backbone": "resnet18", "pretrained": True, "fallback": "resnet10t"})
    assert model.facts["weights"] == "hub"
    assert (model.images()["image"].backbone.model.bn1.weight == 3).all()


def test_a_full_disk_is_no_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **options: Any) -> Any:
        if options.get("pretrained"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(*_, **options)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", fails)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        built({**SMALL, "backbone": "resnet18", "pretrained": True, "fallback": "resnet10t"})


@pytest.mark.parametrize(
    "fault", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_fallback_hides_neither_typos_nor_lack_of_memory(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    settings = {**SMALL, "pretrained": True, "fallback": "resnet10t"}
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        built({**settings, "backbone": "resnt18"})

    def fails(*_: Any, **__: Any) -> Any:
        raise fault

    monkeypatch.setattr(zoo, "fetch", fails)
    with pytest.raises(type(fault), match="memory"):
        built({**settings, "backbone": "resnet18"})


def test_drop_path_changes_training_only() -> None:
    for rate, random in ((0.0, False), (0.9, True)):
        model = built({**SMALL, "backbone": "resnet10t", "drop_path": rate})
        for name, value in model.named_parameters():
            if name.endswith("bn2.weight"):  # timm starts residual branches at 0, where dropping them changes nothing
                torch.nn.init.ones_(value)
        first, second = model({"image": raw(8)}), model({"image": raw(8)})
        assert torch.equal(first, second) is not random
        model.eval()
        assert torch.equal(model({"image": raw(8)}), model({"image": raw(8)}))


def test_training_transforms_replace_those_of_validation(caplog: pytest.LogCaptureFixture) -> None:
    model = built({**TIMM, "transforms": [{"Resize": {"size": 24}}]}, size=(40, 40))
    augment = build_augment(AugmentConfig(transforms=[{"RandomCrop": 32}, "RandomHorizontalFlip"]), None, model)
    assert augment is not None
    assert "image is 32 × 32 in training, 24 × 24 in validation" in caplog.text
    images = raw(5, 40, 40)
    inputs, target = augment({"image": images}, torch.eye(5), torch.Generator().manual_seed(1))
    assert inputs["image"].dtype == torch.float32
    assert inputs["image"].shape == (5, 3, 32, 32)
    assert torch.equal(target, torch.eye(5))
    assert torch.equal(seen_by_backbone(model, inputs["image"]), inputs["image"])
    prepare = model.images()["image"].prepare
    cut = [prepare.normalize(images[0][None, :, r : r + 32, c : c + 32])[0] for r in range(9) for c in range(9)]
    places = [
        piece
        for piece in cut
        if torch.equal(piece, inputs["image"][0]) or torch.equal(piece.flip(2), inputs["image"][0])
    ]
    assert len(places) == 1, "a crop of the raw image, normalised as in validation"


def test_sizes_that_a_model_cannot_take_are_found_before_training() -> None:
    config = AugmentConfig(transforms=[{"RandomCrop": 16}])
    with pytest.raises(InputError, match=r"16 × 16, train\.model\.transforms 32 × 32.*pooling average"):
        build_augment(config, None, built({**SMALL, "pooling": "grid"}))
    model = built(SMALL)
    assert build_augment(config, None, model) is not None
    assert model.training
    assert model.images()["image"].training


def test_colours_of_training_and_validation_are_compared(caplog: pytest.LogCaptureFixture) -> None:
    entry = {"Normalize": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    build_augment(AugmentConfig(transforms=["ToTensor", entry]), None, built(SMALL))
    assert "set train.model.normalize to the same" in caplog.text
    caplog.clear()
    model = built({**SMALL, "transforms": ["ToTensor", entry]})
    augment = build_augment(AugmentConfig(transforms=["ToTensor", entry, {"RandomErasing": {"p": 1.0}}]), None, model)
    assert not caplog.text
    assert augment is not None
    found = augment({"image": raw()}, torch.eye(4), torch.Generator().manual_seed(1))[0]["image"]
    plain = model.images()["image"].prepare(raw())
    same = torch.isclose(found, plain, atol=1e-6)
    assert all(0 < 1 - image.float().mean() < 0.6 for image in same), "erased after normalisation, to 0"
    assert (found[~same] == 0).all()


@pytest.mark.parametrize(
    "entries",
    [
        ["RandomHorizontalFlip"],
        ["RandomHorizontalFlip", "ToTensor"],
        ["RandomHorizontalFlip", {"ToDtype": {"dtype": "float32", "scale": True}}],
        ["ToImage", "RandomHorizontalFlip", {"Normalize": {"mean": IMAGENET.mean, "std": IMAGENET.std}}],
        ["ToTensor", {"Normalize": {"mean": IMAGENET.mean, "std": IMAGENET.std}}, "RandomHorizontalFlip"],
    ],
    ids=str,
)
def test_a_pipeline_is_completed(entries: list[Any]) -> None:
    """However much of scaling and normalisation is written, the model sees the same."""
    model = built(SMALL)
    augment = build_augment(AugmentConfig(transforms=entries), None, model)
    assert augment is not None
    found = augment({"image": raw()}, torch.eye(4), torch.Generator().manual_seed(3))[0]["image"]
    plain = model.images()["image"].prepare(raw())
    assert found.dtype == torch.float32
    for image, expected in zip(found, plain, strict=True):
        # One multiplication and addition against torchvision's three steps: float32 rounding of values up to 3.
        assert torch.allclose(image, expected, atol=2e-6) or torch.allclose(image.flip(2), expected, atol=2e-6)


def test_unscaled_numbers_are_not_normalised_as_if_they_were() -> None:
    entries = [{"ToDtype": {"dtype": "float32"}}]
    with pytest.raises(InputError, match=r"train\.augment\.transforms: gives numbers up to 250.*scale: true"):
        build_augment(AugmentConfig(transforms=entries), None, built(SMALL))
    with pytest.raises(InputError, match=r"train\.model\.transforms: gives numbers up to 250.*scale: true"):
        built({**SMALL, "transforms": entries})


def test_noise_and_mixup_see_prepared_images() -> None:
    model = built(SMALL)
    for config in (AugmentConfig(noise=0.1), AugmentConfig(mixup=1.0), AugmentConfig(cutmix=1.0)):
        augment = build_augment(config, None, model)
        assert augment is not None
        found = augment({"image": raw()}, torch.eye(4), torch.Generator().manual_seed(1))[0]["image"]
        assert found.dtype == torch.float32
        assert found.min() < -0.5
    shift = build_augment(AugmentConfig(shift=2), None, model)
    assert shift is not None
    assert shift({"image": raw()}, torch.eye(4), torch.Generator())[0]["image"].dtype == torch.uint8


def test_transforms_need_images() -> None:
    grid = InputSpec("grid", "grid.npy", "float32", (2, 9, 9), ("a", "b"), ("1", "1"))
    model = build_model(ModelConfig(), {"grid": grid}, 3)
    for settings, named in (
        ({"transforms": ["RandomInvert"]}, "the store has no images"),
        ({"cutmix": 1}, "found grid"),
    ):
        with pytest.raises(InputError, match=named):
            build_augment(AugmentConfig(**settings), None, model)
    both = build_model(ModelConfig(), {"image": image_spec(), "grid": grid}, 3)
    with pytest.raises(InputError, match="sees nothing else, found grid"):
        build_augment(AugmentConfig(cutmix=1), None, both)


def test_prediction_needs_the_state_dict_alone() -> None:
    model = built({**SMALL, "normalize": "dataset"}, {"image": {"mean": [0.1] * 3, "std": [0.2] * 3}}).eval()
    other = build_model(ModelConfig(**SMALL), {"image": image_spec()}, 4).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other({"image": raw()}), model({"image": raw()}))
    assert np.isfinite(other({"image": raw()}).detach().numpy()).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(5, 3, 33, 20), (1, 3, 8, 8), (3, 3, 1, 1), (0, 3, 4, 4), (2, 3, 1, 7)])
def test_normalisation_has_the_bits_of_the_plain_formula_in_every_layout(shape, dtype):
    normalize, unit = Normalize(IMAGENET), 255.0 if dtype == torch.uint8 else 1.0
    factor, offset = 1 / (unit * normalize.std), -normalize.mean / normalize.std
    images = torch.randint(0, 256, shape).to(dtype)
    for laid in (images, images.contiguous(memory_format=torch.channels_last), images.transpose(2, 3)):
        plain = torch.addcmul(offset.view(-1, 1, 1), laid.float(), factor.view(-1, 1, 1))
        assert torch.equal(normalize(laid), plain)


def test_normalisation_passes_gradients():
    images = torch.rand(2, 3, 4, 5, requires_grad=True)
    Normalize(IMAGENET)(images).sum().backward()
    assert images.grad is not None
    assert torch.allclose(images.grad, (1 / torch.tensor(IMAGENET.std)).view(1, 3, 1, 1).expand(2, 3, 4, 5))
