"""Losses against torch's own, torchvision's, a plain NumPy version and values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pipeline.train.config import LossConfig, TrainConfig
from pipeline.train.losses import build_loss, positive_weight, warn_stacked

POSITIVES = torch.tensor([3.0, 1.0, 0.0, 8.0])
SAMPLES = 10
KINDS = (
    LossConfig(kind="bce"),
    LossConfig(kind="focal", gamma=2),
    LossConfig(kind="focal", gamma=0.5),
    LossConfig(kind="asymmetric"),
    LossConfig(kind="asymmetric", margin=0, gamma_negative=0.5, gamma_positive=0.5),
)


def batch(soft: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(16, 4, generator=generator)
    target = torch.rand(16, 4, generator=generator)
    return logits, target if soft else (target < 0.3).float()


def reference(config: LossConfig, logits: Tensor, target: Tensor) -> NDArray[np.float64]:
    """The formulas as papers print them, in float64, without care for extreme logits."""
    p, y = 1 / (1 + np.exp(-logits.double().numpy())), target.double().numpy()
    y = y * (1 - config.label_smoothing) + config.label_smoothing / 2
    weight = positive_weight(POSITIVES, SAMPLES, config.pos_weight_max).double().numpy() if config.pos_weight else 1.0
    if config.kind == "asymmetric":
        shifted = np.maximum(p - config.margin, 0)
        yes = (1 - p) ** config.gamma_positive * np.log(p)
        no = shifted**config.gamma_negative * np.log(1 - shifted)
        return -(weight * y * yes + (1 - y) * no).mean(1)
    gamma = config.gamma if config.kind == "focal" else 0.0
    right = y * p + (1 - y) * (1 - p)
    return -((1 - right) ** gamma * (weight * y * np.log(p) + (1 - y) * np.log(1 - p))).mean(1)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("pos_weight", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.kind}-{c.gamma:g}-{c.margin:g}")
def test_formulas(config: LossConfig, smoothing: float, pos_weight: bool, soft: bool) -> None:
    config = config.model_copy(update={"label_smoothing": smoothing, "pos_weight": pos_weight})
    logits, target = batch(soft)
    found = build_loss(config, POSITIVES, SAMPLES)(logits, target)
    assert found.shape == (16,)
    # float32 against float64: a few units in the seventh digit, more where p − m cancels.
    np.testing.assert_allclose(found.numpy(), reference(config, logits, target), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("pos_weight", [False, True])
def test_bce_is_that_of_torch(pos_weight: bool) -> None:
    logits, target = batch()
    weight = positive_weight(POSITIVES, SAMPLES, 50) if pos_weight else None
    expected = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    found = build_loss(LossConfig(kind="bce", pos_weight=pos_weight), POSITIVES, SAMPLES)(logits, target).mean()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_focal_is_that_of_torchvision() -> None:
    from torchvision.ops import sigmoid_focal_loss

    logits, target = batch()
    expected = sigmoid_focal_loss(logits, target, alpha=-1, gamma=2, reduction="mean")
    found = build_loss(LossConfig(kind="focal", gamma=2), POSITIVES, SAMPLES)(logits, target).mean()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_values_by_hand() -> None:
    # One class, p = 3/4 for a positive: focal (1/4)² · ln(4/3); asymmetric for a negative at p = 3/4, m = 1/4, γ₋ = 2:
    # p_m = 1/2, loss (1/2)² · ln 2.
    logits, one = torch.tensor([[math.log(3.0)]]), torch.ones(1)
    focal = build_loss(LossConfig(kind="focal", gamma=2), one, 2)(logits, torch.ones(1, 1))
    assert focal.item() == pytest.approx(math.log(4 / 3) / 16, rel=1e-6)
    config = LossConfig(kind="asymmetric", margin=0.25, gamma_negative=2)
    asymmetric = build_loss(config, one, 2)(logits, torch.zeros(1, 1))
    assert asymmetric.item() == pytest.approx(math.log(2) / 4, rel=1e-6)


def test_positive_weight() -> None:
    found = positive_weight(torch.tensor([0.0, 1.0, 10.0, 25.0, 90.0, 100.0]), 100, 50)
    # No positives: 1; (N − N⁺)/N⁺ = 99 is clipped to 50; below 1 (more positives than negatives) is clipped to 1.
    assert found.tolist() == [1, 50, 9, 3, 1, 1]


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.kind}-{c.gamma:g}-{c.margin:g}")
@pytest.mark.parametrize("pos_weight", [False, True])
def test_extreme_logits_keep_finite_slopes(config: LossConfig, pos_weight: bool) -> None:
    config = config.model_copy(update={"pos_weight": pos_weight})
    values = torch.tensor([-1e4, -100.0, -1e-30, 0.0, 1e-30, 100.0, 1e4])
    logits = values[:, None].expand(-1, 4).clone().requires_grad_()
    for target in (0.0, 0.3, 1.0):
        loss = build_loss(config, POSITIVES, SAMPLES)(logits, torch.full((7, 4), target))
        (slope,) = torch.autograd.grad(loss.sum(), logits)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(slope).all()
        assert (loss >= 0).all()


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.kind}-{c.gamma:g}-{c.margin:g}")
def test_gradient(config: LossConfig) -> None:
    logits, target = batch()
    loss = build_loss(config, POSITIVES, SAMPLES)
    step = 1e-2
    logits = logits.clamp(-3, 3).requires_grad_()
    (slope,) = torch.autograd.grad(loss(logits, target).sum(), logits)
    with torch.no_grad():
        for sample, label in ((0, 0), (3, 1), (7, 2), (11, 3)):
            shift = torch.zeros_like(logits)
            shift[sample, label] = step
            rise = (loss(logits + shift, target) - loss(logits - shift, target)).sum() / (2 * step)
            # A central difference errs by step² times the third derivative, here below 1e-3 of slopes below 2.
            assert slope[sample, label].item() == pytest.approx(rise.item(), abs=1e-3)


def test_sums_over_unequal_batches_are_exact() -> None:
    logits, target = batch()
    loss = build_loss(LossConfig(), POSITIVES, SAMPLES)
    parts = [loss(logits[a:b], target[a:b]) for a, b in ((0, 7), (7, 8), (8, 16))]
    torch.testing.assert_close(torch.cat(parts), loss(logits, target), rtol=0, atol=0)


def test_members_are_averaged() -> None:
    logits, target = batch()
    loss = build_loss(LossConfig(pos_weight=True), POSITIVES, SAMPLES)
    both = loss(torch.stack([logits, logits + 1], dim=1), target)
    torch.testing.assert_close(both, (loss(logits, target) + loss(logits + 1, target)) / 2)


def test_low_precision_logits_are_widened() -> None:
    logits, target = batch()
    assert build_loss(LossConfig(), POSITIVES, SAMPLES)(logits.bfloat16(), target).dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"loss": {"kind": "bce"}}, ()),
        ({"loss": {"kind": "focal"}}, ()),
        ({"loss": {"kind": "bce", "pos_weight": True}, "sampler": "weighted"}, ("pos_weight", "sampler")),
        ({"loss": {"kind": "focal", "pos_weight": True}}, ("pos_weight", "focal")),
        ({"loss": {"kind": "focal", "gamma": 0, "pos_weight": True}}, ()),
        ({"loss": {"kind": "asymmetric"}, "sampler": "weighted"}, ("sampler", "asymmetric")),
        (
            {"loss": {"kind": "asymmetric", "gamma_negative": 0, "gamma_positive": 0, "margin": 0, "pos_weight": True}},
            (),
        ),
    ],
)
def test_stacked_methods_are_told(settings: dict[str, object], named: tuple[str, ...]) -> None:
    text = warn_stacked(TrainConfig.model_validate(settings))
    assert (text is None) == (not named)
    assert all(name in (text or "") for name in named)
