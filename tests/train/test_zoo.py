"""Timm's models on our maps, and pretrained weights from files and from the hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.train.backbones import build_backbone
from pipeline.train.config import ModelConfig


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"backbone": "simpel"}, "did you mean 'simple'"),
        ({"backbone": "resnt18"}, "did you mean 'resnet18'"),
        ({"backbone": "timm/convnext_tinny"}, "did you mean 'convnext_tiny'"),
        ({"backbone": "resnet18.nobody"}, "no weights 'nobody'"),
        ({"backbone": "inception_v3"}, "9 × 9 cells"),
        ({"backbone": "resnet10t", "pretrained": "w.onnx"}, "safetensors"),
        ({"backbone": "resnet10t", "pretrained": "none.pt"}, "does not exist"),
        ({"backbone": "vit_relpos_base_patch16_cls_224", "pretrained": True}, "timm has no weights for"),
    ],
    ids=["own name", "timm name", "prefix", "tag", "small map", "suffix", "no file", "not in the hub"],
)
def test_bad_input(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        build_backbone(ModelConfig(**settings), 3, (9, 9))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reader", "padded"),
    [
        ("resnet10t", "channels first", (17, 33)),
        ("convnext_atto", "channels first", (32, 64)),  # 20 × 36 has no cell left after four halvings
        ("vit_tiny_patch16_224", "tokens", (32, 48)),
        ("mambaout_femto", "channels last", (17, 33)),
        ("mobilenetv3_small_050", "channels first", (17, 33)),
    ],
)
def test_timm(name: str, reader: str, padded: tuple[int, int]) -> None:
    backbone = build_backbone(ModelConfig(backbone=name), 5, (17, 33))
    plan: Any = backbone.plan
    assert (plan.reader, plan.padded) == (reader, padded)
    maps = backbone(torch.randn(4, 5, 17, 33))
    assert maps.shape == (4, backbone.width, *backbone.size)
    maps.square().sum().backward()
    for parameter_name, parameter in backbone.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name


def test_map_of_a_transformer_keeps_its_orientation() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(ModelConfig(backbone="vit_tiny_patch16_224"), 1, (32, 64)).eval()
    assert backbone.size == (2, 4)
    still, spot = torch.zeros(1, 1, 32, 64), torch.zeros(1, 1, 32, 64)
    spot[:, :, 16:, 16:32] = 3
    with torch.no_grad():
        change = (backbone(spot) - backbone(still)).abs().sum(1)[0]
    assert int(change.argmax()) == 1 * 4 + 1


def weights(channels: int = 3) -> dict[str, Tensor]:
    import timm

    torch.manual_seed(11)
    return dict(timm.create_model("resnet10t", in_chans=channels, num_classes=7).state_dict())


def save(path: Path, value: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(value, path)
    else:
        torch.save(value, path)
    return path


def pretrained(path: Path, channels: int = 5) -> nn.Module:
    backbone = build_backbone(ModelConfig(backbone="resnet10t", pretrained=str(path)), channels, (17, 33))
    model: nn.Module = backbone.model  # type: ignore[assignment]
    return model


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights.pt"])
def test_weights_from_a_file(name: str, tmp_path: Path) -> None:
    saved = weights()
    found = pretrained(save(tmp_path / name, saved)).state_dict()
    first = "conv1.0.weight"
    # The sum over channels is kept for equal inputs: repeat 3 over 5 channels, scale by 3/5.
    expected = saved[first][:, [0, 1, 2, 0, 1]] * 3 / 5
    torch.testing.assert_close(found.pop(first), expected)
    assert all(torch.equal(value, saved[key]) for key, value in found.items())
    assert set(saved) - set(found) == {first, "fc.weight", "fc.bias"}


def test_weights_in_a_checkpoint_of_a_wrapped_model(tmp_path: Path) -> None:
    saved = weights()
    path = save(tmp_path / "w.pth", {"epoch": 3, "state_dict": {f"module.{key}": v for key, v in saved.items()}})
    found = pretrained(path, channels=3).state_dict()
    assert all(torch.equal(value, saved[key]) for key, value in found.items())


def _without(key: str, **more: Tensor) -> dict[str, Tensor]:
    return {name: value for name, value in weights().items() if name != key} | more


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: _without("layer1.0.conv1.weight"), r"1 missing \(layer1.0.conv1.weight\)"),
        (lambda: _without("", extra=torch.ones(1)), r"1 left over \(extra\)"),
        (lambda: _without("", **{"bn1.bias": torch.ones(3)}), r"1 of another shape \(bn1.bias \(3,\) for \(64,\)\)"),
        (lambda: {f"x{n}": torch.ones(1) for n in range(30)}, r"left over \(x0, x1, x2, x3, x4, … and 25 more\)"),
        (lambda: weights(4), "trained on 4 channels, this store has 5"),
        (lambda: {"epoch": 3}, "no table of tensors"),
        (lambda: [1, 2], "cannot be read as weights"),
    ],
    ids=["missing", "extra", "shape", "another model", "channels", "no tensors", "a list"],
)
def test_weights_that_do_not_fit(make: Callable[[], Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=named) as caught:
        pretrained(save(tmp_path / "w.pt", make()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_truncated_weights(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name, weights())
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read as weights") as caught:
        pretrained(path)
    assert "\n" not in str(caught.value)


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EnvironmentFault, match=r"could not be fetched .* set train.model.pretrained to its path"):
        build_backbone(ModelConfig(backbone="resnet10t", pretrained=True), 3, (17, 33))
