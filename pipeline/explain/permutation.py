"""Permutation importance: what scores lose when a channel comes from other days (Breiman 2001; Fisher et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import average_precision, f_score, log_loss_of, macro
from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.explain.config import FeatureConfig
from pipeline.explain.subject import Rows, Subject

Floats = NDArray[np.float64]
MEASURES = ("map", "macro_f1", "log_loss")
_RESAMPLES = 20
"""Of blocks of samples, for each permutation."""
_MOST_RESAMPLES = 400


@dataclass(frozen=True)
class Column:
    """Channels that are permuted together: by input their places, ``None`` for all of an image."""

    name: str
    places: Mapping[str, tuple[int, ...] | None]

    @property
    def told(self) -> str:
        """The inputs it belongs to."""
        return "+".join(self.places)


def columns_of(subject: Subject, groups: Mapping[str, Sequence[str]]) -> list[Column]:
    """Return every channel and feature, each input as a whole where there are several, and the groups asked for.

    Raises:
        InputError: a group lists a channel that the run does not read, or has the name of one.
    """
    specs = subject.explainer.specs
    single = {
        channel: Column(channel, {name: (place,)})
        for name, spec in specs.items()
        if spec.kind != "image"
        for place, channel in enumerate(spec.channels)
    }
    whole = {name: Column(f"all of {name}", {name: tuple(range(len(spec.channels)))}) for name, spec in specs.items()}
    found = list(single.values())
    for name, spec in specs.items():
        if spec.kind == "image":
            found.append(Column(name, {name: None}))
        elif len(specs) > 1 and len(spec.channels) > 1:
            found.append(whole[name])
    for group, channels in groups.items():
        if group in {column.name for column in found}:
            raise InputError(f"explain.feature.groups: {group!r} is the name of a channel; choose another one")
        found.append(Column(group, _together(group, channels, single)))
    return found


def _together(group: str, channels: Sequence[str], single: Mapping[str, Column]) -> dict[str, tuple[int, ...]]:
    places: dict[str, tuple[int, ...]] = {}
    for channel in channels:
        if channel not in single:
            raise InputError(
                f"explain.feature.groups.{group}: {channel!r} is not read by this run{near(channel, list(single))} "
                f"Allowed: {shorten(single, 30)}"
            )
        for name, place in single[channel].places.items():
            places[name] = (*places.get(name, ()), *(place or ()))
    return places


def permuted_logits(subject: Subject, rows: Rows, column: Column | None, sources: Rows) -> NDArray[np.float32]:
    """Return the logits (N × K) of samples ``rows`` whose column comes from the samples ``sources``."""
    found = []
    for first in range(0, len(rows), 32):
        arrays = subject.arrays(rows[first : first + 32])
        for name, places in column.places.items() if column else ():
            others = subject.store.rows(name).read(sources[first : first + 32])
            if places is None:
                arrays[name] = others
            else:
                index: Any = (
                    (..., list(places))
                    if subject.explainer.specs[name].kind == "series"
                    else (slice(None), list(places))
                )
                arrays[name][index] = others[index]
        found.append(subject.explainer.logits(subject.explainer.see(arrays)))
    return np.concatenate(found)


def order_of(subject: Subject, rows: Rows, config: FeatureConfig, repeat: int) -> Rows:
    """Return ``rows`` in another order, the same for every column: blocks of neighbouring days stay together."""
    generator = np.random.default_rng([config.seed, repeat])
    block, season = _blocks(subject, rows, config)
    order = np.empty_like(rows)
    for one in np.unique(season):
        here = np.flatnonzero(season == one)
        numbers = np.unique(block[here])
        order[here] = rows[np.concatenate([here[block[here] == number] for number in generator.permutation(numbers)])]
    return order


def _blocks(subject: Subject, rows: Rows, config: FeatureConfig) -> tuple[Rows, Rows]:
    """Return the block and the season of each sample; without days each is its own block, in one season."""
    dates = subject.store.column("date")[rows]
    if not (dates != "").all():
        return np.arange(len(rows)), np.zeros(len(rows), np.int64)
    days = dates.astype("datetime64[D]")
    block = days.astype(np.int64) // config.block_days
    months = days.astype("datetime64[M]").astype(np.int64) % 12
    return block, (months + 1) % 12 // 3 if config.within_season else np.zeros(len(rows), np.int64)


class Judge:
    """Scores of logits on validation samples, and on resampled blocks of them."""

    def __init__(self, subject: Subject, rows: Rows, base: NDArray[np.float32], config: FeatureConfig) -> None:
        """Score the network as it is."""
        self._decisions, self._target = subject.decisions, subject.store.target[rows] > 0
        self._confidence = config.confidence
        block, _ = _blocks(subject, rows, config)
        self.dated = bool((subject.store.column("date")[rows] != "").all())
        self._draws = _resamples(block, min(_RESAMPLES * config.repeats, _MOST_RESAMPLES), config)
        self._base = self._parts(base)
        self._base_drawn = [self._scores(self._base, draw) for draw in self._draws]
        self.whole = self._scores(self._base, np.arange(len(rows)))
        self.precision = self._precision(self._base)

    def lost(self, logits: NDArray[np.float32]) -> tuple[dict[str, float], Floats]:
        """Return what each score loses with these logits (the log loss: gains), and average precision by class."""
        parts = self._parts(logits)
        return _worse(self.whole, self._scores(parts, np.arange(len(logits)))), self.precision - self._precision(parts)

    def lost_drawn(self, logits: Sequence[NDArray[np.float32]]) -> dict[str, Floats]:
        """Return the same over resampled blocks, by turns with each of the permutations."""
        parts = [self._parts(one) for one in logits]
        pairs = enumerate(zip(self._base_drawn, self._draws, strict=True))
        found = [_worse(base, self._scores(parts[turn % len(parts)], draw)) for turn, (base, draw) in pairs]
        return {name: np.array([one[name] for one in found]) for name in MEASURES}

    def interval(self, values: Floats) -> list[float]:
        """Return the percentiles between which ``confidence`` of the values lie."""
        tail = (1 - self._confidence) / 2
        known = values[np.isfinite(values)]
        return [float(v) for v in np.quantile(known, [tail, 1 - tail])] if len(known) else [float("nan")] * 2

    def _parts(self, logits: NDArray[np.float32]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        probability = self._decisions.probabilities(logits)
        ranked = self._decisions.raw(logits) if self._decisions.single else np.asarray(logits, np.float64)
        return ranked, probability, self._decisions.choose(probability)

    def _scores(self, parts: tuple[Floats, Floats, NDArray[np.bool_]], draw: Rows) -> dict[str, float]:
        ranked, probability, said = parts[0][draw], parts[1][draw], parts[2][draw]
        target = self._target[draw]
        values = (
            macro(average_precision(target, ranked)),
            macro(f_score(target, said)),
            float(log_loss_of(target, probability).mean()),
        )
        return dict(zip(MEASURES, values, strict=True))

    def _precision(self, parts: tuple[Floats, Floats, NDArray[np.bool_]]) -> Floats:
        return average_precision(self._target, parts[0])


def _worse(base: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: (now[name] - base[name]) if name == "log_loss" else (base[name] - now[name]) for name in MEASURES}


def _resamples(block: Rows, count: int, config: FeatureConfig) -> list[Rows]:
    """Return ``count`` draws of as many blocks as there are, with replacement, as places of samples."""
    generator = np.random.default_rng([config.seed, 2**31])
    members = [np.flatnonzero(block == number) for number in np.unique(block)]
    drawn = generator.integers(0, len(members), (count, len(members)))
    return [np.concatenate([members[place] for place in places]) for places in drawn]


def drops(judge: Judge, logits: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """Return what permuting a column costs: by score the mean, each repeat and an interval; by class average precision.

    Args:
        judge: of the validation samples.
        logits: R times N × K, with the column permuted.
    """
    each = [judge.lost(one) for one in logits]
    drawn = judge.lost_drawn(logits)
    found: dict[str, Any] = {}
    for name in MEASURES:
        values = [lost[name] for lost, _ in each]
        found[name] = {"drop": float(np.mean(values)), "repeats": values, "interval": judge.interval(drawn[name])}
    return {**found, "average_precision": np.mean([precision for _, precision in each], axis=0)}
