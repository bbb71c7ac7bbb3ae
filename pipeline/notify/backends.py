"""The services that carry messages: ntfy, notify.run and whatever Apprise knows."""

from __future__ import annotations

import base64
import http.client
import importlib
import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pipeline.notify.courier import Target, Undelivered
from pipeline.notify.message import Message
from pipeline.notify.settings import Settings

_ASIDE = (400, 404, 405)
"""Answers of what stands before an ntfy server and lets only its topics through."""


@dataclass(frozen=True)
class Ntfy:
    """An ntfy server: a JSON object to its root, as in https://docs.ntfy.sh/publish/#publish-as-json."""

    server: str
    topic: str = field(repr=False)
    token: str = field(default="", repr=False)
    name: str = "ntfy"

    def send(self, message: Message, timeout: float) -> None:
        """Publish as JSON, in which titles are UTF-8; through headers where only the topic's own address answers."""
        about = {"title": message.title, "message": message.body, "priority": message.priority}
        text = json.dumps({"topic": self.topic, **about, "tags": list(message.tags)}, ensure_ascii=False)
        answer = _post(f"{self.server}/", text.encode(), {"Content-Type": "application/json", **self._who()}, timeout)
        if answer in _ASIDE:
            answer = _post(f"{self.server}/{self.topic}", message.body.encode(), self._headers(message), timeout)
        _accept(answer, self.server)

    def _who(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _headers(self, message: Message) -> dict[str, str]:
        about = {"Title": message.title, "Priority": str(message.priority), "Tags": ",".join(message.tags)}
        return {"Content-Type": "text/plain; charset=utf-8", **self._who()} | {n: _header(v) for n, v in about.items()}


def _header(text: str) -> str:
    """Return a header's value in ASCII: an encoded word of RFC 2047 where there are other characters."""
    if text.isascii():
        return text
    return f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="


@dataclass(frozen=True)
class NotifyRun:
    """A channel of notify.run, to which its own client posts ``message=…`` as a form; it has no titles."""

    endpoint: str = field(repr=False)
    name: str = "notify.run"

    def send(self, message: Message, timeout: float) -> None:
        """Post the title and the text as one."""
        form = urllib.parse.urlencode({"message": f"{message.title}\n{message.body}"})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        parts = urlsplit(self.endpoint)
        _accept(_post(self.endpoint, form.encode(), kind, timeout), f"{parts.scheme}://{parts.hostname}")


@dataclass(frozen=True)
class Apprise:
    """Any URL that Apprise understands (mail, Slack, Telegram, …)."""

    url: str = field(repr=False)
    name: str = "apprise"

    def send(self, message: Message, timeout: float) -> None:
        """Hand over to Apprise, which has its own time-outs (``cto`` and ``rto`` in the URL, 4 s each)."""
        # What Apprise logs may hold the URL, and with it a password.
        logging.getLogger("apprise").handlers[:] = [logging.NullHandler()]
        logging.getLogger("apprise").propagate = False
        kind = {"done": "success", "failed": "failure", "interrupted": "warning"}.get(message.event, "info")
        try:
            apprise: Any = importlib.import_module("apprise")
            carrier = apprise.Apprise()
            if not carrier.add(self.url):
                raise Undelivered("not a URL that Apprise knows; see https://github.com/caronc/apprise/wiki")
            taken = carrier.notify(title=message.title, body=message.body, notify_type=kind)
        except ImportError:
            raise Undelivered("Apprise is not installed") from None
        if not taken:
            raise Undelivered("Apprise could not send it")


def targets(settings: Settings) -> list[Target]:
    """Return every place that is configured."""
    found: list[Target] = []
    if settings.topic:
        found.append(Ntfy(settings.server, settings.topic, settings.token))
    if settings.endpoint:
        found.append(NotifyRun(settings.endpoint))
    found += [Apprise(url, f"apprise-{number}") for number, url in enumerate(settings.urls, 1)]
    return found


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to wherever it points, and turn the message into a mere GET."""

    def redirect_request(self, *arguments: Any, **more: Any) -> None:
        return None


def _post(url: str, data: bytes, headers: dict[str, str], timeout: float) -> int:
    """Return the status of the answer.

    Raises:
        Undelivered: there was none in time.
    """
    request = urllib.request.Request(url, data, {"User-Agent": "isobar", **headers}, method="POST")  # noqa: S310
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, http.client.HTTPException, ValueError) as error:
        parts = urlsplit(url)
        raise Undelivered(f"{parts.scheme}://{parts.hostname}: {_reason(error, timeout)}") from None


def _reason(error: Exception, timeout: float) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(cause, OSError):
        return str(cause.strerror or type(cause).__name__)
    return type(cause).__name__


def _accept(status: int, server: str) -> None:
    if not 200 <= status < 300:
        meaning = {401: " (wrong or missing token)", 403: " (not allowed for this token)", 429: " (too many messages)"}
        raise Undelivered(f"{server}: answer {status}{meaning.get(status, '')}")
