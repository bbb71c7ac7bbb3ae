"""The one command line of every job: ``python jobs/<stage>.py <config or run folder> [key=value …]``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pipeline.core import logs
from pipeline.core.config import Section, dump, field_at, load
from pipeline.core.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED, InputError, IsobarError, disk_fault
from pipeline.core.interrupt import Interrupt
from pipeline.core.launch import launched
from pipeline.core.programs import SERIES
from pipeline.core.run import RunFolder, existing_run
from pipeline.core.teller import Teller

C = TypeVar("C", bound=Section)


@dataclass(frozen=True)
class Job(Generic[C]):
    """What a job's ``main`` receives: the checked configuration, the flag to stop, and what was typed."""

    config: C
    interrupt: Interrupt
    new: bool
    named_run: RunFolder | None
    argument: str
    overrides: tuple[str, ...]

    def again(self, stage: str) -> str:
        """Return the command that runs another job with what was typed."""
        more = ["--new"] if self.new else []
        return shlex.join(["python", f"jobs/{stage}.py", self.argument, *self.overrides, *more])


@dataclass(frozen=True)
class Outcome:
    """What a job tells at its end: what was written where, and what to type next."""

    wrote: str
    then: str = ""


Main = Callable[[Job[C]], Outcome]


Flags = Mapping[str, str]
"""Option of one job → the setting that it stands for: ``{"--parts": "derive.parts"}``."""


def job_main(main: Main[C], config: type[C], doc: str | None, flags: Flags = MappingProxyType({})) -> None:
    """Parse the command line, run ``main`` and leave with the suite's exit code (0, 1, 2 or 75)."""
    sys.exit(run_job(main, config, doc, flags=flags))


def run_job(
    main: Main[C],
    config: type[C],
    doc: str | None,
    arguments: list[str] | None = None,
    flags: Flags = MappingProxyType({}),
) -> int:
    """Like :func:`job_main`, but return the exit code."""
    parser = _parser(doc or "")
    for flag, setting in flags.items():
        _add_flag(parser, flag, setting, config)
    typed = parser.parse_intermixed_args(arguments)
    typed.overrides += [text for setting in flags.values() for text in getattr(typed, setting)]
    logs.start(typed.verbose)
    leads = launched().leads
    if not leads:
        logs.log.setLevel(logging.ERROR)  # of several ranks one tells how it goes
    if not (typed.notify and leads):
        return _ended(main, config, typed)
    teller, code = Teller([sys.argv[0], *(sys.argv[1:] if arguments is None else arguments)]), FAILED
    logs.also_to(teller)
    try:
        code = _ended(main, config, typed)
    finally:
        teller.end(code)
    return code


def _ended(main: Main[C], config: type[C], typed: argparse.Namespace) -> int:
    """Run the job, log what went wrong in one line, and return the exit code."""
    try:
        return _run(main, config, typed)
    except IsobarError as error:
        for line in str(error).splitlines():
            logs.log.error("%s", line)
        return error.exit_code
    except KeyboardInterrupt:
        logs.log.error("stopped by Ctrl-C; run the same command again to go on")
        return INTERRUPTED
    except MemoryError:
        logs.log.error("memory ran out; run the same command with more of it, or with smaller files or settings")
        return FAILED
    except OSError as error:
        fault = disk_fault(error, error.filename or "output")
        logs.log.error("%s", fault or traceback.format_exc())
        return FAILED
    except Exception:
        logs.log.error("this is a fault of the program, please report it:\n%s", traceback.format_exc())
        return FAILED


def _run(main: Main[C], config: type[C], typed: argparse.Namespace) -> int:
    if typed.schema:
        print(json.dumps(config.model_json_schema(), indent=1, ensure_ascii=False))
        return DONE
    if typed.config is None:
        raise InputError("command line: no config given; for example configs/demo.yaml (see --help)")
    path = Path(typed.config)
    named = existing_run(path) if path.is_dir() else None
    loaded = load(named.path / "config.yaml" if named else path, config, typed.overrides)
    if typed.print_config:
        print(dump(loaded.config), end="")
        return DONE
    interrupt = Interrupt()
    interrupt.install()
    outcome = main(Job(loaded.config, interrupt, typed.new, named, typed.config, tuple(typed.overrides)))
    logs.log.info("%s", _from_here(outcome.wrote))
    if outcome.then and SERIES not in os.environ:
        logs.log.info("next: %s", _from_here(outcome.then))
    return DONE


def _add_flag(parser: argparse.ArgumentParser, flag: str, setting: str, config: type[Section]) -> None:
    """Add an option that stands for a setting: a switch for a truth value, else with a value."""
    info = field_at(config, setting)
    about: dict[str, Any] = {"dest": setting, "default": [], "help": f"{info.description or ''} ({setting})".strip()}
    if info.annotation is bool:
        parser.add_argument(flag, action="append_const", const=f"{setting}=true", **about)
    else:
        parser.add_argument(flag, action="append", type=lambda text: f"{setting}={text}", metavar="VALUE", **about)


def _from_here(text: str) -> str:
    """Shorten paths below the current folder, so that a line can be read and pasted; settings stay as they were typed.

    Paths of settings start elsewhere (``ISOBAR_HOME``).
    """
    here = f"{Path.cwd()}{os.sep}"
    return " ".join(word if "=" in word else word.replace(here, "") for word in text.split(" "))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """Report a wrong command line in one line (argparse would print the usage first)."""
        sys.stderr.write(f"command line: {message}; see --help\n")
        sys.exit(BAD_INPUT)


def _parser(doc: str) -> argparse.ArgumentParser:
    parser = _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("config", nargs="?", help="a .yaml or .py config, or a run folder of results/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings on top, e.g. train.epochs=10")
    parser.add_argument("--new", action="store_true", help="start a further version of a run that exists")
    parser.add_argument("--print-config", action="store_true", help="print the resolved config and stop")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of configs and stop")
    parser.add_argument("--notify", action="store_true", help="tell your phone how it goes (docs/notify.md)")
    parser.add_argument("--verbose", action="store_true", help="log details")
    return parser
