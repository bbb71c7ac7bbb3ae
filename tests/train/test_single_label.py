"""Losses for one class a sample: against torch's own, and the weights of classes."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.errors import InputError
from pipeline.train.config import LossConfig, TrainConfig
from pipeline.train.losses import balanced_weight, build_loss, warn_stacked

COUNTS = torch.tensor([10.0, 30.0, 50.0, 10.0])


def batch(soft: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(16, 4, generator=generator)
    label = torch.randint(0, 4, (16,), generator=generator)
    if soft:
        return logits, torch.rand(16, 4, generator=generator).softmax(1)
    return logits, F.one_hot(label, 4).float()


def single(**settings: Any) -> Any:
    return build_loss(LossConfig(**settings), COUNTS, 100, "single_label")


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", ["uniform", None, "balanced", [1.0, 2.0, 3.0, 4.0]])
def test_cross_entropy_is_that_of_torch(weights: Any, smoothing: float, soft: bool) -> None:
    logits, target = batch(soft)
    loss = single(class_weights=weights, label_smoothing=smoothing)
    expected = F.cross_entropy(logits, target, loss.loss.weight, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(loss(logits, target), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_by_the_formula(gamma: float) -> None:
    logits, target = batch(soft=True)
    p, y = logits.double().softmax(1).numpy(), target.double().numpy()
    expected = -(y * (1 - p) ** gamma * np.log(p)).sum(1)
    found = single(kind="focal", gamma=gamma, class_weights="uniform")(logits, target)
    # float32 against float64.
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_extreme_logits_keep_finite_slopes(kind: str) -> None:
    logits = torch.tensor([[1e4, 0, 0, -1e4], [100, 0, 0, 0], [0, 0, 0, 0]], requires_grad=True)
    for label in range(4):
        loss = single(kind=kind, gamma=0.5)(logits, torch.eye(4)[[label] * 3])
        (slope,) = torch.autograd.grad(loss.sum(), logits)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(slope).all()


def test_balanced_weights() -> None:
    # N / (K N_k): 100/(4·10), …
    assert balanced_weight(COUNTS).tolist() == pytest.approx([2.5, 100 / 120, 0.5, 2.5])
    # A class that does not occur has weight 1, the others share N over the three that do.
    assert balanced_weight(torch.tensor([10.0, 0.0, 50.0, 40.0])).tolist() == pytest.approx(
        [100 / 30, 1, 100 / 150, 100 / 120]
    )


@pytest.mark.parametrize("weights", [None, "balanced", [0.5, 1.0, 1.0, 4.0]])
def test_weights_have_mean_1_over_the_training_samples(weights: Any) -> None:
    weight = single(class_weights=weights).loss.weight
    assert (weight * COUNTS).sum().item() / 100 == pytest.approx(1, rel=1e-6)
    if isinstance(weights, list):
        assert (weight / weight[0]).tolist() == pytest.approx([value / 0.5 for value in weights])


def test_null_is_balanced_and_uniform_is_unweighted() -> None:
    logits, target = batch()
    assert torch.equal(single()(logits, target), single(class_weights="balanced")(logits, target))
    assert single(class_weights="uniform").loss.weight is None
    assert not torch.allclose(single()(logits, target), single(class_weights="uniform")(logits, target))


def test_the_guides_words_for_another_number_of_weights() -> None:
    with pytest.raises(InputError) as caught:
        single(class_weights=[1.0, 2.0, 3.0])
    assert str(caught.value) == "クラス重みの長さ(3)がクラス数(4)と一致しません"


@pytest.mark.parametrize("weights", [[1, -1], [1, 0], [1, float("nan")], "balancd"])
def test_weights_are_positive_numbers(weights: Any) -> None:
    with pytest.raises(ValidationError):
        LossConfig(class_weights=weights)


@pytest.mark.parametrize(
    ("settings", "kind", "named"),
    [
        ({"kind": "bce"}, "single_label", "allowed: auto, cross_entropy, focal"),
        ({"kind": "cross_entropy"}, "multi_label", "allowed: auto, focal, bce, asymmetric"),
        ({"pos_weight": True}, "single_label", "use train.loss.class_weights"),
        ({"class_weights": "balanced"}, "multi_label", "use train.loss.pos_weight"),
    ],
    ids=str,
)
def test_losses_of_the_other_kind_are_refused(settings: dict[str, Any], kind: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        build_loss(LossConfig(**settings), COUNTS, 100, kind)


def test_auto_is_cross_entropy_or_focal() -> None:
    logits, target = batch()
    assert torch.equal(single()(logits, target), single(kind="cross_entropy")(logits, target))
    multi = [build_loss(LossConfig(kind=kind), COUNTS, 100) for kind in ("auto", "focal")]
    assert torch.equal(multi[0](logits, target), multi[1](logits, target))


def test_members_are_averaged() -> None:
    logits, target = batch()
    both = single()(torch.stack([logits, logits + torch.arange(4)], dim=1), target)
    torch.testing.assert_close(both, (single()(logits, target) + single()(logits + torch.arange(4), target)) / 2)


def test_stacked_methods_are_told() -> None:
    config = TrainConfig.model_validate({"sampler": "weighted"})
    assert "class_weights=balanced" in (warn_stacked(config, "single_label") or "")
    assert warn_stacked(TrainConfig(), "single_label") is None
    assert warn_stacked(config.model_copy(update={"loss": LossConfig(class_weights="uniform")}), "single_label") is None
