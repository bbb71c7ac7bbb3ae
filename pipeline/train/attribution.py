"""What a finished network looked at: gradients of its logits with respect to inputs, feature maps and attention.

Everything is computed in float32 whatever the precision of the training, on samples given as a store holds them. Where
a sample has exactly one class, adding a number to all logits changes no probability, so what is explained there is the
logit minus the mean logit of all classes; where classes are independent, the logit itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.train.encoders import GridEncoder, ImageEncoder
from pipeline.train.heads import ReasoningHead
from pipeline.train.inference import Network
from pipeline.train.model import Classifier
from pipeline.train.pooling import AveragePool
from pipeline.train.series_encoder import SeriesEncoder

Arrays = Mapping[str, NDArray[Any]]
Floats = dict[str, NDArray[np.float32]]
Seen = dict[str, Tensor]
"""By input, B × per-sample shape: what the network's layers see; images prepared, series with their validity."""


class Integrated(NamedTuple):
    """Integrated gradients of one sample and class."""

    attributions: Floats
    """By input, per-sample shape without validity channels."""
    difference: float
    """Of the logits at the two ends of the path, which the attributions should add up to."""
    error: float
    """What they add up to, minus that."""
    steps: int


class Reasoned(NamedTuple):
    """A reasoning head's inner output."""

    features: NDArray[np.float32]
    """B × width, what the head reads."""
    reasoning: NDArray[np.float32]
    """B × reasoning width."""
    auxiliary: NDArray[np.float32] | None
    """B × K logits of the classifier that sees the reasoning alone, where there is one."""


