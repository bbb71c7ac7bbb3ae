"""The command line of ``notify-run``, and the programs that other jobs start: ``watch`` and ``send``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.core.errors import BAD_INPUT, DONE, FAILED, IsobarError
from pipeline.notify.courier import Courier, Manner, Target, Undelivered, flush
from pipeline.notify.message import EVENTS
from pipeline.notify.outbox import Outbox
from pipeline.notify.output import OURS, Follower, Output, output_of
from pipeline.notify.settings import Settings, settings, told_already
from pipeline.notify.story import Ended, Story, array_digest
from pipeline.notify.watch import watch
from pipeline.notify.wrap import NotStarted, Running, leave, open_log, shell_code

_DOC = """Run a command and tell your phone when it starts, ends or fails.

  notify-run via-tml2 -- nohup python jobs/train.py configs/natlantic.yaml > train.log 2>&1 &
  notify-run -l train.log -p high -- python jobs/train.py configs/natlantic.yaml
  python jobs/notify_run.py via-tml2 -- python jobs/train.py configs/demo.yaml
  notify-run --test          send a test message
  notify-run --flush         send what could not be sent where the job ran

Whom to tell: NTFY_TOPIC (NTFY_SERVER, NTFY_TOKEN), ~/.config/notify-run of notify.run, APPRISE_URLS; in the
environment or as lines NAME=value in ~/.config/isobar/notify.env. See docs/notify.md."""


def entry() -> None:
    """Be the console script ``notify-run``: end at once, whatever a dead server still keeps waiting."""
    _hide_secrets()
    leave(notify_run(sys.argv[1:]))


def notify_run(arguments: list[str]) -> int:
    """Run ``notify-run`` and return the exit code: the command's own, 2 for a wrong command line."""
    typed, command = _parse(arguments)
    try:
        found = settings(typed, os.environ, warn)
        if typed["test"] or typed["flush"] or typed["digest"]:
            return _service(found, typed)
        return _run(found, command)
    except IsobarError as error:
        warn(str(error))
        return error.exit_code


def beside_job(arguments: Sequence[str]) -> int:
    """Run ``python -m pipeline.notify watch PID COMMAND…``, the program that ``--notify`` of a job starts."""
    found = settings({}, os.environ, warn)
    story = Story(found, arguments[1:], os.environ)
    if not (story.silent or told_already(os.environ)) and _somebody(found):
        watch(story, _courier(found), int(arguments[0]), output_of([]), found.wait)
    return DONE


def send(arguments: Sequence[str]) -> int:
    """Run ``python -m pipeline.notify send EVENT TITLE… [-]``: one message, with standard input as text after ``-``."""
    event, words = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if event not in EVENTS:
        warn(f"send: {event!r} is no event; allowed are {', '.join(EVENTS)}")
        return BAD_INPUT
    text = sys.stdin.read() if words[-1:] == ["-"] else ""
    found = settings({"title": " ".join(words).removesuffix(" -")}, os.environ, warn)
    if _somebody(found):
        _tell(found, Story(found, [], os.environ).note(event, text))
    return DONE


def warn(text: str) -> None:
    """Tell the user on standard error, which may be a terminal that was closed."""
    try:
        os.write(2, f"{OURS}{text}\n".encode(errors="replace"))
    except OSError:
        return


def _run(found: Settings, command: list[str]) -> int:
    """Run the command between two messages."""
    size = open_log(found.log) if found.log else 0
    output = Output(str(found.log), size) if found.log else output_of(command)
    story, began = Story(found, command, os.environ), time.monotonic()
    try:
        running = Running(command, found.log)
    except NotStarted as error:
        warn(str(error))
        if _somebody(found) and not story.silent:
            _tell(found, story.end(Ended(error.code, 0.0, (str(error),))))
        return error.code
    courier = _courier(found) if not story.silent and _somebody(found) else None
    follower = Follower(found.log, size) if found.log else None
    if courier:
        courier.tell(story.start)
    code = running.wait()
    ended = Ended(code, time.monotonic() - began, output.last_lines() if output else ())
    if follower:
        follower.close(found.wait)
    if courier:
        courier.tell(lambda: story.end(ended))
        courier.close(found.wait)
    return shell_code(code)


def _targets(found: Settings) -> list[Target]:
    # Imported only now that the command runs: clients of HTTP take a tenth of a second.
    from pipeline.notify.backends import targets

    return targets(found)


def _manner(found: Settings) -> Manner:
    return Manner(Outbox(found.outbox), found.timeout, found.spool, warn)


def _courier(found: Settings) -> Courier:
    return Courier(_targets(found), _manner(found))


def _tell(found: Settings, message: Any) -> None:
    courier = _courier(found)
    courier.tell(lambda: message)
    courier.close(found.wait)


