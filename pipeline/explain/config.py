"""Settings of explanations: which samples and classes, by which method, and what is permuted how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.core.config import Section

FORMAT = 1
"""Raised when the same run and settings would give other files, so that old ones are made anew."""
Split = Literal["train", "val", "test"]


class ReasoningConfig(Section):
    """What the network looked at, class by class."""

    split: Literal["val", "test"] = "val"
    """Whose samples are explained."""
    classes: list[str] = Field(default_factory=list)
    """Only these; empty: all."""
    samples: int = Field(16, ge=1)
    """Samples with the class, evenly spread over the split, that the means are made of; more take longer."""
    examples: int = Field(1, ge=0)
    """Single samples drawn of each class: those that the network was surest of, rightly."""
    steps: int = Field(32, ge=2, le=4096)
    """Points on the path of integrated gradients; doubled until ``tolerance`` is met, four times at most."""
    tolerance: float = Field(0.01, gt=0)
    """Of the sum of attributions, as a share of the difference of logits that it must add up to."""
    baseline: Literal["auto", "mean", "zero"] = "auto"
    """Where the path begins. ``mean``: the mean training map, image and window; ``zero``: 0 after standardisation;
    ``auto``: ``mean``, but of an image its own most frequent colour.
    """
    cam: Literal["auto", "gradcam", "hirescam", "none"] = "auto"
    """Class activation maps. ``auto``: Grad-CAM where the network averages its feature map, HiResCAM where it keeps
    places, which Grad-CAM would average away.
    """
    panels: int = Field(6, ge=1, le=24)
    """Channels drawn of each class, those with the largest share first."""
    randomized: bool = True
    """Repeat the mean attributions with random weights and report how alike they are (they should not be)."""


class FeatureConfig(Section):
    """What the learned features and the channels are worth."""

    projection: Literal["pca", "tsne", "none"] = "pca"
    splits: list[Split] = Field(["train", "val"], min_length=1)
    """Whose samples are projected."""
    samples: int = Field(1500, ge=10)
    """Most samples projected, evenly spread over each split."""
    perplexity: float = Field(30.0, gt=1)
    """Of t-SNE."""
    importance: bool = True
    """Measure what permuting a channel costs."""
    repeats: int = Field(10, ge=2)
    """Permutations of each channel."""
    block_days: int = Field(7, ge=1)
    """Neighbouring days that stay together, because they are alike; single samples where they have no days."""
    within_season: bool = False
    """Exchange blocks only within a quarter of the year, so that what the season alone tells stays."""
    importance_samples: int = Field(1500, ge=10)
    """Most validation samples used, whole blocks spread over the split."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    groups: dict[str, list[str]] = Field(default_factory=dict)
    """Channels permuted together, by a name for each group; for channels that can stand in for each other."""
    seed: int = Field(42, ge=0)


class ExplainConfig(Section):
    """What a run looked at, and what its channels are worth."""

    reasoning: ReasoningConfig = ReasoningConfig()
    feature: FeatureConfig = FeatureConfig()
    batch: int = Field(32, ge=1)
    """Samples (times points of a path) in the network at once."""

    @model_validator(mode="after")
    def _groups_hold_something(self) -> ExplainConfig:
        empty = [name for name, channels in self.feature.groups.items() if not channels]
        if empty:
            raise ValueError(f"feature.groups: {empty[0]!r} lists no channels")
        return self
