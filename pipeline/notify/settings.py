"""Whom to tell and how: command line over environment over ``~/.config/isobar/notify.env``."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.core.errors import InputError
from pipeline.notify.message import EVENTS

DEFAULT_SERVER = "https://ntfy.sh"
PRIORITIES = {"min": 1, "low": 2, "default": 3, "high": 4, "max": 5, "urgent": 5}
_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
_PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Settings:
    """Everything that was configured; only ``topic``, ``token``, ``endpoint`` and ``urls`` are secret."""

    label: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    priority: int | None = None
    host: str = ""
    server: str = DEFAULT_SERVER
    topic: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    endpoint: str = field(default="", repr=False)
    urls: tuple[str, ...] = field(default=(), repr=False)
    events: frozenset[str] = frozenset(EVENTS)
    timeout: float = 5.0
    wait: float = 6.0
    spool: bool = False
    outbox: Path = Path("results/.outbox")
    log: Path | None = None

    def secrets(self) -> tuple[str, ...]:
        """Return what must never be told; a short topic is left, as it may be a word of any log."""
        topic = (self.topic,) if len(self.topic) >= 12 else ()
        parts = [unquote(part) for url in self.urls for part in re.split(r"[/@:?&=]", url) if len(part) >= 8]
        return (self.token, self.endpoint, urlsplit(self.endpoint).path.strip("/"), *self.urls, *parts, *topic)

    @property
    def somebody(self) -> bool:
        """Tell whether there is anybody to tell."""
        return bool(self.topic or self.endpoint or self.urls)


Warn = Callable[[str], None]


def settings(typed: Mapping[str, Any], environment: Mapping[str, str], warn: Warn) -> Settings:
    """Combine the command line with the environment and the files of the user.

    A wrong value of the command line is refused; a wrong one of the environment is named and left out, because it must
    not keep a job from running.

    Raises:
        InputError: a wrong value on the command line.
    """
    known = {**_file(environment, warn), **{name: value for name, value in environment.items() if value}}
    values: dict[str, Any] = {"host": socket.gethostname().split(".")[0], "outbox": _outbox(known)}
    for name, (variables, read) in _READ.items():
        found = next((variable for variable in variables if known.get(variable)), None)
        if typed.get(name) not in (None, "", []):
            values[name] = _option(name, typed[name], read)
        elif found is not None:
            try:
                values[name] = read(known[found])
            except InputError as error:
                warn(f"{found}: {error}; it is left out")
    values["endpoint"] = values.get("endpoint") or _notify_run_endpoint(known, warn)
    return _whole_url(Settings(**values))


def _option(name: str, value: Any, read: Callable[[str], Any]) -> Any:
    try:
        return read(value) if isinstance(value, str) else value
    except InputError as error:
        raise InputError(f"--{name}: {error}") from None


def _outbox(known: Mapping[str, str]) -> Path:
    return Path(known.get("ISOBAR_HOME", _PROJECT)) / "results" / ".outbox"


def _priority(text: str) -> int:
    number = PRIORITIES.get(text.lower(), int(text) if text.isdigit() else 0)
    if not 1 <= number <= 5:
        raise InputError(f"{text!r} is no priority; allowed are 1 to 5, {', '.join(PRIORITIES)}")
    return number


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text.rsplit("/", 1)[-1]) or ("/" in text and not _is_url(text)):
        raise InputError("not a topic: up to 64 of A-Z a-z 0-9 - _, or https://server/topic")
    return text


def _server(text: str) -> str:
    if not _is_url(text):
        raise InputError("not a server: write https://host or http://host:port")
    return text.rstrip("/")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _token(text: str) -> str:
    """Read a token, or the file that holds it (``@file``)."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{text[1:]}: cannot read the token from it ({error})") from None
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise InputError("not a token: one word of ASCII characters")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 600:
        raise InputError(f"{text!r} is no duration; allowed are seconds above 0, up to 600")
    return value


def _events(text: str) -> frozenset[str]:
    names = _words(text)
    wrong = [name for name in names if name not in EVENTS]
    if wrong or not names:
        raise InputError(f"{text!r} is no list of events; allowed are {', '.join(EVENTS)}")
    return frozenset(names)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _truth(text: str) -> bool:
    return text.strip().lower() in ("1", "yes", "true", "on")


_READ: dict[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    "label": (("NTFY_LABEL", "HOST_LABEL"), str),
    "title": (("NTFY_TITLE",), str),
    "tags": (("NTFY_TAGS",), _words),
    "priority": (("NTFY_PRIORITY",), _priority),
    "host": (("HOST_HOSTNAME",), str),
    "server": (("NTFY_SERVER",), _server),
    "topic": (("NTFY_TOPIC",), _topic),
    "token": (("NTFY_TOKEN",), _token),
    "endpoint": (("NOTIFY_RUN_ENDPOINT",), _server),
    "urls": (("APPRISE_URLS",), lambda text: tuple(text.split())),
    "events": (("NTFY_ON",), _events),
    "timeout": (("NTFY_TIMEOUT",), _seconds),
    "wait": (("NTFY_WAIT",), _seconds),
    "spool": (("NTFY_SPOOL",), _truth),
    "outbox": (("NTFY_OUTBOX",), lambda text: Path(text).expanduser()),
    "log": ((), lambda text: Path(text).expanduser()),
}
"""Setting → the variables that give it, and how its text is read."""


def _whole_url(found: Settings) -> Settings:
    """Split a topic that was given with its server."""
    if "/" not in found.topic:
        return found
    server, topic = found.topic.rsplit("/", 1)
    return Settings(**{**found.__dict__, "server": server, "topic": topic})


def _config_folder(known: Mapping[str, str]) -> Path:
    return Path(known.get("XDG_CONFIG_HOME") or Path(known.get("HOME", "~")).expanduser() / ".config")


def _file(environment: Mapping[str, str], warn: Warn) -> dict[str, str]:
    """Read lines ``NAME=value`` of the user's file; it keeps secrets out of shell profiles and environments."""
    path = _config_folder(environment) / "isobar" / "notify.env"
    try:
        if not path.exists():
            return {}
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            warn(f"{path}: others can read it; close it with: chmod 600 {path}")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        warn(f"{path}: cannot be read ({error}); it is left out")
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in map(str.strip, lines) if line[:1] not in ("", "#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _notify_run_endpoint(known: Mapping[str, str], warn: Warn) -> str:
    """Return the channel that ``notify-run register`` or ``configure`` of notify.run wrote down."""
    path = _config_folder(known) / "notify-run"
    try:
        return _server(json.loads(path.read_text(encoding="utf-8"))["endpoint"]) if path.is_file() else ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError):
        warn(f'{path}: not {{"endpoint": "https://…"}}; notify.run is left out')
        return ""


def told_already(environment: Mapping[str, str]) -> bool:
    """Tell whether ``notify-run`` is above this process: a job's own ``--notify`` would tell everything twice."""
    host, _, pid = environment.get(WRAPPED, "").rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    above = os.getppid()
    while above > 1:
        if above == int(pid):
            return True
        above = _parent(above)
    return False


WRAPPED = "ISOBAR_NOTIFY_RUN"
"""``host:pid`` of the ``notify-run`` that started a command; it is inherited by batch jobs, so it must be verified."""


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
