"""Our own backbones, pooling, heads, the classifier and the optimizer over it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.contract.store import InputSpec
from pipeline.core.errors import InputError
from pipeline.train.backbones import BACKBONES, build_backbone
from pipeline.train.backbones.convnext_tiny import StochasticDepth
from pipeline.train.backbones.deformable import DeformableLayer
from pipeline.train.config import ModelConfig, OptimizerConfig
from pipeline.train.model import Classifier, build_model
from pipeline.train.optimizers import build_optimizer
from pipeline.train.pooling import GridPool, WindowPool, box_means

OWN = sorted(BACKBONES)
SIZES = [(9, 9), (17, 33), (30, 13)]


def grid(channels: int = 3, size: tuple[int, int] = (9, 11), missing: int = 0, masked: bool = False) -> InputSpec:
    names = tuple(f"field{place}" for place in range(channels))
    return InputSpec(
        "grid", "grid.npy", "float32", (channels, *size), names, ("1",) * channels, names[:missing], masked
    )


SEASON = InputSpec("scalars", "season.npy", "float32", (4,), ("a", "b", "c", "d"), ("1",) * 4)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def fields(model_input: InputSpec, samples: int = 2) -> Tensor:
    return torch.randn(samples, *model_input.shape, generator=torch.Generator().manual_seed(2))


def seeded(config: ModelConfig, inputs: dict[str, InputSpec], outputs: int = 5) -> Classifier:
    torch.manual_seed(7)
    return build_model(config, inputs, outputs)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"backbone": "simple"}, 600_047),
        ({"backbone": "resnet_small", "pooling": "average", "hidden": 1024}, 3_097_615),
        ({"backbone": "deformable", "pooling": "average", "hidden": 1024}, 1_605_281),
        # 3,794,895 and the norm after the stem (2 × 64), which the paper has and the predecessor left out.
        ({"backbone": "convnext_tiny", "pooling": "average", "hidden": 0}, 3_794_895 + 128),
    ],
    ids=lambda value: value["backbone"] if isinstance(value, dict) else "",
)
def test_sizes_are_those_of_the_predecessor(settings: dict[str, Any], parameters: int) -> None:
    """42 channels, 15 outputs, and the head that each had there."""
    with torch.device("meta"):
        model = build_model(ModelConfig(**settings), {"grid": grid(42, (161, 161))}, 15)
    assert count(model) == parameters


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", OWN)
def test_every_size(name: str, size: tuple[int, int]) -> None:
    """The map is as announced, every parameter learns, and every cell of the input has a say."""
    spec = grid(2, size)
    model = seeded(ModelConfig(backbone=name, head_dropout=0, dropout=0, drop_path=0), {"grid": spec})
    maps = fields(spec).requires_grad_()
    backbone = model.encoders["grid"].backbone
    assert backbone(maps).shape == (2, backbone.width, *backbone.size)
    logits = model({"grid": maps})
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all()
    assert maps.grad is not None
    assert (maps.grad.abs().sum((0, 1)) > 0).all(), "the last row or column is lost"


@pytest.mark.parametrize("name", ["simple", "convnext_tiny"])
def test_era5_size(name: str) -> None:
    backbone = build_backbone(ModelConfig(backbone=name), 42, (161, 161)).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 42, 161, 161))
    assert maps.shape[1:] == (backbone.width, *backbone.size)
    assert backbone.size == ((20, 20) if name == "simple" else (11, 11))


@pytest.mark.parametrize("name", OWN)
def test_same_seed_same_model(name: str) -> None:
    first, second = (seeded(ModelConfig(backbone=name), {"grid": grid()}) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("name", ["simple", "resnet_small", "convnext_tiny"])
def test_channels_last_is_the_same_function(name: str) -> None:
    spec = grid(3, (17, 19))
    model = seeded(ModelConfig(backbone=name, coordinates=True), {"grid": spec}).eval()
    maps = fields(spec)
    expected = model({"grid": maps})
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Other kernels sum in another order: float32 rounding.
    torch.testing.assert_close(
        model({"grid": maps.to(memory_format=torch.channels_last)}), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", OWN)
def test_bfloat16(name: str) -> None:
    """Mixed precision gives finite slopes, and logits that differ from float32 by rounding only."""
    spec = grid()
    model = seeded(ModelConfig(backbone=name, head_dropout=0, dropout=0, drop_path=0), {"grid": spec})
    maps = fields(spec, 4)
    exact = model({"grid": maps})
    with torch.autocast("cpu", torch.bfloat16):
        rough = model({"grid": maps})
    # bfloat16 keeps 8 bits: 0.4 % a value, summed over layers.
    assert (rough - exact).abs().max() < 0.05 * (exact.abs().max() + 1)
    rough.float().sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in model.parameters() if value.grad is not None)


def test_deformable_starts_as_a_plain_convolution() -> None:
    torch.manual_seed(0)
    layer = DeformableLayer(3, 4, 2, 0.0)
    maps = torch.randn(2, 3, 9, 8)
    plain = F.conv2d(maps, layer.convolution.weight, stride=2, padding=1)
    torch.testing.assert_close(layer.convolution(maps, layer.offset(maps)), plain, rtol=1e-4, atol=1e-5)
    nn.init.constant_(layer.offset.bias, 0.5)  # type: ignore[arg-type]
    assert not torch.allclose(layer.convolution(maps, layer.offset(maps)), plain, atol=1e-2)


def test_stochastic_depth() -> None:
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    branch = torch.ones(4000, 2, 1, 1)
    kept = layer(branch)[:, 0, 0, 0]
    assert torch.equal(layer(branch)[:, 0], layer(branch)[:, 1]) is False, "each call draws anew"
    assert sorted(set(kept.tolist())) == pytest.approx([0, 4 / 3])
    # 4000 draws: a standard error of 0.007.
    assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.035)
    assert torch.equal(layer.eval()(branch), branch)


@pytest.mark.parametrize(("drop_path", "random"), [(0.0, False), (0.9, True)])
def test_stochastic_depth_is_used(drop_path: float, random: bool) -> None:
    spec = grid()
    model = seeded(ModelConfig(backbone="convnext_tiny", drop_path=drop_path, head_dropout=0), {"grid": spec})
    maps = fields(spec, 8)
    first, second = model({"grid": maps}), model({"grid": maps})
    assert torch.equal(first, second) is not random


@pytest.mark.parametrize("size", [(20, 20), (5, 7), (4, 4), (2, 3), (1, 1)], ids=str)
def test_grid_pool_is_adaptive_pooling(size: tuple[int, int]) -> None:
    pool = GridPool(3, size, 4)
    maps = fields(grid(3, size))
    boxes = (min(4, size[0]), min(4, size[1]))
    expected = F.adaptive_avg_pool2d(maps, boxes).flatten(1)
    assert expected.shape[1] == pool.width
    torch.testing.assert_close(pool(maps), expected, rtol=1e-5, atol=1e-6)
    assert not pool.state_dict()


def test_box_means_by_hand() -> None:
    # Five cells in two boxes: cells 0–2 and 2–4, as adaptive pooling overlaps them.
    assert (3 * box_means(5, 2)).tolist() == [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]


def test_windows_read_their_place() -> None:
    pool = WindowPool(2, (5, 9), windows=3, members=2)
    with torch.no_grad():
        pool.centre.copy_(torch.tensor([[-1.0, -1], [0, 0], [1, 1], [0, -1], [0, 1], [0.5, 0.5]]))
        pool.log_width.fill_(-6)
    maps = torch.arange(90.0).reshape(1, 2, 5, 9)
    places = [(0, 0), (2, 4), (4, 8), (2, 0), (2, 8), (3, 6)]
    expected = torch.stack([maps[0, :, row, column] for row, column in places]).reshape(2, 6)
    torch.testing.assert_close(pool(maps)[0], expected)
    with torch.no_grad():
        pool.log_width.fill_(0.3)
    torch.testing.assert_close(pool(torch.ones(1, 2, 5, 9)), torch.ones(1, 2, 6))


def test_gradient_of_windows() -> None:
    torch.manual_seed(0)
    pool = WindowPool(2, (6, 7), windows=2, members=1).double()
    maps = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    # Places of cells are made in float32; with float64 parameters the rest is float64.
    assert torch.autograd.gradcheck(pool, (maps,))
    out = pool(maps).square().sum()
    (slope,) = torch.autograd.grad(out, pool.centre)
    with torch.no_grad():
        pool.centre[0, 1] += 1e-5
    assert slope[0, 1].item() == pytest.approx((pool(maps).square().sum() - out).item() / 1e-5, rel=1e-3)


def test_coordinates_tell_places_apart() -> None:
    """On a constant map an averaging network knows no place; with coordinates its map differs from cell to cell."""
    spec = grid(1, (16, 16))
    flat = torch.ones(1, 1, 16, 16)
    for wanted in (False, True):
        model = seeded(ModelConfig(backbone="simple", coordinates=wanted), {"grid": spec}).eval()
        encoder = model.encoders["grid"]
        assert encoder.backbone.layers[0].in_channels == (3 if wanted else 1)
        assert not any("coordinates" in name for name in model.state_dict())
        seen: list[Tensor] = []
        encoder.backbone.register_forward_pre_hook(lambda _, arguments, seen=seen: seen.append(arguments[0]))
        model({"grid": flat})
        if wanted:
            assert seen[0][0, 1, :, 0].tolist() == pytest.approx(torch.linspace(-1, 1, 16).tolist())
            assert seen[0][0, 2, 0].tolist() == pytest.approx(torch.linspace(-1, 1, 16).tolist())


def test_coordinates_keep_the_memory_layout() -> None:
    model = seeded(ModelConfig(coordinates=True), {"grid": grid()}).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    seen: list[Tensor] = []
    model.encoders["grid"].backbone.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    maps = fields(grid())
    model({"grid": maps.to(memory_format=torch.channels_last)})
    model({"grid": maps})
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[1].is_contiguous()


def test_validity_masks_are_channels() -> None:
    model = seeded(ModelConfig(), {"grid": grid(3, missing=2, masked=True)})
    assert model.encoders["grid"].backbone.layers[0].in_channels == 5
    assert seeded(ModelConfig(), {"grid": grid(3, missing=2)}).encoders["grid"].backbone.layers[0].in_channels == 3


def test_scalars_go_straight_to_the_head() -> None:
    model = seeded(ModelConfig(hidden=0), {"season": SEASON})
    values = fields(SEASON)
    torch.testing.assert_close(model({"season": values}), F.linear(values, model.head[0].weight, model.head[0].bias))
    both = seeded(ModelConfig(), {"grid": grid(), "season": SEASON}).eval()
    maps = fields(grid())
    assert both.head[0].in_features == both.encoders["grid"].width + 4
    assert not torch.allclose(both({"grid": maps, "season": values}), both({"grid": maps, "season": values + 1}))


@pytest.mark.parametrize("backbone", ["positional", "simple"])
def test_ensemble(backbone: str) -> None:
    config = ModelConfig(backbone=backbone, members=3, hidden=6, hidden_layers=2, activation="gelu", head_dropout=0)
    model = seeded(config, {"grid": grid(), "season": SEASON})
    inputs = {"grid": fields(grid()), "season": fields(SEASON)}
    model.encoders.eval()  # no dropout, so that the two modes can be compared
    each = model(inputs)
    assert each.shape == (2, 3, 5)
    weights = [layer.weight for layer in model.head.layers if hasattr(layer, "weight")]
    slopes = torch.autograd.grad(each[:, 1].sum(), weights)
    assert all((slope[1] != 0).any() and (slope[0] == 0).all() and (slope[2] == 0).all() for slope in slopes)
    assert not torch.allclose(each[:, 0], each[:, 1])
    torch.testing.assert_close(model.eval()(inputs), each.mean(1))


def test_an_ensembles_member_is_a_plain_head() -> None:
    config = ModelConfig(backbone="positional", members=2, hidden=6, head_dropout=0)
    ensemble, plain = (seeded(c, {"grid": grid()}) for c in (config, config.model_copy(update={"members": 1})))
    with torch.no_grad():
        pools = ensemble.encoders["grid"].pooling, plain.encoders["grid"].pooling
        pools[1].centre.copy_(pools[0].centre[config.windows :])
        pools[1].log_width.copy_(pools[0].log_width[config.windows :])
        for place in (0, 3):
            plain.head[place].weight.copy_(ensemble.head.layers[place].weight[1].T)
            plain.head[place].bias.copy_(ensemble.head.layers[place].bias[1, 0])
    maps = fields(grid())
    torch.testing.assert_close(ensemble({"grid": maps})[:, 1], plain({"grid": maps}))


def test_head_has_the_layers_asked_for() -> None:
    model = seeded(ModelConfig(hidden=8, hidden_layers=2, activation="gelu"), {"season": SEASON})
    names = [type(layer).__name__ for layer in model.head]
    assert names == ["Linear", "GELU", "Dropout", "Linear", "GELU", "Dropout", "Linear"]


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: build_model(ModelConfig(), {}, 3), "train.inputs"),
        (
            lambda: build_model(ModelConfig(), {"a": InputSpec("sound", "", "", (1,), ("x",), ("",))}, 3),
            "'sound'.*grid",
        ),
        (lambda: build_backbone(ModelConfig(backbone="simple", pretrained=True), 3, (9, 9)), "only for timm names"),
    ],
    ids=["no input", "kind", "pretrained"],
)
def test_bad_input(build: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "backbone"), [("adamw", "resnet_small"), ("adam", "positional"), ("sgd", "vit_tiny_patch16_224")]
)
def test_each_parameter_is_in_one_group(name: Any, backbone: str) -> None:
    config = ModelConfig(backbone=backbone, members=2 if backbone == "positional" else 1)
    model = seeded(config, {"grid": grid(), "season": SEASON})
    optimizer = build_optimizer(OptimizerConfig(name=name, weight_decay=0.1), model)
    placed = [id(value) for group in optimizer.param_groups for value in group["params"]]
    assert len(placed) == len(set(placed))
    assert set(placed) == {id(value) for value in model.parameters() if value.requires_grad}
    decayed = {id(value) for group in optimizer.param_groups if group["weight_decay"] > 0 for value in group["params"]}
    for parameter_name, value in model.named_parameters():
        free = value.ndim == 1 or parameter_name.endswith(("bias", "centre", "log_width", "pos_embed", "cls_token"))
        assert (id(value) in decayed) is not free, parameter_name
