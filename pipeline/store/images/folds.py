"""Which image trains, chooses or judges: folders, blocks of time, k folds, walking forward, years, or at random.

Splits are purged: an image that shares bars with an image of a split that matters more (test before val before train)
gets ``gap``. The rule is that of López de Prado (2018), Advances in Financial Machine Learning, section 7.4, with the
training set on both sides of what is held out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import DEFAULT_FOLD, SPLITS
from pipeline.core import logs
from pipeline.core.errors import InputError, shorten
from pipeline.store.config import SplitConfig
from pipeline.store.splits import GAP, Marks, split_days

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """What splitting needs to know of N images, in order of time where they have times."""

    given: Marks
    """Split by folder or list; empty where nothing says."""
    time: Ints | None
    """Microseconds of UTC."""
    date: NDArray[np.datetime64] | None
    """Local day."""
    group: NDArray[np.str_]
    label: NDArray[np.str_]
    bar: Ints
    """See :mod:`pipeline.store.images.bars`; all 0 without times."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.given)


def split_images(samples: Samples, config: SplitConfig, embargo: int) -> dict[str, Marks]:
    """Mark N images, for each fold, with ``train``, ``val``, ``test``, ``gap`` or nothing (unused).

    Args:
        samples: the images.
        config: the rules.
        embargo: bars within which two images of a data set may not be in different splits; 0: there is no such rule.

    Raises:
        InputError: the images lack what the rules need (times, groups, folders), or a split is empty.
    """
    by = _rule(samples, config)
    folds = {name: marks.astype("<U5") for name, marks in _RULES[by](samples, config)}
    needed = {"train", "val"} if _validates(by, samples, config) else {"train"}
    wanted = {name: needed | set(marks[np.isin(marks, SPLITS)].tolist()) for name, marks in folds.items()}
    if embargo > 0 and samples.time is not None and by != "random":
        folds = {name: purged(marks, samples, embargo) for name, marks in folds.items()}
    for name, marks in folds.items():
        _refuse_empty(name, marks, wanted[name], embargo)
    return {DEFAULT_FOLD: folds.get(DEFAULT_FOLD, list(folds.values())[-1]), **folds}


def overlaps(marks: Marks, samples: Samples, span: int) -> int:
    """Count the images of val and test that share bars with a training image, where each covers ``span`` bars."""
    if samples.time is None or span < 2:
        return 0
    held = np.isin(marks, ("val", "test"))
    return int(_near(samples, held, marks == "train", span - 1).sum())


def purged(marks: Marks, samples: Samples, embargo: int) -> Marks:
    """Return ``marks`` with ``gap`` for images that are within ``embargo`` bars of one of a later split."""
    marks = marks.copy()
    for split, later in (("val", ("test",)), ("train", ("val", "test"))):
        marks[_near(samples, marks == split, np.isin(marks, later), embargo)] = GAP
    return marks


def _near(samples: Samples, mine: NDArray[np.bool_], others: NDArray[np.bool_], embargo: int) -> NDArray[np.bool_]:
    """Tell which images of ``mine`` have one of ``others`` of the same data set within ``embargo`` bars."""
    near = np.zeros(len(samples), bool)
    for group in np.unique(samples.group).tolist():
        inside = samples.group == group
        bars = np.sort(samples.bar[others & inside])
        rows = np.flatnonzero(mine & inside)
        if len(bars) and len(rows):
            own = samples.bar[rows]
            lower = np.searchsorted(bars, own - embargo, side="left")
            near[rows] = lower < np.searchsorted(bars, own + embargo, side="right")
    return near


def _rule(samples: Samples, config: SplitConfig) -> str:
    given = bool((samples.given == "train").any())
    by = config.by
    if by == "auto":
        by = "folders" if given else "blocks"
    if by == "folders" and not given:
        raise InputError("store.split.by: folders, but the list has no column split; use blocks, kfold or random")
    needs_time = by in ("blocks", "walk_forward", "years") or (by == "kfold" and config.unit == "time")
    if by == "folders" and not (samples.given == "val").any():
        needs_time = config.val_share > 0
    if needs_time and samples.time is None:
        raise InputError(
            f"store.split.by: {by} needs {'a val folder or ' if by == 'folders' else ''}the time of each image, and "
            "the names say none; give store.images.val, or use store.split.by: random for images that have no order"
        )
    if given and by not in ("folders", "years") and (samples.given == "val").any():
        logs.log.warning("store.split.by: %s divides the images of train and val anew", by)
    return by


def _validates(by: str, samples: Samples, config: SplitConfig) -> bool:
    """Tell whether the rules are to give validation images."""
    if by == "folders":
        return config.val_share > 0 or bool((samples.given == "val").any())
    return by not in ("blocks", "random") or config.fractions[1] > 0


# --- rules: each yields folds, in order; the last one is the default where none is called so ----------------------


def _folders(samples: Samples, config: SplitConfig) -> Iterator[tuple[str, Marks]]:
    marks = samples.given.copy()
    if config.val_share > 0 and not (marks == "val").any():
        train = np.flatnonzero(marks == "train")
        first = _edges(samples, train, [1 - config.val_share])[0]
        marks[train[first:]] = "val"
    yield DEFAULT_FOLD, marks


