"""The words of the command line: runs first, new files after them, settings and options anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.predict.config import FLAGS

_WITH_VALUE = set(FLAGS) - {"--skip-broken"}


def options(arguments: Sequence[str]) -> list[str]:
    """Return the command line of jobs in general for ``RUN [RUN …] INPUT [INPUT …] [key=value …]``.

    The first word is the run. Of the others those that are run folders join it in an ensemble, and the rest are new
    files. Their paths start from the current folder, so they are made absolute.
    """
    words, rest, value_follows = list[str](), list[str](), False
    for argument in arguments:
        plain = not argument.startswith("-") and not value_follows and not _is_setting(argument)
        (words if plain else rest).append(argument)
        value_follows = argument in _WITH_VALUE
    runs = [word for word in words[1:] if (Path(word) / "run.json").exists()]
    given = {"runs": runs, "inputs": [word for word in words[1:] if word not in runs]}
    settings = [
        f"predict.{name}={json.dumps([os.path.abspath(path) for path in paths], ensure_ascii=False)}"
        for name, paths in given.items()
        if paths
    ]
    return [*words[:1], *settings, *rest]


def _is_setting(argument: str) -> bool:
    return "=" in argument and not Path(argument).exists()
