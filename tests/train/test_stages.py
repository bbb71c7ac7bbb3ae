"""Stages by the model's own description: every parameter once, stem shallow, what comes last deep."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import timm
import torch
from torch import nn

from pipeline.contract.store import InputSpec
from pipeline.train.backbones import build_backbone
from pipeline.train.config import ModelConfig
from pipeline.train.model import build_model
from pipeline.train.stages import backbone_stages, local_names, stages, timm_stages


def on_meta(name: str) -> Any:
    with torch.device("meta"):
        return timm.create_model(name, num_classes=0)


@pytest.mark.parametrize(
    ("name", "first", "deepest", "count"),
    [
        ("resnet18", ["conv1.weight", "bn1.bias", "layer1.1.bn2.bias"], ["layer4.0.conv1.weight"], 4),
        ("resnet50", ["conv1.weight", "layer1.2.bn3.bias"], ["layer4.0.conv1.weight"], 4),
        (
            "efficientnet_b4",
            ["conv_stem.weight", "bn1.weight", "blocks.0.0.conv_dw.weight", "blocks.1.3.bn3.bias"],
            ["blocks.5.0.conv_pw.weight", "blocks.6.0.conv_pw.weight", "conv_head.weight", "bn2.bias"],
            4,
        ),
        (
            "dm_nfnet_f0",
            ["stem.conv1.weight", "stages.0.0.conv1.weight"],
            ["stages.3.0.conv1.weight", "final_conv.gain"],
            4,
        ),
        ("convnext_atto", ["stem.0.weight"], ["stages.3.blocks.0.gamma", "head.norm.weight"], 4),
        (
            "vit_tiny_patch16_224",
            ["cls_token", "pos_embed", "blocks.2.norm1.weight"],
            ["blocks.9.norm1.weight", "norm.bias"],
            4,
        ),
        ("poolformer_s12", ["stem.conv.weight"], ["stages.3.downsample.conv.weight", "head.norm.bias"], 4),
    ],
)
def test_timm(name: str, first: list[str], deepest: list[str], count: int) -> None:
    model = on_meta(name)
    found = timm_stages(model)
    assert len(found) == count
    assert set(first) <= set(found[0])
    assert set(deepest) <= set(found[-1])
    assert sorted(itertools.chain(*found)) == sorted(key for key, _ in model.named_parameters())


@pytest.mark.parametrize(
    "name",
    [
        "vgg11",
        "densenet121",
        "regnety_002",
        "mobilenetv3_small_050",
        "swin_tiny_patch4_window7_224",
        "mixer_s16_224",
        "xception41",
        "repvgg_a0",
        "mambaout_femto",
        "levit_128s",
        "pit_ti_224",
        "hrnet_w18_small",
        "fastvit_t8",
        "inception_v3",
    ],
)
def test_any_timm_model_is_divided_whole(name: str) -> None:
    model = on_meta(name)
    found = timm_stages(model)
    assert 2 <= len(found) <= 4
    assert all(found)
    assert sorted(itertools.chain(*found)) == sorted(key for key, _ in model.named_parameters())
    order = [key for key, _ in model.named_parameters()]
    assert order[0] in found[0], "the first parameter belongs to the shallowest stage"


@pytest.mark.parametrize("name", ["simple", "resnet_small", "deformable", "convnext_tiny", "positional"])
def test_own_backbones(name: str) -> None:
    backbone = build_backbone(ModelConfig(backbone=name), 3, (17, 17))
    found = backbone_stages(backbone)
    assert sorted(itertools.chain(*found)) == sorted(key for key, _ in backbone.named_parameters())
    assert len(found) == (0 if name == "positional" else len(found))
    assert name == "positional" or len(found) >= 3


def test_a_description_that_misses_a_parameter_is_a_fault() -> None:
    backbone = build_backbone(ModelConfig(backbone="simple"), 3, (17, 17))
    backbone.stages = lambda: [["layers.0.weight"]]  # type: ignore[assignment, method-assign]
    with pytest.raises(RuntimeError, match="do not hold each"):
        backbone_stages(backbone)


def classifier(names: tuple[str, ...], backbone: str = "resnet10t") -> nn.Module:
    specs = {name: InputSpec("grid", "", "float32", (2, 33, 33), ("a", "b"), ("1", "1")) for name in names}
    return build_model(ModelConfig(backbone=backbone, hidden=8), specs, 3)


def test_of_a_classifier_only_the_backbone_has_stages() -> None:
    module = classifier(("grid",))
    found = stages(module)
    assert len(found) == 4
    inside = set(itertools.chain(*found))
    outside = {name for name, _ in module.named_parameters()} - inside
    assert outside == {name for name, _ in module.named_parameters() if name.startswith("head.")}
    assert all(name.startswith("encoders.grid.backbone.model.") for name in inside)


def test_parameters_without_influence_are_in_no_stage() -> None:
    module = classifier(("grid",), "vit_tiny_patch16_224")
    trained = {name for name, value in module.named_parameters() if value.requires_grad}
    assert set(itertools.chain(*stages(module))) <= trained


def test_two_backbones_meet_at_their_deepest_stages() -> None:
    module = classifier(("one", "two"))
    found = stages(module)
    assert len(found) == 4
    for stage, layer in zip(found, ("layer1", "layer2", "layer3", "layer4"), strict=True):
        for name in ("one", "two"):
            assert any(key.startswith(f"encoders.{name}.backbone.model.{layer}.") for key in stage)


def test_local_names() -> None:
    names = local_names(classifier(("grid",)))
    assert names["encoders.grid.backbone.model.layer1.0.conv1.weight"] == "layer1.0.conv1.weight"
    assert names["head.0.weight"] == "fc.0.weight"
    assert len(set(names.values())) == len(names)
    two = local_names(classifier(("one", "two")))
    assert two["encoders.two.backbone.model.layer1.0.conv1.weight"] == "two.layer1.0.conv1.weight"


def test_other_encoders_are_named_by_their_input() -> None:
    specs = {
        "grid": InputSpec("grid", "", "float32", (2, 33, 33), ("a", "b"), ("1", "1")),
        "series": InputSpec("series", "", "float32", (10, 3), ("x", "y", "z"), ("1",) * 3, (), True),
    }
    module = build_model(ModelConfig(backbone="resnet10t", hidden=8), specs, 3)
    names = local_names(module)
    series = {name: local for name, local in names.items() if name.startswith("encoders.series.")}
    assert series
    assert all(local.startswith("series.") for local in series.values())
    assert not set(series) & set(itertools.chain(*stages(module)))
    assert names["encoders.grid.backbone.model.layer1.0.conv1.weight"] == "layer1.0.conv1.weight"
