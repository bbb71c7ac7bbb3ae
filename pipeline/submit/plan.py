"""What is submitted: the tasks of an array, in pieces that the cluster takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten

_RANGE = re.compile(r"(?<![\w.])(-?\d+)\.\.(-?\d+)(?![\w.])")
_MOST = 100_000


def tasks_of(argument: str, overrides: Sequence[str], array: Sequence[str]) -> list[list[str]]:
    """Return the words of each task: a config and its overrides.

    Args:
        argument: the config (or run folder) that was named.
        overrides: settings of all tasks.
        array: one word a task: overrides with blanks between them, or a config file in place of ``argument``;
            ``1..4`` in it stands for four tasks; ``@file`` for the lines of a file. Empty: one task.

    Raises:
        InputError: a word that is neither, or a file that is not there.
    """
    if not array:
        return [[argument, *overrides]]
    return [_task(argument, overrides, word) for text in array for line in _lines(text) for word in _ranges(line)]


def with_folds(tasks: list[list[str]], wanted: str, present: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return each task once for each fold.

    Args:
        tasks: words of each task.
        wanted: ``all``, or names with commas.
        present: of each task, the folds that its division makes beside the default one.

    Raises:
        InputError: no such fold, or a division without any.
    """
    found: list[list[str]] = []
    for words, folds in zip(tasks, present, strict=True):
        names = list(folds) if wanted == "all" else [name.strip() for name in wanted.split(",")]
        if not folds or not names:
            raise InputError(
                f"command line: --folds {wanted}: store.split of {words[0]} makes none; set "
                "store.split.leave_one_year_out=true, or for images store.split.by: kfold"
            )
        for name in names:
            if name not in (*folds, "default"):
                hint = near(name, folds)
                raise InputError(f"command line: --folds: no fold {name!r}{hint} Folds: {shorten(list(folds), 40)}")
            found.append([*words, f"train.fold={name}"])
    return found


def _task(argument: str, overrides: Sequence[str], text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"command line: --array {text!r}: {error}") from None
    if words and "=" not in words[0]:
        argument, *words = words
        if not Path(argument).exists():
            raise InputError(f"command line: --array {text!r}: neither key=value nor a config file that is there")
    wrong = [word for word in words if "=" not in word]
    if wrong or not (words or text.strip()):
        raise InputError(f"command line: --array {text!r}: expected key=value, as in 'train.seed=1 train.fold=2001'")
    return [argument, *overrides, *words]


def _lines(text: str) -> list[str]:
    if not text.startswith("@"):
        return [text]
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"command line: --array {text}: {error}") from None
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _ranges(text: str) -> Iterator[str]:
    found = _RANGE.search(text)
    if found is None:
        yield text
        return
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < _MOST:
        raise InputError(f"command line: --array {text!r}: {found[0]} is not a range that goes up")
    for number in range(first, last + 1):
        for rest in _ranges(text[found.end() :]):
            yield f"{text[: found.start()]}{number}{rest}"


def chunks(count: int, most: int) -> list[range]:
    """Divide ``count`` tasks into runs of at most ``most``."""
    return [range(start, min(start + most, count)) for start in range(0, count, max(most, 1))]
