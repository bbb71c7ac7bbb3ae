"""Losses for independent classes (multi-label), of each sample, averaged over the classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pipeline.train.config import LossConfig, TrainConfig

_SMALLEST = 1e-12
"""Keeps the slope of p^γ finite at p = 0 for γ < 1."""


class MultiLabelLoss:
    """Logits (B × K) and targets in 0…1 (B × K) → loss of each sample (B), averaged over the classes.

    Logits of an ensemble (B × members × K) are averaged over the members as well, so each learns by its own loss.
    """

    def __init__(self, config: LossConfig, weight: Tensor | None) -> None:
        """Keep the settings and the weight of positives of each class (K)."""
        self.weight = weight
        self._terms = _TERMS[config.kind](config)
        self._smoothing = config.label_smoothing

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample, computed in float32."""
        logits, target = logits.float(), target.float()
        if logits.ndim == 3:
            target = target[:, None].expand_as(logits)
        if self._smoothing:
            target = target * (1 - self._smoothing) + self._smoothing / 2
        positive, negative = self._terms(logits, target)
        if self.weight is not None:
            positive = positive * self.weight
        return -(target * positive + (1 - target) * negative).flatten(1).mean(1)


Terms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(logits, target) → what positives and what negatives contribute, both ≤ 0."""


def _cross_entropy(config: LossConfig) -> Terms:
    """Log p and log(1 − p)."""
    return lambda logits, target: (logsigmoid(logits), logsigmoid(-logits))


def _focal(config: LossConfig) -> Terms:
    """Cross-entropy times (1 − p_t)^γ, p_t the probability given to the truth (Lin et al. 2017).

    1 − p_t = y(1 − p) + (1 − y)p is summed from logarithms, which stay finite where p is 0 or 1 in float32.
    """

    def terms(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        yes, no = logsigmoid(logits), logsigmoid(-logits)
        log_wrong = torch.logaddexp(target.log() + no, (1 - target).log() + yes)
        factor = (config.gamma * log_wrong).exp()
        return factor * yes, factor * no

    return terms


def _asymmetric(config: LossConfig) -> Terms:
    """(1 − p)^γ₊ log p and p_m^γ₋ log(1 − p_m) with p_m = max(p − m, 0) (Ridnik et al. 2021)."""
    log_margin = torch.tensor(config.margin).log()

    def terms(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        yes, no = logsigmoid(logits), logsigmoid(-logits)
        log_right = torch.logaddexp(no, log_margin.to(no.device)).clamp(max=0)  # log(1 − p_m)
        shifted = (-torch.expm1(log_right)).clamp(min=_SMALLEST)  # p_m
        return (config.gamma_positive * no).exp() * yes, shifted**config.gamma_negative * log_right

    return terms


_TERMS: dict[str, Callable[[LossConfig], Terms]] = {
    "bce": _cross_entropy,
    "focal": _focal,
    "asymmetric": _asymmetric,
}


def build_loss(config: LossConfig, positives: Tensor, samples: int) -> MultiLabelLoss:
    """Return the loss; all kinds weight positives by the same formula.

    Args:
        config: kind and its parameters.
        positives: number of training samples of each class (K), on the training device.
        samples: number of training samples.
    """
    return MultiLabelLoss(
        config, positive_weight(positives, samples, config.pos_weight_max) if config.pos_weight else None
    )


def positive_weight(positives: Tensor, samples: int, most: float) -> Tensor:
    """Return (N − N⁺)/N⁺ of each class (K), within 1 … ``most``; 1 for a class without positives."""
    weight = ((samples - positives) / positives.clamp(min=1)).clamp(1, most)
    return torch.where(positives > 0, weight, torch.ones_like(weight)).float()


def warn_stacked(config: TrainConfig) -> str | None:
    """Return a warning if several methods against rare classes are on at once, else ``None``."""
    loss = config.loss
    focused = {
        "bce": False,
        "focal": loss.gamma > 0,
        "asymmetric": loss.gamma_negative > 0 or loss.gamma_positive > 0 or loss.margin > 0,
    }
    methods = {
        "loss.pos_weight": loss.pos_weight,
        "sampler=weighted": config.sampler == "weighted",
        f"loss.kind={loss.kind}": focused[loss.kind],
    }
    active = [name for name, on in methods.items() if on]
    if len(active) < 2:
        return None
    return (
        f"train: {' and '.join(active)} each favour rare classes; together they correct for the imbalance more than "
        "once and distort probabilities: prefer one of them, and calibrate before a probability is shown"
    )