def _blocks(samples: Samples, config: SplitConfig) -> Iterator[tuple[str, Marks]]:
    marks, free, shares = _held_out(samples, config)
    edges = _edges(samples, free, np.cumsum(shares)[:-1].tolist())
    for split, rows in zip(SPLITS, np.split(free, edges), strict=False):
        marks[rows] = split
    yield DEFAULT_FOLD, marks


def _random(samples: Samples, config: SplitConfig) -> Iterator[tuple[str, Marks]]:
    """Divide each class by itself, so that its shares are kept."""
    marks, free, shares = _held_out(samples, config)
    generator = np.random.default_rng(config.seed)
    for label in np.unique(samples.label[free]).tolist():
        rows = generator.permutation(free[samples.label[free] == label])
        edges = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for split, part in zip(SPLITS, np.split(rows, edges), strict=False):
            marks[part] = split
    yield DEFAULT_FOLD, marks


def _kfold(samples: Samples, config: SplitConfig) -> Iterator[tuple[str, Marks]]:
    """Hold out each fold in turn; without a test folder it is the test, and the one before it validates."""
    marks, free, _ = _held_out(samples, config)
    fixed, count = bool((marks == "test").any()), config.num_folds
    _refuse_few(fixed, count)
    part = _group_parts(samples, free, count) if config.unit == "group" else _time_parts(samples, free, count)
    for fold in range(count):
        own = marks.copy()
        own[free] = "train"
        own[free[part == fold]] = "val" if fixed else "test"
        if not fixed:
            own[free[part == (fold - 1) % count]] = "val"
        yield f"fold{fold}", own


def _walk_forward(samples: Samples, config: SplitConfig) -> Iterator[tuple[str, Marks]]:
    """Train on all blocks up to one, validate on the next, test on the one after that (or on the test folder)."""
    marks, free, _ = _held_out(samples, config)
    fixed, count = bool((marks == "test").any()), config.num_folds
    part = _time_parts(samples, free, count + (1 if fixed else 2))
    for fold in range(count):
        own = marks.copy()
        own[free[part <= fold]] = "train"
        own[free[part == fold + 1]] = "val"
        if not fixed:
            own[free[part == fold + 2]] = "test"
        yield f"fold{fold}", own


def _years(samples: Samples, config: SplitConfig) -> Iterator[tuple[str, Marks]]:
    if samples.date is None:
        raise RuntimeError("images with times have dates")
    if (samples.given != "").any():
        logs.log.warning("store.split.by: years divides the images anew; folders mean nothing")
    yield from split_days(samples.date, config.model_copy(update={"by": "years"})).items()


_RULES = {
    "folders": _folders,
    "blocks": _blocks,
    "random": _random,
    "kfold": _kfold,
    "walk_forward": _walk_forward,
    "years": _years,
}


# --- parts ---------------------------------------------------------------------------------------------------------


def _held_out(samples: Samples, config: SplitConfig) -> tuple[Marks, Ints, list[float]]:
    """Return marks with the test folder only, the images that are free to be divided, and the shares for them."""
    test = samples.given == "test"
    marks = np.where(test, "test", "").astype("<U5")
    shares = list(config.fractions[:2] if test.any() else config.fractions)
    if sum(shares) == 0:
        raise InputError("store.split.fractions: the shares of train and val are 0 and the test folder is given")
    return marks, np.flatnonzero(~test), [share / sum(shares) for share in shares]


def _edges(samples: Samples, rows: Ints, shares: Sequence[float]) -> list[int]:
    """Return where to cut ``rows`` so that the first part has the first share; images of one moment stay together."""
    if samples.time is None:
        raise RuntimeError("blocks of time need times")
    time = samples.time[rows]
    return [int(np.searchsorted(time, time[min(round(share * len(rows)), len(rows) - 1)])) if share < 1 else len(rows)
            for share in shares]  # fmt: skip


def _time_parts(samples: Samples, rows: Ints, count: int) -> Ints:
    """Return the number of the block of time of each of ``rows``: ``count`` blocks of nearly one size."""
    edges = _edges(samples, rows, [number / count for number in range(1, count)])
    return np.searchsorted(np.array(edges, np.int64), np.arange(len(rows)), side="right").astype(np.int64)


def _group_parts(samples: Samples, rows: Ints, count: int) -> Ints:
    """Deal whole groups out, the largest first, each to the part that has least."""
    names, group, sizes = np.unique(samples.group[rows], return_inverse=True, return_counts=True)
    if len(names) < count:
        raise InputError(
            f"store.split.unit: group needs {count} groups or more for num_folds {count}, found {len(names)} "
            f"({shorten(names)})"
        )
    filled, part = np.zeros(count, np.int64), np.zeros(len(names), np.int64)
    for number in np.argsort(-sizes, kind="stable").tolist():
        part[number] = np.argmin(filled)
        filled[part[number]] += sizes[number]
    return part[group]


def _refuse_few(fixed: bool, count: int) -> None:
    if not fixed and count < 3:
        raise InputError("store.split.num_folds: 2 leaves nothing to train on without a test folder; use 3 or more")


def _refuse_empty(fold: str, marks: Marks, wanted: set[str], embargo: int) -> None:
    gaps = int((marks == GAP).sum())
    for split in sorted(wanted, key=SPLITS.index):
        if not (marks == split).any():
            where = "" if fold == DEFAULT_FOLD else f" of fold {fold}"
            raise InputError(
                f"store.split: no image is left in {split}{where} of {len(marks)}: {gaps} share bars with another "
                f"split (embargo {embargo}); divide them by blocks of time, or set store.split.embargo"
            )
