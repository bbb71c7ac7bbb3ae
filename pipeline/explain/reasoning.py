"""What the network looked at, class by class: integrated gradients, class activation maps, attention, as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import plain
from pipeline.explain.config import ReasoningConfig
from pipeline.explain.pieces import Piece
from pipeline.explain.subject import Rows, Subject, spread
from pipeline.train.attribution import Integrated, Seen

NUMBERS = "numbers"
_RANDOM_SAMPLES, _RANDOM_SEED = 4, 0


def class_piece(subject: Subject, config: ReasoningConfig, k: int) -> Piece:
    """Explain class ``k`` on its samples of the split.

    Returns:
        ``numbers``: JSON; by input ``mean/<input>`` and ``size/<input>``: mean attribution and its mean absolute value
        (per-sample shape), ``field/<input>``: mean in physical units, ``cam/<input>`` (H × W), ``attention/<series>``
        (T); the same with ``mean`` replaced by ``one<i>`` for each example.
    """
    rows, probability = _with_class(subject, config.split, k)
    numbers: dict[str, Any] = {"occurs": len(rows), "samples": 0}
    if not len(rows):
        return {NUMBERS: _text(numbers)}
    chosen = spread(rows, config.samples)
    seen = subject.explainer.see(subject.arrays(chosen))
    paths = [_path(subject, config, seen, chosen, place, k) for place in range(len(chosen))]
    piece: Piece = {}
    for name in paths[0].attributions:
        stack = np.stack([path.attributions[name] for path in paths]).astype(np.float64)
        piece[f"mean/{name}"] = stack.mean(axis=0).astype(np.float32)
        piece[f"size/{name}"] = np.abs(stack).mean(axis=0).astype(np.float32)
    piece |= _views(subject, config, chosen, seen, k, "field", "cam", "attention")
    numbers |= {"samples": len(chosen), "ids": _ids(subject, chosen), **_completeness(paths)}
    numbers["share"] = shares(subject, piece, "size")
    numbers["adds_to_logit"] = _by_channel(subject, {name: piece[f"mean/{name}"] for name in subject.explainer.specs})
    if config.randomized:
        numbers["randomized"] = _alike(subject, config, seen, chosen, k, paths)
    numbers["examples"] = []
    for number, row in enumerate(_examples(rows, probability, config.examples)):
        numbers["examples"].append(_example(subject, config, row, k, number, piece))
    return {NUMBERS: _text(numbers), **piece}


def numbers_of(piece: Piece) -> dict[str, Any]:
    """Return the numbers that a piece holds."""
    found: dict[str, Any] = json.loads(str(piece[NUMBERS]))
    return found


def _text(numbers: Mapping[str, Any]) -> NDArray[np.str_]:
    return np.array(json.dumps(plain(dict(numbers)), ensure_ascii=False))


def _with_class(subject: Subject, split: str, k: int) -> tuple[Rows, NDArray[np.float64]]:
    """Return the rows that have class ``k``, and its probability where it was also said (0 where not)."""
    rows, predictions = subject.rows(split), subject.predictions(split)
    has = predictions.target[:, k] > 0
    probability = subject.decisions.probabilities(predictions.logits)[:, k]
    said = subject.decisions.decide(predictions.logits)[:, k]
    return rows[has], np.where(said, probability, 0.0)[has]


def _examples(rows: Rows, probability: NDArray[np.float64], most: int) -> list[int]:
    order = np.argsort(-probability, kind="stable")[:most]
    return [int(rows[place]) for place in order if probability[place] > 0]


def _path(subject: Subject, config: ReasoningConfig, seen: Seen, rows: Rows, place: int, k: int) -> Integrated:
    one = {name: values[place : place + 1] for name, values in seen.items()}
    start = beginning(subject, config.baseline, one, rows[place : place + 1])
    return subject.explainer.integrated(one, start, k, config.steps, config.tolerance)


def beginning(subject: Subject, baseline: str, one: Seen, row: Rows) -> Seen:
    """Return where the path of one sample begins, 1 × per-sample shape (see ``ReasoningConfig.baseline``)."""
    if baseline == "zero":
        return {name: values * 0 for name, values in one.items()}
    start = dict(subject.mean_seen)
    if baseline == "auto" and subject.explainer.images:
        arrays = subject.arrays(row)
        for name in subject.explainer.images:
            arrays[name] = np.broadcast_to(_commonest(arrays[name][0])[None, :, None, None], arrays[name].shape).copy()
        plain_images = subject.explainer.see(arrays)
        start |= {name: plain_images[name] for name in subject.explainer.images}
    return start


def _commonest(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colour (3) that most pixels of an image (3 × H × W) have."""
    red, green, blue = image.reshape(3, -1).astype(np.uint32)
    packed, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
    colour = int(packed[np.argmax(counts)])
    return np.array([colour >> 16, colour >> 8 & 255, colour & 255], np.uint8)