class Explainer:
    """Explains one network; its weights are left as they are."""

    def __init__(self, network: Network, single: bool, batch: int) -> None:
        """Take the network of a run.

        Args:
            network: opened for the run's device.
            single: whether each sample has exactly one class.
            batch: samples, or points of a path, in the network at once.
        """
        self._network, self._single, self._batch = network, single, batch
        self.module = cast(Classifier, deepcopy(network.module)).float().requires_grad_(False).eval()
        self.specs = network.specs

    def randomized(self, seed: int) -> Explainer:
        """Return an explainer of the same network with the weights of each layer in random order.

        Explanations that stay the same show the input, not what was learned (Adebayo et al. 2018).
        """
        other = Explainer(self._network, self._single, self._batch)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in other.module.parameters():
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        return other

    @property
    def images(self) -> tuple[str, ...]:
        """The inputs that are images."""
        return tuple(self.module.images())

    @torch.no_grad()
    def see(self, arrays: Arrays) -> Seen:
        """Return what the layers see of N samples as a store holds them."""
        inputs = dict(self._network.batch(arrays).inputs)
        for name, encoder in self.module.images().items():
            inputs[name] = encoder.prepare(inputs[name])
        return {name: values.float() for name, values in inputs.items()}

    def colours(self, seen: Seen, name: str) -> NDArray[np.float32]:
        """Return prepared images as N × H × W × 3 in 0 … 1, for drawing."""
        normalize = cast(ImageEncoder, self.module.encoders[name]).prepare.normalize
        unit = seen[name] * normalize.std.view(-1, 1, 1) + normalize.mean.view(-1, 1, 1)
        return _numpy(unit.clamp(0, 1).permute(0, 2, 3, 1))

    @torch.no_grad()
    def logits(self, seen: Seen) -> NDArray[np.float32]:
        """Return the logits (N × K), batch by batch."""
        return _numpy(torch.cat([self.module(part) for part in self._parts(seen)]))

    @torch.no_grad()
    def features(self, seen: Seen) -> NDArray[np.float32]:
        """Return what the head reads (N × width); members that pool for themselves side by side."""
        with _outputs(self.module.fusion) as found:
            for part in self._parts(seen):
                self.module(part)
        return _numpy(torch.cat([values.flatten(1) for values in found]))

    # --- gradients of inputs -------------------------------------------------------------------------------------

    def integrated(self, seen: Seen, start: Seen, k: int, steps: int, tolerance: float) -> Integrated:
        """Return the integrated gradients of class ``k`` for one sample (Sundararajan et al. 2017).

        ``(x − x′) ∫ ∂z/∂x (x′ + a (x − x′)) da`` over a in 0 … 1, by the midpoint rule: sums over all inputs to
        z(x) − z(x′) but for the error of the rule, which is measured. Validity channels stay as they are.

        Args:
            seen: the sample, 1 × per-sample shape.
            start: where the path begins, in the same form.
            k: the class.
            steps: points on the path; doubled until the error is below ``tolerance`` of the difference, four times at
                most.
            tolerance: see there.
        """
        start = self._with_validity_of(seen, start)
        with torch.no_grad():
            difference = float(self._score(seen, k) - self._score(start, k))
        for doubled in range(5):
            points = steps << doubled
            slopes = self._mean_slopes(seen, start, k, points)
            found = {name: self._bare(name, slopes[name] * (seen[name] - start[name]))[0] for name in seen}
            error = float(sum(values.double().sum() for values in found.values())) - difference
            if abs(error) <= tolerance * abs(difference):
                break
        return Integrated({name: _numpy(values) for name, values in found.items()}, difference, error, points)

    def _mean_slopes(self, seen: Seen, start: Seen, k: int, points: int) -> Seen:
        """Return the mean gradient over midpoints of a path, 1 × per-sample shape."""
        sums = {name: torch.zeros_like(values) for name, values in seen.items()}
        places = (torch.arange(points, device=next(iter(seen.values())).device) + 0.5) / points
        for part in torch.split(places, self._batch):
            on_path = {}
            for name, end in seen.items():
                share = part.view(-1, *[1] * (end.ndim - 1))
                on_path[name] = (start[name] + share * (end - start[name])).requires_grad_()
            slopes = torch.autograd.grad(self._score(on_path, k).sum(), list(on_path.values()), allow_unused=True)
            for name, slope in zip(on_path, slopes, strict=True):
                sums[name] += 0 if slope is None else slope.sum(0, keepdim=True) / points
        return sums

    def _with_validity_of(self, seen: Seen, start: Seen) -> Seen:
        """Return ``start`` with the validity channels of the sample, which no path should cross."""
        mixed = {}
        for name, values in seen.items():
            mixed[name] = values.clone()
            self._bare(name, mixed[name]).copy_(self._bare(name, start[name]).expand_as(self._bare(name, values)))
        return mixed

    def _bare(self, name: str, values: Tensor) -> Tensor:
        """Return a view of the values of an input without its validity channels."""
        spec = self.specs[name]
        if spec.kind == "series":
            return values[..., : spec.shape[1]]
        return values if spec.kind == "image" else values[:, : spec.shape[0]]

    def _score(self, seen: Seen, k: int) -> Tensor:
        logits = self.module(seen)
        return cast(Tensor, logits[:, k] - logits.mean(1) if self._single else logits[:, k])

    # --- feature maps --------------------------------------------------------------------------------------------

    def activation_maps(self, seen: Seen, k: int, method: str) -> dict[str, tuple[str, NDArray[np.float32]]]:
        """Return, for each map or image whose features are a map, the method and N × H × W of class ``k``.

        Grad-CAM: ``ReLU(Σ_c mean(∂z/∂A_c) A_c)`` over the channels of the last feature map A (Selvaraju et al. 2017);
        HiResCAM: ``ReLU(Σ_c ∂z/∂A_c A_c)``, which keeps places that the head tells apart (Draelos & Carin 2020).

        Args:
            seen: N samples.
            k: the class.
            method: ``gradcam``, ``hirescam``, or ``auto`` by the pooling.
        """
        maps = {name: one for name, one in self.module.encoders.items() if isinstance(one, GridEncoder)}
        named = {name: one for name, one in maps.items() if one.backbone.size != (1, 1)}
        found: dict[str, tuple[str, NDArray[np.float32]]] = {}
        for name, encoder in named.items():
            chosen = method if method != "auto" else _natural(encoder)
            cams = [self._cam(part, k, encoder, chosen) for part in self._parts(seen)]
            found[name] = chosen, _numpy(torch.cat([_fitted(cam, encoder, seen[name].shape[2:]) for cam in cams]))
        return found

    def _cam(self, seen: Seen, k: int, encoder: GridEncoder, method: str) -> Tensor:
        traced = {name: values.detach().clone().requires_grad_() for name, values in seen.items()}
        with _outputs(encoder.backbone) as found:
            score = self._score(traced, k).sum()
        (activations,) = found
        (slopes,) = torch.autograd.grad(score, activations)
        if method == "gradcam":
            slopes = slopes.mean((2, 3), keepdim=True)
        return (slopes * activations).sum(1).clamp(min=0).detach()

    # --- attention -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def attention(self, seen: Seen) -> Floats:
        """Return by series what stands for a window read from its steps, and by map and series what its cells read.

        N × T, rows of sum 1 (0 where no step is valid). Through the layers of the encoder as rollout: ``Π (A + I) / 2``
        with heads averaged (Abnar & Zuidema 2020); of cross-attention the mean over heads and cells.
        """
        found: Floats = {}
        encoders = {name: one for name, one in self.module.encoders.items() if isinstance(one, SeriesEncoder)}
        for part in self._parts(seen):
            layers = {name: [layer.self_attn for layer in one.layers.layers] for name, one in encoders.items()}
            crosses = {f"{key} (cross-attention)": [pair.attend] for key, pair in self.module.fusion.pairs.items()}
            for name, weights in self._weights(part, layers | crosses).items():
                read = self._rolled(part[name], weights, encoders[name]) if name in encoders else weights[0].mean(1)
                found[name] = np.concatenate([*([found[name]] if name in found else []), _numpy(read)])
        return found

    def _weights(self, seen: Seen, layers: Mapping[str, list[Any]]) -> dict[str, list[Tensor]]:
        with ExitStack() as stack:
            stack.enter_context(_plain_attention())
            caught = {name: [stack.enter_context(_attended(one)) for one in group] for name, group in layers.items()}
            self.module(seen)
        return {name: [weights for (weights,) in group] for name, group in caught.items()}

    @staticmethod
    def _rolled(windows: Tensor, weights: list[Tensor], encoder: SeriesEncoder) -> Tensor:
        valid = windows[..., -1] > 0
        passed = torch.eye(windows.shape[1], device=windows.device).expand(len(windows), -1, -1)
        for layer in weights:
            passed = (layer + torch.eye(layer.shape[-1], device=layer.device)) / 2 @ passed
        if encoder.output == "mean":
            read = (passed * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)
        else:
            last = torch.where(valid, torch.arange(valid.shape[1], device=valid.device), 0).amax(1)
            read = passed[torch.arange(len(last), device=last.device), last]
        return read * valid.any(1, keepdim=True)

    # --- the reasoning head --------------------------------------------------------------------------------------

    @torch.no_grad()
    def reasoning(self, seen: Seen) -> Reasoned | None:
        """Return the reasoning head's inner output of N samples; ``None`` where the head has none."""
        head = self.module.head
        if not isinstance(head, ReasoningHead):
            return None
        features = torch.from_numpy(self.features(seen)).to(next(head.parameters()).device)
        reasoning = head.reasoning(features)
        auxiliary = None if head.auxiliary is None else _numpy(head.auxiliary(reasoning))
        return Reasoned(_numpy(features), _numpy(reasoning), auxiliary)

    def through_reasoning(self, reasoned: Reasoned, rows: NDArray[np.int64], k: int, steps: int) -> tuple[float, float]:
        """Return what reached the logit of class ``k`` straight from the features, and through the reasoning.

        Integrated gradients of the last classifier, from the mean of all samples to each of ``rows``; means over these.
        """
        head = cast(ReasoningHead, self.module.head)
        both = torch.from_numpy(np.concatenate([reasoned.features, reasoned.reasoning], axis=1))
        both = both.to(next(head.parameters()).device)
        start, width = both.mean(0, keepdim=True), reasoned.features.shape[1]
        ends, total = both[torch.from_numpy(rows).to(both.device)], torch.zeros(both.shape[1], device=both.device)
        for step in range(steps):
            place = (start + (step + 0.5) / steps * (ends - start)).requires_grad_()
            logits = head.classifier(place)
            score = logits[:, k] - logits.mean(1) if self._single else logits[:, k]
            (slope,) = torch.autograd.grad(score.sum(), place)
            total += (slope * (ends - start)).mean(0) / steps
        return float(total[:width].sum()), float(total[width:].sum())

    def _parts(self, seen: Seen) -> Iterator[Seen]:
        count = len(next(iter(seen.values())))
        for first in range(0, count, self._batch):
            yield {name: values[first : first + self._batch] for name, values in seen.items()}


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.detach().float().cpu().numpy(), np.float32)


