"""A real HTTP server that speaks what ntfy and notify.run speak, and can be slow, broken or strict."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

PATIENCE = 60.0
"""Seconds until a test gives up on what takes moments on a machine that does nothing else."""


@dataclass
class Service:
    """What was received, and how to answer."""

    port: int = 0
    status: int = 200
    delay: float = 0.0
    only_topics: bool = False
    """Refuse JSON at the root, as a proxy does that lets through a topic's own address only."""
    token: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def titles(self) -> list[str]:
        return [message["title"] for message in self.got]

    def wait_for(self, count: int, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """Return the messages once there are ``count``."""
        end = time.monotonic() + seconds
        while len(self.got) < count and time.monotonic() < end:
            time.sleep(0.02)
        assert len(self.got) >= count, self.got
        return self.got


def _word(text: str) -> str:
    """Decode an encoded word of RFC 2047, as ntfy does with its headers."""
    found = re.fullmatch(r"=\?UTF-8\?B\?(.*)\?=", text)
    return base64.b64decode(found[1]).decode() if found else text


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def do_POST(self) -> None:
        service = self.service
        status = service.status  # before the request is counted: who sees it counted may change what comes next
        service.requests += 1
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(service.delay)
        if service.token and self.headers.get("Authorization") != f"Bearer {service.token}":
            status = 401
        if status == 200 and self.path == "/" and service.only_topics:
            status = 404
        if status == 200:
            service.got.append(self._read(raw.decode("utf-8")))
        try:
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        except OSError:
            return  # the client gave up

    def _read(self, text: str) -> dict[str, Any]:
        if self.headers["Content-Type"] == "application/x-www-form-urlencoded":
            title, _, body = parse_qs(text, strict_parsing=True)["message"][0].partition("\n")
            return {"by": "notify.run", "topic": self.path, "title": title, "body": body}
        if self.path == "/":
            value = json.loads(text)
            return {"by": "ntfy", "body": value.pop("message"), **value}
        tags = _word(self.headers["Tags"]).split(",")
        about = {"title": _word(self.headers["Title"]), "priority": int(self.headers["Priority"]), "tags": tags}
        return {"by": "ntfy by headers", "topic": self.path[1:], "body": text, **about}

    def log_message(self, *arguments: object) -> None:
        return


@contextmanager
def serving(**about: Any) -> Iterator[Service]:
    """Serve on a free port until the block ends."""
    service = Service(**about)
    handler = type("Handler", (_Handler,), {"service": service})
    with ThreadingHTTPServer(("127.0.0.1", service.port), handler) as server:
        service.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
