"""Losses of each sample: for independent classes (multi-label), averaged over them, and for one class a sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from pipeline.core.errors import InputError, shorten
from pipeline.train.config import LossConfig, TrainConfig
from pipeline.train.heads import Outputs

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


class SingleLabelLoss:
    """Logits (B × K) and targets (B × K, of sum 1, one-hot or mixed) → loss of each sample (B).

    −Σ_k w_k y_k (1 − p_k)^γ log p_k with p the softmax; γ = 0 is cross-entropy. Label smoothing moves ε of y to all
    classes evenly. Logits of an ensemble (B × members × K) are averaged over the members.
    """

    def __init__(self, gamma: float, smoothing: float, weight: Tensor | None) -> None:
        """Keep the exponent, ε and the weight of each class (K)."""
        self._gamma, self._smoothing, self.weight = gamma, smoothing, weight

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample, computed in float32."""
        logits, target = logits.float(), target.float()
        if logits.ndim == 3:
            target = target[:, None].expand_as(logits)
        if self._smoothing:
            target = target * (1 - self._smoothing) + self._smoothing / target.shape[-1]
        terms = log_softmax(logits, dim=-1)
        if self._gamma:
            wrong = (-torch.expm1(terms)).clamp(min=_SMALLEST)  # 1 − p, without cancellation near p = 1
            terms = wrong**self._gamma * terms
        if self.weight is not None:
            terms = terms * self.weight
        loss = -(target * terms).sum(-1)
        return loss.mean(1) if loss.ndim == 2 else loss


class WithAuxiliary:
    """A loss that adds that of an auxiliary classifier, times its weight, where the model returns one."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Keep the loss of logits."""
        self.loss = loss

    def __call__(self, output: Tensor | Outputs, target: Tensor) -> Tensor:
        """Return the loss of each sample (B)."""
        if isinstance(output, Outputs):
            return self.loss(output.logits, target) + output.weight * self.loss(output.auxiliary, target)
        return self.loss(output, target)


MULTI, SINGLE = "multi_label", "single_label"
KINDS = {MULTI: ("focal", "bce", "asymmetric"), SINGLE: ("cross_entropy", "focal")}
"""Losses for each kind of target; ``auto`` is the first."""


def build_loss(config: LossConfig, positives: Tensor, samples: int, kind: str = MULTI) -> WithAuxiliary:
    """Return the loss of the model's output: (logits or ``Outputs``, target B × K) → B.

    Args:
        config: kind and its parameters.
        positives: number of training samples of each class (K), on the training device.
        samples: number of training samples.
        kind: of the target: multi_label or single_label.

    Raises:
        InputError: a loss or weights for the other kind of target, or weights for another number of classes.
    """
    name = _kind(config, kind)
    if kind == SINGLE:
        gamma = config.gamma if name == "focal" else 0.0
        return WithAuxiliary(SingleLabelLoss(gamma, config.label_smoothing, _class_weight(config, positives)))
    weight = positive_weight(positives, samples, config.pos_weight_max) if config.pos_weight else None
    return WithAuxiliary(MultiLabelLoss(config.model_copy(update={"kind": name}), weight))


def _kind(config: LossConfig, kind: str) -> str:
    """Return the loss that ``auto`` stands for, and check that the settings are for this kind of target."""
    allowed = KINDS[kind]
    if config.kind != "auto" and config.kind not in allowed:
        raise InputError(
            f"train.loss.kind: {config.kind!r} is not for targets that are {kind}; allowed: auto, {shorten(allowed)}"
        )
    if kind == SINGLE and config.pos_weight:
        raise InputError(
            "train.loss.pos_weight: is for independent classes (multi_label); use train.loss.class_weights"
        )
    if kind == MULTI and config.class_weights not in (None, "uniform"):
        raise InputError(
            "train.loss.class_weights: is for one class a sample (single_label); use train.loss.pos_weight"
        )
    return allowed[0] if config.kind == "auto" else config.kind


def _class_weight(config: LossConfig, positives: Tensor) -> Tensor | None:
    """Return the weight of each class (K), ``None`` where all are 1."""
    if config.class_weights == "uniform":
        return None
    if not isinstance(config.class_weights, list):
        return balanced_weight(positives)
    if len(config.class_weights) != len(positives):
        raise InputError(f"クラス重みの長さ({len(config.class_weights)})がクラス数({len(positives)})と一致しません")
    weight = torch.tensor(config.class_weights, device=positives.device)
    return weight * positives.sum() / (weight * positives).sum()


def balanced_weight(positives: Tensor) -> Tensor:
    """Return N / (K' N_k) of each class (K), K' the classes that occur; 1 for a class that does not.

    Their mean over the training samples is 1.
    """
    present = positives > 0
    weight = positives.sum() / (present.sum() * positives.clamp(min=1))
    return torch.where(present, weight, torch.ones_like(weight)).float()


def positive_weight(positives: Tensor, samples: int, most: float) -> Tensor:
    """Return (N − N⁺)/N⁺ of each class (K), within 1 … ``most``; 1 for a class without positives."""
    weight = ((samples - positives) / positives.clamp(min=1)).clamp(1, most)
    return torch.where(positives > 0, weight, torch.ones_like(weight)).float()


def warn_stacked(config: TrainConfig, kind: str = MULTI) -> str | None:
    """Return a warning if several methods against rare classes are on at once, else ``None``."""
    loss = config.loss.model_copy(update={"kind": _kind(config.loss, kind)})
    weighted = loss.class_weights != "uniform" if kind == SINGLE else False
    focused = {
        "cross_entropy": False,
        "bce": False,
        "focal": loss.gamma > 0,
        "asymmetric": loss.gamma_negative > 0 or loss.gamma_positive > 0 or loss.margin > 0,
    }
    methods = {
        "loss.pos_weight": loss.pos_weight,
        f"loss.class_weights={loss.class_weights or 'balanced'}": weighted,
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
