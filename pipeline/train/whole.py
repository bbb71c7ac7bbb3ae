"""A slice of a batch trained as part of the whole: the statistics of batch norms, and random masks.

What one process would compute of the batch is a function of all its samples in two places: a batch norm takes mean and
variance over them, and dropout draws one mask for all. Here the sums of a norm are added up over the ranks, and every
rank draws the mask of the whole batch, from the same seed, and takes its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.train.ranks import Share

Total = Callable[[Tensor], Tensor]
"""Sum over the ranks."""
_aten = torch.ops.aten
_FILLING = {_aten.bernoulli_.float, _aten.uniform_.default, _aten.normal_.default}
_MAKING = {_aten.rand.default, _aten.randn.default}
_FUSED = _aten.native_dropout.default


@contextmanager
def as_whole(share: Share, total: Total) -> Iterator[None]:
    """Have a forward pass see its ``share`` as part of the whole batch while the block runs."""
    with _Draws(share), _Norms(share, total):
        yield


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Draws random tensors for the whole batch, shaped and laid out as one process would, and keeps the own rows."""

    def __init__(self, share: Share) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._share = share

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLING and (axis := self._axis(args[0].shape)) is not None:
            whole = self._empty(args[0], axis)
            func(whole, *args[1:], **kwargs)
            return args[0].copy_(self._own(whole, axis, args[0].shape))
        if func in _MAKING and (axis := self._axis(args[0])) is not None:
            return self._own(func(self._shape(args[0], axis), **kwargs), axis, args[0]).contiguous()
        if func is _FUSED and (axis := self._axis(args[0].shape)) is not None:
            scaled, mask = func(self._empty(args[0], axis).fill_(1), *args[1:], **kwargs)
            own = self._own(scaled, axis, args[0].shape)
            return args[0] * own, self._own(mask, axis, args[0].shape).clone()
        return func(*args, **kwargs)

    def _axis(self, shape: Sequence[int]) -> int | None:
        """Return where the samples lie, ``None`` where they do not: attention folds its heads into the first axis."""
        own = self._share.stop - self._share.start
        for axis in range(min(len(shape), 2)):
            if shape[axis] == own:
                return axis
        return 0 if len(shape) and shape[0] % own == 0 else None

    def _shape(self, shape: Sequence[int], axis: int) -> list[int]:
        own = self._share.stop - self._share.start
        return [length // own * self._share.whole if axis == place else length for place, length in enumerate(shape)]

    def _empty(self, like: Tensor, axis: int) -> Tensor:
        layout = sorted(range(like.ndim), key=like.stride, reverse=True)
        return torch.empty_permuted(self._shape(like.shape, axis), layout, dtype=like.dtype, device=like.device)

    def _own(self, whole: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
        times = shape[axis] // (self._share.stop - self._share.start)
        return whole.narrow(axis, self._share.start * times, shape[axis])


class _Norms(TorchFunctionMode):
    """Has batch norms in training take their statistics over all ranks."""

    def __init__(self, share: Share, total: Total) -> None:
        super().__init__()
        self._counts, self._total = share.counts, total

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return self._normalised(*args, **kwargs)
        return func(*args, **kwargs)

    def _normalised(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        # Without running statistics it is no norm of samples: standardised kernels are computed in this way.
        if not training or running_mean is None or running_var is None:
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        weight = torch.ones_like(running_mean) if weight is None else weight
        bias = torch.zeros_like(running_mean) if bias is None else bias
        found, mean, var, count = _Normalised.apply(input, weight, bias, eps, self._counts, self._total)
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * count / (count - 1)).to(running_var.dtype), momentum)
        return found  # type: ignore[no-any-return]


class _Normalised(torch.autograd.Function):
    """Batch normalisation (Ioffe and Szegedy 2015) over the samples of all ranks; sums are added up in float64."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, counts: bool, total: Total
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [axis for axis in range(values.ndim) if axis != 1]
        size, shape = values.numel() // values.shape[1], [1, -1, *[1] * (values.ndim - 2)]
        plain = values.float()
        near = plain.mean(axes)  # torch.var_mean takes twenty times as long on a CPU
        mean, var = near.double(), (plain - near.view(shape)).square().mean(axes).double()
        own = torch.cat([mean, var + mean * mean, mean.new_ones(1)]) * (size if counts else 0)
        first, second, count = torch.split(total(own), [len(mean), len(mean), 1])
        mean = first / count
        var = (second / count - mean * mean).clamp(min=0)
        ctx.counts, ctx.total, ctx.eps, ctx.shape = counts, total, eps, shape
        ctx.save_for_backward(values, weight, mean.float(), var.float(), count)
        ctx.mark_non_differentiable(mean, var, count)
        found = F.batch_norm(values, mean.float(), var.float(), weight, bias, False, 0.0, eps)
        return found, mean, var, count

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """With x̂ the normalised value: dx = (w/σ)·(dy − Σdy/n − x̂·Σ(dy·x̂)/n), sums over the samples of all ranks."""
        values, weight, mean, var, count = ctx.saved_tensors
        slope = slopes[0] if ctx.counts else torch.zeros_like(values)
        # Σ(dy·x̂) and Σdy over the own samples, which are the gradients of weight and bias, in one pass.
        _, of_weight, of_bias = _aten.native_batch_norm_backward(
            slope, values, weight, mean, var, None, None, False, ctx.eps, [False, True, True]
        )
        sums = (ctx.total(torch.cat([of_bias, of_weight]).double()) / count).float()
        first, second = torch.split(sums, len(mean))
        scale = (var + ctx.eps).rsqrt()
        factor, pull = weight.float() * scale, weight.float() * scale * scale * second
        found = (values.float() - mean.view(ctx.shape)).mul_(-pull.view(ctx.shape))
        found.addcmul_(slope.float(), factor.view(ctx.shape)).sub_((factor * first).view(ctx.shape))
        if not ctx.counts:
            found.zero_()  # nobody's statistics hang on a borrowed sample
        return found.to(values.dtype), of_weight, of_bias, None, None, None
