"""The part of the report job that needs no run: the page of all results."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.core import logs
from pipeline.core.errors import DONE, FAILED, IsobarError


def asked_for_all(arguments: list[str], home: Path) -> Path | None:
    """Return the results folder if a command line names one, or nothing at all; ``None`` if it is about a run.

    An experiment's folder stands for the results folder that it lies in.
    """
    words = [word for word in arguments if word != "--verbose"]
    if not words:
        return home / "results"
    path = Path(words[0])
    if len(words) > 1 or not path.is_dir() or (path / "run.json").exists():
        return None
    if any(path.glob("*/run.json")):
        return path.resolve().parent
    of_results = path.resolve() == (home / "results").resolve() or any(path.glob("*/*/run.json"))
    return path.resolve() if of_results else None


def build_all(results: Path, home: Path) -> int:
    """Build the site of a results folder, and return the exit code."""
    from pipeline.site.build import build  # jinja2: only where a page is made

    logs.start("--verbose" in sys.argv)
    try:
        built = build(results, home / "data")
    except IsobarError as error:
        logs.log.error("%s", error)
        return error.exit_code
    except OSError as error:
        logs.log.error("%s: %s", error.filename or results, error.strerror or error)
        return FAILED
    logs.log.info("wrote %s", built.told())
    return DONE