def _somebody(found: Settings) -> bool:
    if not found.somebody:
        warn("nobody to tell; set NTFY_TOPIC (see docs/notify.md)")
    return found.somebody


def _service(found: Settings, typed: dict[str, Any]) -> int:
    """Do what needs no command: test, digest or flush."""
    if not _somebody(found):
        return BAD_INPUT
    if typed["test"]:
        return _test(found)
    if typed["digest"]:
        _tell(found, array_digest(found, typed["digest"], os.environ, warn))
        return DONE
    sent, left = flush(_targets(found), _manner(found))
    print(f"{sent} sent, {left} left in {found.outbox}")
    return FAILED if left else DONE


def _test(found: Settings) -> int:
    """Send a message to each target and say how that went."""
    about = replace(found, title="a test · 試験 · é", events=frozenset(EVENTS))
    message = Story(about, [], os.environ).note("info", "If you can read this, it works.")
    failed = False
    for target in _targets(found) if message else []:
        try:
            target.send(message, found.timeout)  # type: ignore[arg-type]  # there is one in this branch
            print(f"{target.name}: sent")
        except Undelivered as error:
            failed = True
            print(f"{target.name}: {error}")
    return FAILED if failed else DONE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """Report a wrong command line in one line."""
        warn(f"{message}; write: notify-run [LABEL] [options] -- COMMAND … (see --help)")
        sys.exit(BAD_INPUT)


def _add_secrets(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-t", "--topic", help="ntfy topic, or https://server/topic (NTFY_TOPIC)")
    add("-T", "--token", help="ntfy token, or @FILE that holds it (NTFY_TOKEN)")
    add("--url", dest="urls", metavar="URL", help="Apprise URLs (APPRISE_URLS)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "notify-run",
        "notify-run [LABEL] [options] -- COMMAND …",
        _DOC,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("label", nargs="?", help="begins the titles (NTFY_LABEL, HOST_LABEL; else the host)")
    add("-l", "--log", metavar="FILE", help="append the output to FILE, and show it")
    add("-p", "--priority", metavar="1-5", help="of all but failures, which are 5 (NTFY_PRIORITY)")
    _add_secrets(parser)
    add("-s", "--server", help="ntfy server (NTFY_SERVER; https://ntfy.sh)")
    add("-H", "--host", help="name of this machine in the messages (HOST_HOSTNAME)")
    add("--title", help="instead of the command in the titles (NTFY_TITLE)")
    add("--tags", help="further tags, a,b (NTFY_TAGS)")
    add("--on", dest="events", metavar="a,b", help=f"tell these events only (NTFY_ON): {', '.join(EVENTS)}")
    add("--timeout", metavar="S", help="seconds for one attempt (NTFY_TIMEOUT; 5)")
    add("--wait", metavar="S", help="seconds to wait for the messages at the end, at most (NTFY_WAIT; 6)")
    add("--outbox", metavar="DIR", help="where messages are kept until sent (NTFY_OUTBOX; results/.outbox)")
    add("--spool", action="store_true", default=None, help="only keep messages: no internet here (NTFY_SPOOL=1)")
    add("--flush", action="store_true", help="send what was kept")
    add("--test", action="store_true", help="send a test message")
    add("--digest", metavar="ARRAY", help="tell how the tasks of a Slurm array went, as far as is known")
    add("--secrets", type=int, help=argparse.SUPPRESS)
    return parser


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return what is before ``--``, and the rest with it."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place:]


def _parse(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Read the options, with those that came through the pipe of :func:`_hide_secrets`, and the command."""
    parser = _parser()
    own, rest = _split(arguments)
    typed, command = vars(parser.parse_args(own)), rest[1:]
    if not (command or typed["flush"] or typed["test"] or typed["digest"]):
        parser.error("no command after --" if rest else "no -- and no command")
    if typed["secrets"] is not None:
        with os.fdopen(typed["secrets"], encoding="utf-8") as stream:
            typed |= json.load(stream)
    return typed, command


def _hide_secrets() -> None:
    """Start anew without the secret options, which everybody on the machine could read in the list of processes.

    They come back through a pipe; the process stays the same one.
    """
    own, rest = _split(sys.argv[1:])
    parser = _Parser(add_help=False, allow_abbrev=False)
    _add_secrets(parser)
    given, others = parser.parse_known_args(own)
    hidden = {name: value for name, value in vars(given).items() if value is not None}
    if hidden:
        out, into = os.pipe()
        os.write(into, json.dumps(hidden).encode())
        os.close(into)
        os.set_inheritable(out, True)
        program = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
        os.execv(sys.executable, [*program, "--secrets", str(out), *others, *rest])  # noqa: S606
