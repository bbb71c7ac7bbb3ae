"""What encoders hand over, and how several of them are joined into the features that the head reads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.train.config import ModelConfig


class Encoded(NamedTuple):
    """One input, encoded."""

    vector: Tensor
    """B × width, or B × members × width where members of an ensemble pool for themselves."""
    tokens: Tensor | None = None
    """B × cells × channels of a map, B × T × dim of a series; ``None``: it has none."""
    missing: Tensor | None = None
    """B × tokens, true where a token is not to be read; ``None``: all are."""


class CrossAttention(nn.Module):
    """Each cell of a map asks the steps of a series: (B × cells × C), (B × T × D) → mean answer over the cells (B × D).

    The map asks, because what a stretch of the series means is told by where it stands in the picture. With no valid
    step the answer is empty, and the cells' own questions are all that remains.
    """

    def __init__(self, channels: int, width: int, heads: int, dropout: float) -> None:
        """Build the layers for a map of ``channels`` and a series of ``width``."""
        super().__init__()
        self.width = width
        self.ask = nn.Linear(channels, width)
        self.attend = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, cells: Tensor, steps: Tensor, missing: Tensor) -> Tensor:
        """Return the vector; ``missing`` (B × T) is true where a step is not to be read."""
        questions = self.ask(cells)
        nothing = missing.all(1)
        answers, _ = self.attend(questions, steps, steps, missing & ~nothing[:, None], need_weights=False)
        answers = answers * (~nothing)[:, None, None].to(answers.dtype)
        return self.norm(questions + answers).mean(1)  # type: ignore[no-any-return]


class ModalityDropout(nn.Module):
    """In training, blank one of several inputs, drawn at random, in a sample with chance ``rate``."""

    def __init__(self, rate: float) -> None:
        """Keep the rate."""
        super().__init__()
        self.rate = rate

    def forward(self, encoded: dict[str, Encoded]) -> dict[str, Encoded]:
        """Return the encoded inputs, blanked ones without values and without readable tokens."""
        if not self.training or self.rate == 0 or len(encoded) < 2:
            return encoded
        some = next(iter(encoded.values())).vector
        chance = torch.rand(len(some), device=some.device)
        # Below the rate the chance is uniform, so its place within 0 … rate draws the input.
        chosen = (chance / self.rate * len(encoded)).long()
        blank = [(chance < self.rate) & (chosen == number) for number in range(len(encoded))]
        return {name: _blanked(value, gone) for (name, value), gone in zip(encoded.items(), blank, strict=True)}


def _blanked(encoded: Encoded, gone: Tensor) -> Encoded:
    vector, tokens, missing = encoded
    vector = vector.masked_fill(gone.view(-1, *[1] * (vector.ndim - 1)), 0)
    if tokens is not None:
        tokens = tokens.masked_fill(gone[:, None, None], 0)
    if missing is not None:
        missing = missing | gone[:, None]
    return Encoded(vector, tokens, missing)


class Fusion(nn.Module):
    """Vectors side by side and, with cross-attention, what each map reads from each series besides."""

    def __init__(self, members: int, pairs: dict[str, CrossAttention], names: dict[str, tuple[str, str]]) -> None:
        """Keep the attentions: by key, the layers and the names of the map and the series that they join."""
        super().__init__()
        self.members, self.names = members, names
        self.pairs = nn.ModuleDict(pairs)

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return the features (B × width), or (B × members × width) where members pool for themselves."""
        vectors = [value.vector for value in encoded.values()]
        for key, (cells, steps) in self.names.items():
            vectors.append(self.pairs[key](encoded[cells].tokens, encoded[steps].tokens, encoded[steps].missing))
        if any(value.ndim == 3 for value in vectors):
            vectors = [v if v.ndim == 3 else v[:, None].expand(-1, self.members, -1) for v in vectors]
        return torch.cat(vectors, dim=-1)


def build_fusion(config: ModelConfig, channels: dict[str, int], series: list[str]) -> tuple[Fusion, int]:
    """Return the fusion and how many features it adds to the encoders' vectors.

    Args:
        config: which fusion.
        channels: of the feature map of each image or map.
        series: names of the inputs that are series.

    Raises:
        InputError: cross-attention was asked for and there is no map or no series.
    """
    if config.fusion == "concat":
        return Fusion(config.members, {}, {}), 0
    if not channels or not series:
        raise InputError(
            "train.model.fusion: cross_attention needs an image (or map) and a series among train.inputs, found "
            f"{', '.join([*channels, *series]) or 'neither'}; use concat"
        )
    names = {f"{cells}_{steps}": (cells, steps) for cells in channels for steps in series}
    shape = config.series
    pairs = {
        key: CrossAttention(channels[cells], shape.dim, shape.heads, shape.dropout) for key, (cells, _) in names.items()
    }
    return Fusion(config.members, pairs, names), len(pairs) * shape.dim
