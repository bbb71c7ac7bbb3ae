"""Mode ``reasoning``: every class explained, then pictures, ``reasoning.json`` and ``attributions.npz``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.predictions import SINGLE_LABEL
from pipeline.core.artifact import write_json, writing
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import log, progress
from pipeline.explain.config import ExplainConfig, ReasoningConfig
from pipeline.explain.gallery import class_pictures, run_pictures
from pipeline.explain.pieces import Piece, Pieces
from pipeline.explain.reasoning import class_piece, layer_piece, numbers_of
from pipeline.explain.subject import Subject, check_splits, chosen_classes, spread
from pipeline.report.style import look, save

NUMBERS, ARRAYS = "reasoning.json", "attributions.npz"
_FAR = 0.05
"""Logits by which the run's own predictions may miss those computed here, unremarked (it may have used bf16)."""


def explain_reasoning(
    subject: Subject, config: ExplainConfig, folder: Path, pieces: Pieces, interrupt: Interrupt, dpi: int
) -> tuple[str, ...]:
    """Write pictures and numbers of what the network looked at; return the names of the files.

    Raises:
        InputError: a class or split that the run does not have.
        Interrupted: a stop was asked for; finished classes are kept.
    """
    wanted = config.reasoning
    check_splits([wanted.split], subject, "explain.reasoning.split")
    classes = chosen_classes(subject, wanted.classes, "explain.reasoning.classes")
    found: dict[int, Piece] = {}
    for k in progress(classes, "explain: reasoning", len(classes)):
        found[k] = pieces.get(f"class{k}", partial(class_piece, subject, wanted, k))
        interrupt.check(f"{len(found)} of {len(classes)} classes are explained")
    layer = pieces.get("layer", partial(layer_piece, subject, wanted))
    names = _draw(subject, wanted, found, layer, folder, dpi, interrupt)
    _write_arrays(subject, found, folder)
    write_json(folder / NUMBERS, _report(subject, wanted, found, layer))
    return (*names, NUMBERS, ARRAYS)


def _draw(
    subject: Subject,
    config: ReasoningConfig,
    found: dict[int, Piece],
    layer: Piece,
    folder: Path,
    dpi: int,
    interrupt: Interrupt,
) -> list[str]:
    names = []
    with look(subject.classes):
        pictures = [one for k, piece in found.items() for one in class_pictures(subject, config, k, piece)]
        pictures += run_pictures(subject, config, found, layer)
        for name, draw in progress(pictures, "explain: pictures", len(pictures)):
            save(draw(), folder / name, dpi)
            names.append(name)
            interrupt.check("all classes are explained")
    return names


def _write_arrays(subject: Subject, found: dict[int, Piece], folder: Path) -> None:
    """Write mean attributions, activation maps and attention: by kind and input K × …, float16, NaN where absent."""
    keys = {key for piece in found.values() for key in piece if key.split("/")[0] in ("mean", "cam", "attention")}
    arrays = {}
    for key in sorted(keys):
        shape = next(piece[key].shape for piece in found.values() if key in piece)
        whole = np.full((len(subject.classes), *shape), np.nan, np.float32)
        for k, piece in found.items():
            if key in piece:
                whole[k] = piece[key]
        largest = float(np.nanmax(np.abs(whole)))
        arrays[key] = whole.astype(np.float16) if 1e-3 < largest < 6e4 else whole
    with writing(folder / ARRAYS) as part, part.open("wb") as stream:
        np.savez_compressed(stream, classes=np.array(subject.classes), **arrays)  # type: ignore[arg-type]


def _report(subject: Subject, config: ReasoningConfig, found: dict[int, Piece], layer: Piece) -> dict[str, Any]:
    explained = {subject.classes[k]: numbers_of(piece) for k, piece in found.items()}
    errors = [one["completeness_error"] for one in explained.values() if one["samples"]]
    worst = max(errors, default=0.0)
    if worst > 2 * config.tolerance:
        log.warning(
            "integrated gradients miss the difference of logits by up to %.1f %% of a class; raise "
            "explain.reasoning.steps above %d",
            100 * worst,
            config.steps,
        )
    return {
        "split": config.split,
        "explained": "logit minus mean logit" if subject.decisions.details["kind"] == SINGLE_LABEL else "logit",
        "baseline": config.baseline,
        "methods": {
            key.split("/", 1)[1]: str(piece[key])
            for piece in found.values()
            for key in piece
            if key.startswith("cam_method/")
        },
        "not_done": _not_done(subject, found),
        "largest_completeness_error": worst,
        "misses_own_predictions_by": _misses(subject, config),
        "classes": explained,
        "layer": numbers_of(layer),
    }


def _not_done(subject: Subject, found: dict[int, Piece]) -> list[str]:
    """Return what of the usual explanations this network has no place for."""
    keys = {key.split("/")[0] for piece in found.values() for key in piece}
    kinds = {spec.kind for spec in subject.explainer.specs.values()}
    reasons = []
    if "cam" not in keys and kinds & {"grid", "image"}:
        reasons.append("class activation maps: switched off, or the network has no feature map of more than one cell")
    if "attention" not in keys and "series" in kinds:
        reasons.append("attention: no series encoder")
    return reasons


def _misses(subject: Subject, config: ReasoningConfig) -> float:
    """Return the largest difference between logits computed here and the run's own, over some samples."""
    predictions, rows = subject.predictions(config.split), subject.rows(config.split)
    some = spread(np.arange(len(rows)), 32)
    logits = subject.explainer.logits(subject.explainer.see(subject.arrays(rows[some])))
    far = float(np.abs(logits - predictions.logits[some]).max())
    if far > _FAR:
        log.warning("the network's logits differ from the run's own predictions by up to %.2g", far)
    return far
