"""The plan of an invented weather around Japan: which base types stand where on which day.

The 15 base types are those of Yoshino's classification: 1 winter monsoon; 2A–2D lows over Hokkaido and Sakhalin, the
Sea of Japan, the south coast, and two at once; 3A–3D migratory highs north of, over and south of Japan, and a belt;
4A, 4B stationary fronts over Honshu and south of it; 5 the summer high; 6A–6C typhoons south of, west of and east of
Japan. A day is a function of (:class:`Weather`, day) only, whatever the period asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

# Systems of each base type when it stands at its usual place: pressure [hPa] at the centre relative to the season,
# latitude, longitude, half-width along, across [degrees of arc], direction of the long axis [° anticlockwise from
# east], heat at 850 hPa [K], moisture [-]. Positions after the descriptions of Yoshino's pressure patterns.
SYSTEMS: dict[str, tuple[tuple[float, ...], ...]] = {
    "1": ((21, 49, 111, 14, 11, 20, -6, -0.6), (-27, 47, 151, 8, 7, 40, -2, 0.3), (-5, 36, 149, 7, 5, 70, 0, 0)),
    "2A": ((-21, 48, 141.5, 5.5, 4.5, 20, 1, 0.8), (-7, 40.5, 138, 8, 2, 55, 0, 0.8), (7, 33, 153, 7, 6, 0, 2, -0.2)),
    "2B": ((-18, 41, 134, 4.5, 4, 20, 1, 0.9), (-6, 35, 130, 7, 2, 45, 0, 0.9), (6, 36, 151, 7, 6, 0, 1, -0.2)),
    "2C": ((-17, 31.5, 137, 5, 3.5, 25, 1, 1.1), (-5, 28, 130, 7, 2, 25, 0, 0.9), (9, 46, 131, 9, 6, 0, -2, -0.4)),
    "2D": ((-15, 42, 134, 4, 3.5, 20, 0, 0.8), (-15, 31.5, 138.5, 4, 3, 25, 1, 1.0), (5, 38, 116, 7, 6, 0, -1, -0.3)),
    "3A": ((17, 45, 140, 9, 5.5, 0, -1, -0.8), (-6, 27, 131, 10, 3, 10, 0, 0.6)),
    "3B": ((17, 36.5, 138, 7, 5.5, 0, 0, -0.9), (-8, 40, 118, 6, 6, 45, 1, 0.2), (-8, 42, 158, 6, 6, 45, 0, 0.2)),
    "3C": ((15, 28.5, 136, 9, 4.5, 0, 1, -0.8), (-9, 49, 138, 13, 5, 0, -1, 0.3)),
    "3D": ((14, 35.5, 136, 22, 4.2, 0, 0, -0.8), (-8, 49, 137, 16, 4, 0, -1, 0.3), (-5, 24, 136, 16, 4, 0, 0, 0.4)),
    "4A": ((-10, 36.5, 134, 15, 2.4, 8, 0, 1.6), (9, 48, 145, 8, 5, 0, -3, -0.2), (7, 26, 143, 11, 5, 0, 1, -0.2)),
    "4B": ((-10, 29.5, 132, 15, 2.4, 12, 0, 1.6), (9, 41, 139, 12, 5, 0, -2, -0.4), (5, 20, 143, 9, 5, 0, 1, -0.1)),
    "5": ((11, 29.5, 147, 13, 6, 15, 3, -0.4), (4, 33, 132, 7, 4, 0, 2, -0.4), (-12, 49, 131, 12, 6, 0, 1, 0.3)),
    "6A": ((-31, 22, 133.5, 2.8, 2.8, 0, 3, 2.2), (8, 34, 147, 11, 6, 0, 1, -0.3)),
    "6B": ((-29, 32, 128, 2.8, 2.8, 0, 3, 2.2), (7, 32, 150, 9, 6, 0, 1, -0.3)),
    "6C": ((-28, 32, 147, 2.9, 2.9, 0, 3, 2.0), (7, 42, 127, 9, 6, 0, -1, -0.4)),
}
TYPES = tuple(SYSTEMS)
DRIFT = {"1": (0.0, 1.0), "2": (0.8, 4.0), "3": (0.0, 4.5), "4": (0.3, 0.5), "5": (0.0, 0.5), "6": (2.0, 0.8)}
LONGEST = {"1": 3, "2": 2, "3": 2, "4": 2, "5": 3, "6": 2}  # days of one spell, by family

# How often a type occurs, January to December: 1 is "now and then".
_SEASON: dict[str, tuple[float, ...]] = {
    "1": (9, 7.5, 4, 1.5, 0.4, 0.1, 0.05, 0.05, 0.3, 1.5, 4.5, 8),
    "2A": (3, 3, 4, 4, 4, 3, 2, 2, 3, 3.5, 3, 3),
    "2B": (1.2, 1.5, 2.2, 2.6, 2, 1.6, 1, 1, 1.6, 1.6, 1.6, 1.2),
    "2C": (2.2, 2.7, 3.2, 2.6, 2, 1, 0.3, 0.3, 1, 1.6, 1.6, 1.6),
    "2D": (2, 2.6, 3, 2.4, 1.4, 0.6, 0.2, 0.2, 0.7, 1.2, 1.3, 1.6),
    "3A": (0.8, 1.1, 2.2, 2.7, 2.7, 1.6, 0.6, 0.7, 2.2, 2.6, 1.6, 0.8),
    "3B": (1.5, 2.2, 3.7, 5.2, 5.2, 2.4, 0.7, 0.7, 3, 5.2, 5, 2.4),
    "3C": (1.1, 1.2, 1.6, 2, 2.1, 1.6, 0.9, 0.8, 1.2, 1.3, 2, 1.3),
    "3D": (0.4, 0.7, 1.2, 1.6, 2, 1.3, 0.6, 0.7, 1.4, 2, 1.2, 0.5),
    "4A": (0.2, 0.3, 0.7, 1.2, 2.2, 5, 5.5, 3.4, 4, 2, 0.8, 0.3),
    "4B": (0.6, 0.8, 1.5, 2.4, 3.8, 6, 3.6, 2.4, 4.6, 3.2, 1.7, 0.7),
    "5": (0.1, 0.1, 0.1, 0.3, 0.6, 1.6, 6.2, 6.6, 2, 0.4, 0.1, 0.1),
    "6A": (0.1, 0.1, 0.1, 0.2, 0.5, 1, 1.8, 2.8, 3.2, 2, 0.6, 0.2),
    "6B": (0.01, 0.01, 0.02, 0.1, 0.2, 0.6, 1.4, 2.2, 2.2, 0.9, 0.2, 0.02),
    "6C": (0.01, 0.01, 0.02, 0.1, 0.2, 0.4, 0.7, 1.2, 1.4, 0.9, 0.3, 0.05),
}
# What tends to follow what: row = family now, column = family next.
_FOLLOW = {
    "1": (2.0, 1.5, 2.5, 0.5, 0.3, 0.6),
    "2": (3.0, 0.8, 2.5, 1.0, 1.0, 0.8),
    "3": (1.0, 3.0, 1.0, 1.4, 1.0, 0.9),
    "4": (0.6, 1.5, 1.0, 2.6, 1.5, 1.2),
    "5": (0.3, 0.7, 0.7, 2.0, 2.8, 1.4),
    "6": (0.6, 1.0, 1.5, 1.2, 2.0, 1.2),
}
_SECOND_CHANCE, _FADE_CHANCE = 0.65, 0.14  # per spell: give 46 % of days "+", 7 % "-"
_OVERLAP = 11.0  # degrees of arc: two systems nearer than this cannot share a day
_GHOST = 0.25  # strength of a system on the day before and after its spell
_FADING, _SECOND = 0.6, 0.9  # strength of both systems on a "-" day, of the second one on a "+" day


@dataclass(frozen=True)
class Weather:
    """What decides the weather: seed, types that may occur, strength of noise (1: about 4 hPa) and of seasons.

    ``seasonality`` is the power of the seasonal frequencies: 1 as in Japan, 0 every type at any time of year.
    """

    seed: int = 0
    types: tuple[str, ...] = TYPES
    noise: float = 1.0
    seasonality: float = 1.0


class Spell(NamedTuple):
    """A base type that lasts from day ``first`` to day ``last`` (proleptic ordinals), and how it differs from usual."""

    kind: str
    first: int
    last: int
    second: bool
    shift: tuple[float, float]
    strength: float
    size: float


def labels_of(weather: Weather, day: date) -> tuple[tuple[str, ...], str]:
    """Return the base types of a day and how they are joined: ``""`` (one), ``"+"`` (both) or ``"-"`` (a change).

    Composites are in the order of :data:`TYPES`; a transition goes from the first to the second.
    """
    today = _by_day(weather, day.year).get(day.toordinal(), [])
    main = [spell.kind for spell in today if not spell.second]
    if len(main) == 2:
        return tuple(main), "-"
    kinds = sorted((spell.kind for spell in today), key=TYPES.index)
    return tuple(kinds), "+" if len(kinds) == 2 else ""


@lru_cache(maxsize=8)
def year_plan(weather: Weather, year: int) -> tuple[Spell, ...]:
    """Return the spells of a calendar year; the chain of types starts afresh on each 1 January."""
    rng = np.random.default_rng([weather.seed, year, 1])
    day, end = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal()
    spells: list[Spell] = []
    before: Spell | None = None
    while day <= end:
        kind = _next_kind(rng, weather, day, before)
        fades = before is not None and before.kind != kind and rng.random() < _FADE_CHANCE
        if fades and before is not None:
            before = spells[-1] = before._replace(last=day)
        last = min(end, day + int(rng.integers(fades, LONGEST[kind[0]] + fades)))
        main = _spell(rng, kind, day, last)
        second = _second(rng, weather, main, day + fades)
        spells += [second, main] if second else [main]
        before, day = main, last + 1
    return tuple(spells)


@lru_cache(maxsize=8)
def _by_day(weather: Weather, year: int) -> dict[int, list[Spell]]:
    days: dict[int, list[Spell]] = {}
    for spell in year_plan(weather, year):
        for day in range(spell.first, spell.last + 1):
            days.setdefault(day, []).append(spell)
    return days


def _spell(rng: np.random.Generator, kind: str, first: int, last: int, second: bool = False) -> Spell:
    north, east = rng.normal(0, (1.1, 1.9))
    return Spell(kind, first, last, second, (north, east), math.exp(rng.normal(0, 0.18)), math.exp(rng.normal(0, 0.1)))


def _season_weights(weather: Weather, day: int) -> Array:
    month = date.fromordinal(day).month - 1
    return np.array([_SEASON[kind][month] ** weather.seasonality for kind in weather.types])


def _next_kind(rng: np.random.Generator, weather: Weather, day: int, before: Spell | None) -> str:
    weights = _season_weights(weather, day)
    if before is not None:
        weights *= [_FOLLOW[before.kind[0]][int(kind[0]) - 1] for kind in weather.types]
    return weather.types[int(rng.choice(len(weights), p=weights / weights.sum()))]


def _second(rng: np.random.Generator, weather: Weather, main: Spell, first: int) -> Spell | None:
    allowed = [_can_share(main.kind, kind) for kind in weather.types]
    if rng.random() > _SECOND_CHANCE or not any(allowed):
        return None
    weights = _season_weights(weather, first) * allowed
    kind = weather.types[int(rng.choice(len(weights), p=weights / weights.sum()))]
    return _spell(rng, kind, first, min(main.last, first + int(rng.integers(2))), second=True)


def _can_share(one: str, other: str) -> bool:
    """Two types can share a day if they are of different families and their main systems do not overlap."""
    (_, lat, lon, *_), (_, lat2, lon2, *_) = SYSTEMS[one][0], SYSTEMS[other][0]
    arc = math.hypot(lat - lat2, (lon - lon2) * math.cos(math.radians((lat + lat2) / 2)))
    return one[0] != other[0] and {one, other} != {"1", "5"} and arc > _OVERLAP


def systems_of(weather: Weather, day: int) -> Array:
    """Return the systems (system, 8) of a day: columns as in :data:`SYSTEMS`, moved, scaled and faded."""
    near = [(near, date.fromordinal(near).year) for near in (day - 1, day, day + 1)]
    # A dictionary, not a set: the order of the sum decides its last bit.
    spells = dict.fromkeys(spell for near_day, year in near for spell in _by_day(weather, year)[near_day])
    rows: list[Array] = []
    for spell in spells:
        row = np.array(SYSTEMS[spell.kind])
        age = day - (spell.first + spell.last) / 2
        row[:, 1:3] += np.array(spell.shift) + age * np.array(DRIFT[spell.kind[0]])
        row[:, [0, 6, 7]] *= _share(weather, spell, day) * spell.strength
        row[:, 3:5] *= spell.size
        rows.append(row)
    return np.concatenate(rows)


def _share(weather: Weather, spell: Spell, day: int) -> float:
    if not spell.first <= day <= spell.last:
        return _GHOST
    if labels_of(weather, date.fromordinal(day))[1] == "-":
        return _FADING
    return _SECOND if spell.second else 1.0
