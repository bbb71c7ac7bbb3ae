"""The command lines of ``jobs/submit.py`` and ``jobs/status.py``, and how they answer mistakes."""

from __future__ import annotations

import argparse
import os
import sys
import typing
from collections.abc import Callable

from pipeline.core import logs
from pipeline.core.errors import BAD_INPUT, DONE, FAILED, IsobarError, disk_fault


def guarded(act: Callable[[], None]) -> int:
    """Run ``act``; return 0, or report its error in one line and return that one's exit code."""
    try:
        act()
    except IsobarError as error:
        for line in str(error).splitlines():
            logs.log.error("%s", line)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe has gone: ``… | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        fault = disk_fault(error, error.filename or "output")
        if fault is None:
            raise
        logs.log.error("%s", fault)
        return FAILED
    return DONE


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are answered in one line."""

    def error(self, message: str) -> typing.NoReturn:
        """Report a wrong command line in one line."""
        sys.stderr.write(f"command line: {message}; see --help\n")
        sys.exit(BAD_INPUT)


def submit_parser(doc: str) -> argparse.ArgumentParser:
    """Return what ``jobs/submit.py`` understands."""
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    add = parser.add_argument
    add("job", help="a job of jobs/ by its name, or chain: its stages as jobs, each after the one before")
    add("config", help="a .yaml or .py config, or a run folder of results/")
    add("overrides", nargs="*", metavar="key=value", help="settings on top; what follows -- goes to the job as it is")
    profile = "what it asks of the cluster, from slurm/profiles.yaml; train=NAME: what that stage of a chain asks"
    add("--profile", action="append", default=[], metavar="[JOB=]NAME", help=profile)
    add("--profiles", metavar="FILE", help="another file of profiles (or ISOBAR_PROFILES)")
    add("--set", action="append", default=[], metavar="key=value", help="a setting of the profile, e.g. time=02:00:00")
    add("--cluster", choices=("slurm", "local"), help="slurm where there is sbatch, else local: a process here")
    add("--array", nargs="+", default=[], metavar="TASK", help="a task each: 'train.seed=1..3', a config, or @file")
    add("--folds", metavar="a,b|all", help="a task for each of these folds; all: those of store.split but the default")
    add("--after", action="append", default=[], metavar="NAME|ID", help="start when this job is done (may be repeated)")
    add("--name", help="name for --after and status; <job>-<experiment> if not given")
    add(
        "--no-snapshot",
        dest="snapshot",
        action="store_false",
        help="run the working tree, not a copy of it",
    )
    add("--dry-run", action="store_true", help="print what would be submitted, and submit nothing")
    add("--verbose", action="store_true", help="log details")
    return parser
