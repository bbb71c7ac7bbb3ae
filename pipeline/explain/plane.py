"""High-dimensional features on a plane: principal components, or t-SNE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.explain.config import FeatureConfig

Floats = NDArray[np.float64]
_BEFORE_TSNE = 50
"""Principal components that t-SNE starts from, as its authors do."""


@dataclass(frozen=True)
class Plane:
    """N × 2 coordinates, and what is known of them."""

    points: Floats
    width: int
    """Of the features."""
    explained: list[float] | None
    """Share of the training samples' variance along each axis, of principal components."""
    told: str


def plane_of(config: FeatureConfig, features: Mapping[str, NDArray[np.float32]]) -> Plane:
    """Return the features of all splits, one after the other, on one plane.

    Principal components are those of the first split's features, each scaled to a standard deviation of 1 there;
    t-SNE (van der Maaten & Hinton 2008) places all samples together, so its axes mean nothing.

    Raises:
        InputError: t-SNE's perplexity is too large for so few samples.
    """
    first = next(iter(features.values())).astype(np.float64)
    mean, std = first.mean(axis=0), first.std(axis=0)
    varies = std > 1e-9 * max(float(std.max()), 1e-30)
    scaled = np.concatenate([(one[:, varies] - mean[varies]) / std[varies] for one in features.values()])
    wanted = 2 if config.projection == "pca" else _BEFORE_TSNE
    components, explained = principal(scaled[: len(first)], wanted)
    points = scaled @ components.T
    if config.projection == "pca":
        points = np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))
        shares = [float(share) for share in explained[:2]]
        named = " and ".join(f"{share:.0%}" for share in shares)
        return Plane(points, first.shape[1], shares, f"principal components ({named} of the variance)")
    return Plane(_tsne(points, config), first.shape[1], None, f"t-SNE, perplexity {config.perplexity:g}")


def principal(values: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the first components (count × width) of centred values and the share of the variance of each.

    The sign is chosen so that a component's largest loading is positive.
    """
    _, sizes, components = np.linalg.svd(values, full_matrices=False)
    components = components[:count]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    variance = sizes**2
    return components * np.where(largest < 0, -1.0, 1.0), variance[:count] / max(float(variance.sum()), 1e-30)


def _tsne(points: Floats, config: FeatureConfig) -> Floats:
    # Imported when chosen: it takes a second.
    from sklearn.manifold import TSNE

    if config.perplexity >= len(points):
        raise InputError(
            f"explain.feature.perplexity: {config.perplexity:g} needs more samples than the {len(points)} there are"
        )
    placed = TSNE(2, perplexity=config.perplexity, init="pca", random_state=config.seed).fit_transform(points)
    return np.asarray(placed, np.float64)


def neighbours(
    train: NDArray[np.float32],
    val: NDArray[np.float32],
    train_target: NDArray[np.bool_],
    val_target: NDArray[np.bool_],
    count: int = 10,
) -> tuple[Floats, Floats]:
    """Return by class the share of the nearest training samples of its validation samples that have it, and of all.

    Distances are Euclidean, of features scaled to a standard deviation of 1; NaN for a class without such samples.
    """
    mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    std = np.where(std > 0, std, 1)
    a, b = (val - mean) / std, (train - mean) / std
    distance = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)
    nearest = np.argpartition(distance, min(count, len(b) - 1), axis=1)[:, :count]
    share = train_target[nearest].mean(axis=1)
    found = [share[has, k].mean() if has.any() else np.nan for k, has in enumerate(val_target.T)]
    return np.array(found), train_target.mean(axis=0)
