"""Groups of parameters: each trained parameter once, rates as written, patterns that decide or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from pipeline.contract.store import InputSpec, Store
from pipeline.core.errors import InputError
from pipeline.train.assemble import assemble
from pipeline.train.config import ModelConfig, OptimizerConfig, RatesConfig
from pipeline.train.groups import Group, build_groups
from pipeline.train.model import build_model
from pipeline.train.optimizers import build_optimizer
from pipeline.train.stages import stages
from tests.train.training import STAGED, config, trained, write_small

EXACT = 1e-12
"""Rates are products of a few float64."""
LAYERS = {"conv1": 1e-4, "bn1": 1e-4, r"layer1\.0": 2e-4, "layer1": 3e-4, "layer[23]": 4e-4, "fc": 1e-2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(write_small(tmp_path_factory.mktemp("groups") / "store", points=17))


def module(backbone: str = "resnet18") -> nn.Module:
    spec = InputSpec("grid", "", "float32", (2, 33, 33), ("a", "b"), ("1", "1"))
    return build_model(ModelConfig(backbone=backbone, hidden=8), {"grid": spec}, 3)


def groups_of(net: nn.Module, rate: float = 0.5, **rates: object) -> dict[str, Group]:
    found = build_groups(RatesConfig.model_validate(rates), OptimizerConfig(lr=rate), net)
    trainable = sorted(name for name, value in net.named_parameters() if value.requires_grad)
    assert sorted(name for group in found for name in group.parameters) == trainable, "each parameter in one group"
    optimizer = build_optimizer(OptimizerConfig(lr=rate), net, found)
    held = [id(value) for group in optimizer.param_groups for value in group["params"]]
    assert sorted(held) == sorted(id(value) for value in net.parameters() if value.requires_grad)
    return {group.name: group for group in found}


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "nfnet_l0", "vit_tiny_patch16_224", "resnet_small"])
@pytest.mark.parametrize("rates", [{"by": "one"}, {"by": "stages"}], ids=str)
def test_every_trained_parameter_is_in_exactly_one_group(name: str, rates: dict[str, object]) -> None:
    groups_of(module(name), **rates)


def test_rates_fall_from_the_deepest_stage_to_the_shallowest() -> None:
    found = groups_of(module(), by="stages", head=3e-4, backbone=3e-5, decay=0.1)
    expected = {"stage1": 3e-8, "stage2": 3e-7, "stage3": 3e-6, "stage4": 3e-5, "head": 3e-4}
    assert {name: group.rate for name, group in found.items()} == pytest.approx(expected, rel=EXACT)
    assert any("layer4" in name for name in found["stage4"].parameters)
    assert any(name.endswith("model.conv1.weight") for name in found["stage1"].parameters)
    assert all(name.startswith("head.") for name in found["head"].parameters)


def test_a_backbone_without_weights_leaves_the_head() -> None:
    assert list(groups_of(module("positional"), by="stages")) == ["head"]


def test_the_first_pattern_that_matches_decides() -> None:
    found = groups_of(module(), by="layers", layer_rates=LAYERS)
    rates = {name: group.rate for group in found.values() for name in group.parameters}
    start = "encoders.grid.backbone.model."
    expected = {
        f"{start}conv1.weight": 1e-4,
        f"{start}layer1.0.conv1.weight": 2e-4,
        f"{start}layer1.1.conv1.weight": 3e-4,
        f"{start}layer2.0.conv1.weight": 4e-4,
        f"{start}layer4.0.conv1.weight": 0.5,
        "head.0.weight": 1e-2,
    }
    assert {name: rates[name] for name in expected} == expected
    assert list(found) == [*LAYERS, "other"]


def test_full_names_and_the_head_by_its_own_name_match_as_well() -> None:
    found = groups_of(module(), by="layers", layer_rates={r"encoders\.grid\..*bias$": 1e-5, "head": 1e-3})
    assert all(name.endswith("bias") for name in found[r"encoders\.grid\..*bias$"].parameters)
    assert found["head"].parameters[0] == "head.0.weight"


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"layer5": 1e-3}, r"'layer5' matches .*did you mean 'layer\d'\? There are: conv1, bn1, layer1"),
        ({"layr1": 1e-3}, r"did you mean 'layer1'\?"),
        ({"layer1": 1e-3, r"layer1\.0": 1e-4}, r"taken by patterns before it; write the more specific pattern first"),
    ],
)
def test_a_pattern_that_decides_nothing_is_refused(wanted: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        groups_of(module(), by="layers", layer_rates=wanted)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rates", "named"),
    [
        ({"by": "layers"}, "層別学習率が有効ですが layer_rates が定義されていません"),
        ({"by": "layers", "layer_rates": {"layer1[": 1e-3}}, "no regular expression"),
        ({"by": "layers", "layer_rates": {"layer1": 0}}, "greater than 0"),
        ({"by": "stages", "layer_rates": {"layer1": 1e-3}}, "unused with by=stages"),
        ({"by": "stages", "decay": 1.5}, "less than or equal to 1"),
    ],
)
def test_settings_that_cannot_be(rates: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RatesConfig.model_validate(rates)
    assert named in str(caught.value)


def test_from_python_the_message_is_the_guides_word_for_word() -> None:
    rates = RatesConfig.model_construct(by="layers", layer_rates={})
    with pytest.raises(InputError) as caught:
        build_groups(rates, OptimizerConfig(), module())
    assert str(caught.value) == "層別学習率が有効ですが layer_rates が定義されていません"


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_weight_decay_spares_the_same_parameters_inside_each_group(name: str) -> None:
    net = module()
    settings = OptimizerConfig.model_validate({"name": name, "weight_decay": 0.1})
    found = build_groups(RatesConfig(by="stages"), settings, net)
    names = {id(value): key for key, value in net.named_parameters()}
    for group in build_optimizer(settings, net, found).param_groups:
        for value in group["params"]:
            assert group["weight_decay"] == (0.1 if value.ndim > 1 else 0.0), names[id(value)]


def test_sgd_with_and_without_nesterov() -> None:
    net = module()
    groups = build_groups(RatesConfig(), OptimizerConfig(), net)
    for nesterov in (True, False):
        settings = OptimizerConfig(name="sgd", nesterov=nesterov)
        assert build_optimizer(settings, net, groups).param_groups[0]["nesterov"] is nesterov


@pytest.mark.parametrize(
    "schedule", ["step", "multistep", "cosine", "exponential", "linear", "plateau", "onecycle", "none"]
)
def test_rates_of_groups_follow_every_schedule(store: Store, schedule: str) -> None:
    """The rates that the optimizer holds at each step keep the ratios of the base rates."""
    settings = config(
        epochs=2,
        model=STAGED,
        batch_size=32,
        rates={"by": "stages", "head": 1e-3, "backbone": 1e-4, "decay": 0.5},
        schedule={"name": schedule, "step_size": 1, "milestones": [1]},
    )
    parts = assemble(settings, store)
    seen: list[list[float]] = []
    step = parts.optimizer.step
    parts.optimizer.step = lambda: (seen.append([g["lr"] for g in parts.optimizer.param_groups]), step())[1]
    from pipeline.train.checkpoint import Progress
    from pipeline.train.engine import fit
    from tests.train.training import Watcher

    watcher = Watcher()
    fit(parts, settings, Progress(), watcher, watcher.interrupt)
    assert len(seen) == 6
    for position, rates in enumerate(seen):
        factor = parts.schedule.factor(position) if schedule != "plateau" else 1.0
        assert sorted({round(rate / factor, 12) for rate in rates}) == pytest.approx(
            [1.25e-5, 2.5e-5, 5e-5, 1e-4, 1e-3], rel=1e-6
        )
    last = watcher.entries[-1]
    assert last["lr_head"] == pytest.approx(max(seen[-1]), rel=EXACT)
    assert last["lr_stage1"] == pytest.approx(min(seen[-1]), rel=EXACT)


def test_rates_change_how_far_each_part_moves(store: Store) -> None:
    """With Adam's first steps of about the rate each, a group moves in proportion to its rate."""
    rates = {"by": "stages", "head": 1e-3, "backbone": 1e-4, "decay": 0.5}
    settings = config(epochs=1, batch_size=96, model=STAGED, rates=rates, schedule={"name": "none"})
    parts = assemble(settings, store)
    before = {name: value.detach().clone() for name, value in parts.module.named_parameters()}
    trained_state, _, _ = trained(store, settings)
    moved = {name: float((trained_state[name] - before[name]).abs().max()) for name in before}
    for number, stage in enumerate(stages(parts.module)):
        # One step of AdamW moves each weight by its rate at most (and decays it by 1e-4 of the rate).
        assert max(moved[name] for name in stage) == pytest.approx(1e-4 * 0.5 ** (3 - number), rel=0.05)
    assert max(moved[name] for name in moved if name.startswith("head.")) == pytest.approx(1e-3, rel=0.05)


def test_names_of_groups_are_in_the_history(store: Store, tmp_path: Path) -> None:
    layers = {"layer1": 1e-4, "fc": 1e-2}
    settings = config(epochs=1, model=STAGED, rates={"by": "layers", "layer_rates": layers}, schedule={"name": "none"})
    _, watcher, _ = trained(store, settings)
    entry = watcher.entries[0]
    assert (entry["lr_layer1"], entry["lr_fc"], entry["lr_other"]) == (1e-4, 1e-2, 1e-3)
    assert torch.isfinite(torch.tensor(entry["train_loss"]))