def _completeness(paths: list[Integrated]) -> dict[str, Any]:
    """Return how far attributions are from adding up to the logit differences, over all samples and at worst."""
    differences = np.array([path.difference for path in paths])
    errors = np.abs([path.error for path in paths])
    return {
        "logit_difference": differences.mean(),
        "completeness_error": errors.sum() / max(np.abs(differences).sum(), 1e-12),
        "largest_error": errors.max(),
        "steps": [min(path.steps for path in paths), max(path.steps for path in paths)],
    }


def shares(subject: Subject, piece: Piece, prefix: str) -> dict[str, dict[str, float]]:
    """Return by input and channel the share of all absolute attribution in the arrays ``<prefix>/<input>``."""
    sizes = _by_channel(subject, {name: np.abs(piece[f"{prefix}/{name}"]) for name in subject.explainer.specs})
    total = max(sum(value for of in sizes.values() for value in of.values()), 1e-30)
    return {name: {channel: value / total for channel, value in of.items()} for name, of in sizes.items()}


def _by_channel(subject: Subject, arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, float]]:
    """Return sums over places and steps, by input and channel; an image counts as one channel."""
    found = {}
    for name, spec in subject.explainer.specs.items():
        axes = {"grid": (1, 2), "image": (0, 1, 2), "series": (0,)}.get(spec.kind, ())
        sums = np.atleast_1d(arrays[name].sum(axis=axes, dtype=np.float64))
        channels = (name,) if spec.kind == "image" else spec.channels
        found[name] = dict(zip(channels, sums.tolist(), strict=True))
    return found


def _views(subject: Subject, config: ReasoningConfig, rows: Rows, seen: Seen, k: int, *prefixes: str) -> Piece:
    """Return means over samples of what is drawn under and beside attributions: fields, activation maps, attention."""
    field, cam, attention = prefixes
    found: Piece = {}
    arrays = subject.arrays(rows)
    for name, spec in subject.explainer.specs.items():
        if spec.kind == "image":
            found[f"{field}/{name}"] = subject.explainer.colours(seen, name).mean(axis=0)
            continue
        found[f"{field}/{name}"] = _mean(subject.physical(name, arrays[name]))
    if config.cam != "none":
        for name, (method, maps) in subject.explainer.activation_maps(seen, k, config.cam).items():
            found[f"{cam}/{name}"] = maps.mean(axis=0)
            found[f"{cam}_method/{name}"] = np.array(method)
    for name, weights in subject.explainer.attention(seen).items():
        found[f"{attention}/{name}"] = weights.mean(axis=0)
    return found


