"""From pieces of an explanation to pictures: which panels, in which order, under which names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.explain.config import ReasoningConfig
from pipeline.explain.pieces import Piece
from pipeline.explain.reasoning import numbers_of
from pipeline.explain.reasoning import shares as shares_of
from pipeline.explain.subject import Subject
from pipeline.report.attribution import (
    Activation,
    ImageView,
    MapView,
    Place,
    SeriesView,
    draw_images,
    draw_maps,
    draw_series,
)
from pipeline.report.cells import draw_cells, draw_ways

_UNSAFE = re.compile(r"[^\w+-]")
Pictures = Iterator[tuple[str, Callable[[], Any]]]
"""File names, and what draws them."""


def class_pictures(subject: Subject, config: ReasoningConfig, k: int, piece: Piece) -> Pictures:
    """Yield the pictures of class ``k``: the mean over its samples, and single samples."""
    numbers = numbers_of(piece)
    if not numbers["samples"]:
        return
    name = subject.classes[k]
    stem = f"{k:02d}_{_UNSAFE.sub('_', name)}"
    title = f"class {name}: what the network looked at"
    count = f"mean of {numbers['samples']} of {numbers['occurs']} {config.split} samples"
    yield from _pictures(subject, config, piece, stem, title, count, numbers["share"], None)
    for number, told in enumerate(numbers["examples"]):
        detail = f"{told['id'].rsplit('/', 1)[-1]}   probability {told['probability']:.2f}"
        yield from _pictures(subject, config, piece, f"{stem}_sample{number + 1}", title, detail, None, number)
    images = [each for each in subject.explainer.images if f"mean/{each}" in piece]
    for each in images:
        views = [_image(piece, each, None, f"mean of {numbers['samples']}")]
        views += [
            _image(piece, each, number, f"{told['id'].rsplit('/', 1)[-1]}   p {told['probability']:.2f}")
            for number, told in enumerate(numbers["examples"])
        ]
        yield f"{stem}_{each}.png", partial(draw_images, title, count, views)


def _pictures(
    subject: Subject,
    config: ReasoningConfig,
    piece: Piece,
    stem: str,
    title: str,
    detail: str,
    shares: Mapping[str, Mapping[str, float]] | None,
    number: int | None,
) -> Pictures:
    """Yield the pictures of maps and series of one view: the mean (``number`` is None), or an example."""
    shares = shares or shares_of(subject, piece, _prefixes(number)[0])
    bars = [(channel, share) for of in shares.values() for channel, share in of.items()]
    prefix, field, cam, attention = _prefixes(number)
    for name, spec in subject.explainer.specs.items():
        if spec.kind == "grid":
            order = sorted(range(len(spec.channels)), key=lambda c: -shares[name][spec.channels[c]])[: config.panels]
            views = [
                MapView(
                    spec.channels[c],
                    spec.units[c],
                    piece[f"{field}/{name}"][c],
                    piece[f"{prefix}/{name}"][c],
                    shares[name][spec.channels[c]],
                )
                for c in order
            ]
            yield (
                f"{stem}.png" if name == "grid" else f"{stem}_{name}.png",
                partial(
                    draw_maps, title, detail, views, _activation(piece, cam, name), _place(subject, spec.shape), bars
                ),
            )
        if spec.kind == "series":
            keys = {key: key.split("/", 1)[1] for key in piece if key.startswith(f"{attention}/")}
            read = {
                "by the series' encoder" if whose == name else "by the picture's cells": piece[key]
                for key, whose in keys.items()
                if whose == name or whose.endswith(f"_{name} (cross-attention)")
            }
            view = SeriesView(
                spec.channels, spec.units, piece[f"{field}/{name}"], piece[f"{prefix}/{name}"], read
            )  # fmt: skip
            yield f"{stem}_{name}.png", partial(draw_series, title, detail, view, max(config.panels, 8))


def _prefixes(number: int | None) -> tuple[str, str, str, str]:
    end = "" if number is None else str(number)
    return "mean" if number is None else f"one{number}", f"field{end}", f"cam{end}", f"attention{end}"


def _activation(piece: Piece, cam: str, name: str) -> Activation | None:
    if f"{cam}/{name}" not in piece:
        return None
    return Activation(piece[f"{cam}/{name}"], str(piece[f"{cam}_method/{name}"]))


def _image(piece: Piece, name: str, number: int | None, label: str) -> ImageView:
    prefix, field, cam, _ = _prefixes(number)
    return ImageView(
        label, piece[f"{field}/{name}"], piece[f"{prefix}/{name}"].sum(axis=0), _activation(piece, cam, name)
    )


def _place(subject: Subject, shape: tuple[int, ...]) -> Place:
    spec = subject.store.spec
    if (len(spec.latitude), len(spec.longitude)) != shape[1:]:
        return Place(np.arange(shape[1]), np.arange(shape[2]), degrees=False)
    return Place(np.array(spec.latitude), np.array(spec.longitude), degrees=True)


# --- of the whole run ------------------------------------------------------------------------------------------------


def run_pictures(subject: Subject, config: ReasoningConfig, pieces: Mapping[int, Piece], layer: Piece) -> Pictures:
    """Yield tables over classes: shares of channels, attention, the reasoning layer."""
    numbers = {k: numbers_of(piece) for k, piece in pieces.items()}
    shown = [k for k in pieces if numbers[k]["samples"]]
    names, detail = [subject.classes[k] for k in shown], f"{config.split} samples with the class"
    if shown:
        columns = [channel for of in numbers[shown[0]]["share"].values() for channel in of]
        share = np.array([[100 * v for of in numbers[k]["share"].values() for v in of.values()] for k in shown])
        title = "share of attribution"
        yield "channels.png", partial(draw_cells, title, detail, names, columns, share, "%", signed=False)
        for key in [key for key in pieces[shown[0]] if key.startswith("attention/")]:
            weights = 100 * np.stack([pieces[k][key] for k in shown])
            steps = [str(step) for step in range(-weights.shape[1] + 1, 1)]
            title = f"attention over the steps: {key.split('/', 1)[1]}"
            stem = re.sub(r"[^\w]+", "_", key.split("/", 1)[1]).strip("_")
            yield f"attention_{stem}.png", partial(draw_cells, title, detail, names, steps, weights, "%", signed=False)
    yield from _layer_pictures(subject, config, layer)


def _layer_pictures(subject: Subject, config: ReasoningConfig, layer: Piece) -> Pictures:
    told = numbers_of(layer)
    if not told["present"]:
        return
    activity = layer["activity"]
    busy: NDArray[np.bool_] = np.asarray(np.isfinite(activity).any(axis=1))
    silent = np.nanmax(np.abs(activity[busy]), axis=0) == 0
    order = np.lexsort((-np.nanmax(activity[busy], axis=0), np.nanargmax(activity[busy], axis=0), silent))
    names = [name for name, some in zip(subject.classes, busy, strict=True) if some]
    units = [str(unit) for unit in order]
    detail = f"{told['samples']} {config.split} samples, {told['units']} units"
    label, below = (
        "standard deviations",
        "units, each beside others of the class that it answers most; silent ones last",
    )
    title = "reasoning layer: mean output by class"
    cells = activity[busy][:, order]
    yield "layer.png", partial(draw_cells, title, detail, names, units, cells, label, signed=True, below=below)
    straight, through = (
        np.array([way[key] for way in told["logit"].values()]) for key in ("straight", "through_reasoning")
    )
    title = "what reaches the logit through the reasoning layer"
    yield "layer_share.png", partial(draw_ways, title, detail, list(told["logit"]), straight, through)
