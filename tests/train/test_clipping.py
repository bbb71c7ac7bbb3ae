"""Adaptive clipping against timm's own, and its effect inside the loop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from timm.utils import adaptive_clip_grad
from torch import nn

from pipeline.contract.store import Store
from pipeline.train.assemble import assemble
from pipeline.train.checkpoint import Progress
from pipeline.train.clipping import adaptive_clip, clipped_parameters, unit_norm
from pipeline.train.config import AgcConfig, TrainConfig
from pipeline.train.engine import Parts, fit
from pipeline.train.ranks import Ranks
from tests.train.training import STAGED, Watcher, config, write_small

FACTOR = 1e-3


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(write_small(tmp_path_factory.mktemp("clipping") / "store", points=17))


def net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 5))


def with_gradients(scale: float) -> nn.Sequential:
    model = net()
    model(torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(0)) * scale).square().sum().backward()
    return model


@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0])
def test_as_timm(scale: float) -> None:
    ours, theirs = with_gradients(scale), with_gradients(scale)
    adaptive_clip(ours.parameters(), AgcConfig(clip_factor=0.01, eps=1e-3))
    adaptive_clip_grad(theirs.parameters(), clip_factor=0.01, eps=1e-3)
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-6, atol=0)


def test_small_gradients_stay_as_they_are() -> None:
    model, same = with_gradients(1e-4), with_gradients(1e-4)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.fill_(1e6)
    adaptive_clip(model.parameters(), AgcConfig())
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), same.parameters(), strict=True))


def ratios(parts: Parts, settings: TrainConfig) -> dict[bool, list[float]]:
    """Return the largest ratio of gradient to weight norm at each step, as the optimizer sees it: head and rest."""
    found: dict[bool, list[float]] = {True: [], False: []}
    step = parts.optimizer.step

    def measured() -> object:
        for name, parameter in parts.module.named_parameters():
            if parameter.grad is not None:
                ratio = unit_norm(parameter.grad) / unit_norm(parameter.detach()).clamp(min=settings.agc.eps)
                found[name.startswith("head.")].append(float(ratio.max()))
        return step()

    parts.optimizer.step = measured
    watcher = Watcher()
    fit(parts, settings, Progress(), watcher, watcher.interrupt)
    return found


@pytest.mark.parametrize("more", [{}, {"accumulate": 2}, {"precision": "bf16"}, {"clip_norm": 100.0}], ids=str)
def test_the_ratio_that_the_optimizer_sees_is_bounded(store: Store, more: dict[str, object]) -> None:
    plain = {"epochs": 1, "batch_size": 48, "model": STAGED, **more}
    agc = {"enabled": True, "clip_factor": FACTOR}
    off, on = (config(**plain), config(**plain, agc=agc))
    free, bounded = ratios(assemble(off, store), off), ratios(assemble(on, store), on)
    assert max(free[False]) > 10 * FACTOR, "without clipping the bound would not hold by itself"
    # float32 rounding of one product.
    assert max(bounded[False]) <= FACTOR * (1 + 1e-5)
    assert max(bounded[True]) > FACTOR, "the head is left alone"


def test_the_head_is_left_out(store: Store) -> None:
    module = assemble(config(model=STAGED), store).module
    held = {id(value) for value in clipped_parameters(module)}
    for name, value in module.named_parameters():
        assert (id(value) in held) != name.startswith("head."), name


def test_norm_clipping_bounds_the_norm(store: Store, tmp_path: Path) -> None:
    settings = config(epochs=1, clip_norm=1e-3)
    parts = assemble(settings, store)
    norms: list[float] = []
    step = parts.optimizer.step

    def measured() -> object:
        gradients = [p.grad.flatten() for p in parts.module.parameters() if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))
        return step()

    parts.optimizer.step = measured
    watcher = Watcher()
    fit(parts, settings, Progress(), watcher, watcher.interrupt)
    assert norms
    assert max(norms) <= 1e-3 * (1 + 1e-4)


def test_scaled_gradients_are_unscaled_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With float16 the loss is scaled up; clipping and tracing must see the gradients that it has without."""

    def scaling(settings: TrainConfig, ranks: Ranks) -> Fabric:
        # bfloat16 has the range of float32, so that the scaled values are the plain ones times the scale.
        plugin = MixedPrecision("bf16-mixed", "cpu")
        plugin.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
        return Fabric(accelerator="cpu", devices=1, plugins=[plugin])

    traced = {"enabled": True, "exclude_patterns": []}
    settings = config(epochs=1, batch_size=96, model=STAGED, gradients=traced, precision="bf16", clip_norm=1e-3)
    found = []
    for scaled in (False, True):
        if scaled:
            monkeypatch.setattr("pipeline.train.assemble.start_fabric", scaling)
        parts, progress, watcher = assemble(settings, store), Progress(), Watcher()
        fit(parts, settings, progress, watcher, watcher.interrupt)
        found.append((progress.gradients[0], parts.module.state_dict()))
    for name, value in found[0][0].items():
        # A power of two as the scale: bfloat16 rounds alike but for the smallest numbers.
        assert found[1][0][name] == pytest.approx(value, rel=1e-2), name
    for name, value in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], value, rtol=1e-3, atol=1e-4)