def _natural(encoder: GridEncoder) -> str:
    return "gradcam" if isinstance(encoder.pooling, AveragePool) else "hirescam"


def _fitted(cams: Tensor, encoder: GridEncoder, size: torch.Size) -> Tensor:
    """Stretch maps of cells (N × h × w) over the input (N × H × W); what a backbone padded at the end is cut off."""
    multiple = getattr(getattr(encoder.backbone, "plan", None), "multiple", 1)
    padded = [-(-side // multiple) * multiple for side in size]
    stretched = F.interpolate(cams[:, None], size=padded, mode="bilinear", align_corners=False)
    return stretched[:, 0, : size[0], : size[1]]


@contextmanager
def _outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module returns inside the block."""
    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        yield found
    finally:
        hook.remove()


@contextmanager
def _attended(attention: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the weights (N × asking × asked, mean of heads) of an attention inside the block."""
    found: list[Tensor] = []

    def ask(_module: nn.Module, inputs: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return inputs, options | {"need_weights": True, "average_attn_weights": True}

    before = attention.register_forward_pre_hook(ask, with_kwargs=True)
    after = attention.register_forward_hook(lambda _module, _inputs, output: found.append(output[1]))
    try:
        yield found
    finally:
        before.remove()
        after.remove()


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep attention off its fast path inside the block, which tells no weights."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