def _mean(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the mean over samples of what is not missing; NaN where all is."""
    count = np.isfinite(values).sum(axis=0)
    total = np.nan_to_num(values).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _example(subject: Subject, config: ReasoningConfig, row: int, k: int, number: int, piece: Piece) -> dict[str, Any]:
    """Explain one sample; adds to ``piece``, returns what is told of it."""
    rows = np.array([row])
    seen = subject.explainer.see(subject.arrays(rows))
    path = _path(subject, config, seen, rows, 0, k)
    for name, values in path.attributions.items():
        piece[f"one{number}/{name}"] = values
    piece.update(_views(subject, config, rows, seen, k, f"field{number}", f"cam{number}", f"attention{number}"))
    logits = subject.explainer.logits(seen)
    probability = float(subject.decisions.probabilities(logits)[0, k])
    return {"id": _ids(subject, rows)[0], "probability": probability, **_completeness([path])}


def _alike(
    subject: Subject, config: ReasoningConfig, seen: Seen, rows: Rows, k: int, paths: list[Integrated]
) -> dict[str, float]:
    """Return rank correlations of attributions with those of the same network with its weights in random order."""
    other = subject.explainer.randomized(_RANDOM_SEED)
    signed, absolute = [], []
    for place in range(min(_RANDOM_SAMPLES, len(rows))):
        one = {name: values[place : place + 1] for name, values in seen.items()}
        start = beginning(subject, config.baseline, one, rows[place : place + 1])
        new = other.integrated(one, start, k, max(2, config.steps // 2), float("inf")).attributions
        mine = np.concatenate([values.ravel() for values in paths[place].attributions.values()])
        theirs = np.concatenate([new[name].ravel() for name in paths[place].attributions])
        signed.append(rank_correlation(mine, theirs))
        absolute.append(rank_correlation(np.abs(mine), np.abs(theirs)))
    return {"signed": float(np.mean(signed)), "absolute": float(np.mean(absolute)), "samples": len(signed)}


def rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return Spearman's rank correlation, ties by mean rank; 0 where one side never varies."""
    ranks = [_ranks(values) for values in (a, b)]
    deviations = [values - values.mean() for values in ranks]
    norm = float(np.prod([np.sqrt((values**2).sum()) for values in deviations]))
    return float((deviations[0] * deviations[1]).sum() / norm) if norm > 0 else 0.0


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    found: NDArray[np.float64] = middle[place.ravel()].astype(np.float64)
    return found


def _ids(subject: Subject, rows: Rows) -> list[str]:
    return [str(name) for name in subject.store.column("id")[rows]]


# --- the reasoning head ------------------------------------------------------------------------------------------


def layer_piece(subject: Subject, config: ReasoningConfig) -> Piece:
    """Show the inner output of the reasoning head over samples of the split; nothing where the head has none.

    Returns:
        ``numbers``: JSON; ``activity`` (K × units): mean output over the samples of each class, in standard deviations
        over all samples from their mean.
    """
    rows = spread(subject.rows(config.split), 64 * config.samples)
    parts = [subject.explainer.see(subject.arrays(rows[first : first + 32])) for first in range(0, len(rows), 32)]
    found = [subject.explainer.reasoning(part) for part in parts]
    whole = [one for one in found if one is not None]
    if not whole:
        return {NUMBERS: _text({"present": False, "why": "train.model.reasoning_dim is 0: the head has no such layer"})}
    reasoned = type(whole[0])(
        np.concatenate([one.features for one in whole]),
        np.concatenate([one.reasoning for one in whole]),
        None
        if whole[0].auxiliary is None
        else np.concatenate([one.auxiliary for one in whole if one.auxiliary is not None]),
    )
    target = subject.store.target[rows] > 0
    inner = reasoned.reasoning.astype(np.float64)
    scaled = (inner - inner.mean(axis=0)) / np.where(inner.std(axis=0) > 0, inner.std(axis=0), 1)
    activity = np.stack([scaled[has].mean(axis=0) if has.any() else scaled[0] * np.nan for has in target.T])
    ways = {}
    for k, name in enumerate(subject.classes):
        if target[:, k].any():
            straight, through = subject.explainer.through_reasoning(
                reasoned, np.flatnonzero(target[:, k]), k, config.steps
            )
            ways[name] = {"straight": straight, "through_reasoning": through}
    numbers = {
        "present": True,
        "units": inner.shape[1],
        "silent_units": int((inner.std(axis=0) == 0).sum()),
        "samples": len(rows),
        "logit": ways,
        "auxiliary": _auxiliary(subject, reasoned.auxiliary, target),
    }
    return {NUMBERS: _text(numbers), "activity": activity.astype(np.float32)}


def _auxiliary(
    subject: Subject, logits: NDArray[np.float32] | None, target: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Return how often the classifier that sees the reasoning alone says each class, and how often rightly."""
    if logits is None:
        return None
    single = subject.decisions.single
    said = logits == logits.max(axis=1, keepdims=True) if single else logits > 0
    return {
        name: {
            "said": int(said[:, k].sum()),
            "right": int((said[:, k] & target[:, k]).sum()),
            "occurs": int(target[:, k].sum()),
        }
        for k, name in enumerate(subject.classes)
    }
