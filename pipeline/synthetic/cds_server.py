"""A made-up Climate Data Store on this machine: the interface of the real one, invented weather, faults on demand.

``python -m pipeline.synthetic.cds_server --folder STATE --port 8099`` prints the two lines for ``~/.cdsapirc`` and
serves until it is stopped; tests use :class:`CdsServer`. The folder keeps jobs, files and ``requests.jsonl``, a line
for each request, so a server that was killed goes on where it was. Written after the behaviour of the public service
(cads-processing-api-service, ogc-api-processes-fastapi) and what its users quote of its answers.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import socket
import struct
import sys
import termios
import threading
import time
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.synthetic.cds_answers import Answer, page
from pipeline.synthetic.cds_faults import FAULTS, Fault, Faulty, Rules
from pipeline.synthetic.cds_jobs import Job, Submission
from pipeline.synthetic.cds_service import Call, Options, Service, flipped

_ARRIVAL_SECONDS = 60.0
"""The longest wait for a client that reads slowly, or no more."""


class CdsServer:
    """The service in a thread of this process; ``with CdsServer(folder, queue_seconds=1, faults=["failed:2"]) as cds``.

    ``options``: fields of :class:`~pipeline.synthetic.cds_service.Options`. ``faults``: see
    :class:`~pipeline.synthetic.cds_faults.Rules`. ``port`` 0: any free one; it is kept when stopped and started again.
    """

    def __init__(self, folder: Path, *, port: int = 0, faults: Faulty = (), **options: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._port = port
        self._service = Service(folder, Options(**options), faults)
        self._http: _Http | None = None

    def __enter__(self) -> CdsServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Answer from now on."""
        self._http = _Http(("127.0.0.1", self._port), self._service)
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more; connections are cut, as when the service goes down."""
        if self._http is not None:
            self._http.shutdown()
            self._http.cut()
            self._http = None

    def change(self, **options: Any) -> None:
        """Change options while the server runs."""
        self._service.set_options(replace(self._service.options, **options))

    @property
    def url(self) -> str:
        """What ``~/.cdsapirc`` calls ``url``."""
        return f"http://127.0.0.1:{self._port}/api"

    @property
    def key(self) -> str:
        """What ``~/.cdsapirc`` calls ``key``."""
        return self._service.options.key

    @property
    def faults(self) -> Rules:
        """The rules of the faults."""
        return self._service.faults

    @property
    def submissions(self) -> list[Submission]:
        """The requests that were accepted, oldest first: data set, words, id."""
        return self._service.jobs.submissions

    @property
    def most_in_flight(self) -> int:
        """The most jobs that waited or ran at one time."""
        return self._service.jobs.most_in_flight

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The log: time, method, path, kind, status, job and fault of each request, oldest first."""
        path = self.folder / "requests.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []

    def count(self, kind: str, status: int | None = None) -> int:
        """Return how many requests of a kind there were (``submit``, ``status``, ``results``, ``download`` …)."""
        return sum(line["kind"] == kind and status in (None, line["status"]) for line in self.requests)

    def wait_for(self, true: Callable[[CdsServer], object], seconds: float = 300.0) -> None:
        """Wait until ``true(self)``.

        Raises:
            TimeoutError: it did not come true in time.
        """
        deadline = time.monotonic() + seconds
        while not true(self):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server waited {seconds} s in vain")
            time.sleep(0.01)


class _Http(ThreadingHTTPServer):
    """Keeps its connections, so that they can be cut."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service, self._open = service, set[socket.socket]()
        self._log_lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that went away; show what is wrong with the server itself."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def cut(self) -> None:
        """Close everything."""
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def note(self, call: Call, status: int, sent: int) -> None:
        """Add a line to the log; written before the answer, so that nothing is answered and not noted."""
        told = {"time": round(time.time(), 3), "method": call.method, "path": call.path, "kind": call.kind}
        told |= {"status": status, "bytes": sent, "job": call.job, "fault": call.fault}
        with self._log_lock, (self.service.folder / "requests.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(told) + "\n")


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def log_message(self, *_: object) -> None:
        """Say nothing: the log has it."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        root = f"http://{self.headers.get('Host')}"
        query = urllib.parse.parse_qs(parts.query)
        call = Call(self.command, self.path, query, self.headers.get("PRIVATE-TOKEN"), body, root)
        if parts.path.startswith("/cache/"):
            self._send_file(call, parts.path)
            return
        service = self.server.service
        answer = service.answer(call)
        if self._broken(call, service.faults.strike("wire", call.kind, service.words(call)), answer.status):
            return
        self._send(call, answer)

    def _broken(self, call: Call, fault: str, status: int) -> bool:
        """Do what a fault of the connection does; true when there is nothing left to send."""
        call.fault = fault or call.fault
        if fault == "slow":
            time.sleep(self.server.service.options.slow_seconds)
        if fault in ("", "slow"):
            return False
        self.server.note(call, status, 0)
        if fault == "silent":
            time.sleep(self.server.service.options.stall_seconds)
        self._hang_up(reset=fault == "reset")
        return True

    def _hang_up(self, reset: bool) -> None:
        self.close_connection = True
        self.wfile.flush()
        if reset:
            # Linger of 0 seconds: the peer gets a reset and what was not sent is dropped (socket(7)).
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, call: Call, answer: Answer) -> None:
        self.server.note(call, answer.status, len(answer.body))
        self._head(answer.status, {**answer.headers, "Content-Length": str(len(answer.body))})
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    # --- files -------------------------------------------------------------------------------------------------------
    def _send_file(self, call: Call, path: str) -> None:
        call.kind, call.job = "download", path.split("/")[2]
        service = self.server.service
        job = service.jobs.find(call.job)
        text = service.words(call)
        # A client asks for the head first: faults of the transfer wait for the transfer.
        whole = self.command == "GET"
        if self._broken(call, service.faults.strike("wire", "download", text) if whole else "", 0):
            return
        call.fault = service.faults.strike("refuse", "download", text) if whole else ""
        if call.fault or job is None or not service.path(job).is_file():
            self._send(call, _missing(call.fault))
            return
        self._transfer(call, job, service.faults.strike("body", "download", text) if whole else "")

    def _transfer(self, call: Call, job: Job, fault: str) -> None:
        call.fault = fault
        data = self.server.service.content(job)
        if fault == "html_page":
            self._send(call, page(200))
            return
        first, last = (0, len(data)) if fault == "no_range" else _range(self.headers.get("Range"), len(data))
        headers = {"Content-Type": "application/octet-stream", "ETag": f'"{job.id}"'}
        if fault != "no_range":
            headers["Accept-Ranges"] = "bytes"
        if first >= len(data) and data:
            self._send(call, Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"}))
            return
        part = data[first:last]
        partial = len(part) < len(data)
        if partial:
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{len(data)}"
        self.server.note(call, 206 if partial else 200, len(part))
        self._head(206 if partial else 200, {**headers, "Content-Length": str(len(part))})
        if self.command != "HEAD":
            self._write(part, fault)

    def _write(self, part: bytes, fault: str) -> None:
        if fault not in ("reset_body", "short_body", "stall_body"):
            self.wfile.write(flipped(part) if fault == "flipped_body" else part)
            return
        self.wfile.write(part[: len(part) // 2])
        self.wfile.flush()
        if fault == "reset_body":
            self._wait_for_arrival()
        elif fault == "stall_body":
            time.sleep(self.server.service.options.stall_seconds)
        self._hang_up(reset=fault == "reset_body")

    def _wait_for_arrival(self) -> None:
        """Wait until the client's side holds all that was sent: a reset drops what it does not (tcp(7), SIOCOUTQ)."""
        deadline = time.monotonic() + _ARRIVAL_SECONDS
        while any(fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4))) and time.monotonic() < deadline:
            time.sleep(0.005)


def _missing(fault: str) -> Answer:
    """Return the answer of the object store for a file that it does not have, or of a fault."""
    if fault.startswith("http_50") and fault != "http_500":
        return page(int(fault[-3:]))
    code = "InternalError" if fault == "http_500" else "NoSuchKey"
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'.encode()
    return Answer(500 if fault == "http_500" else 404, body, {"Content-Type": "application/xml"})


def _range(header: str | None, size: int) -> tuple[int, int]:
    """Return the first byte and the one after the last that a ``Range`` header asks for (one range, RFC 9110, 14)."""
    unit, _, span = (header or "").partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or not first.isdigit():
        return 0, size
    return int(first), min(int(last) + 1, size) if last.isdigit() else size


# --- command line ----------------------------------------------------------------------------------------------------
def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.synthetic.cds_server", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="where jobs, files and the log are kept")
    add("--port", type=int, default=0, help="0: any free one")
    add("--native", type=float, default=0.25, help="spacing of the data in degrees")
    add("--latest", type=date.fromisoformat, default=None, help="last day that can be had; default: five days ago")
    add("--final-until", type=date.fromisoformat, default=None, help="days after it are preliminary (ERA5T)")
    add("--queue-seconds", type=float, default=0.0, help="how long a job waits")
    add("--run-seconds", type=float, default=0.0, help="how long a job runs")
    add("--slots", type=int, default=1000, help="jobs that run at one time")
    add("--limit", type=float, default=60_000.0, help="most fields of one request")
    add("--queued", type=int, default=200, help="most jobs that may wait")
    add("--no-licence", dest="accepted", action="store_false", help="the licence is not accepted yet")
    names = "; ".join(f"{name}: {behaviour.about}" for name, behaviour in FAULTS.items())
    add("--fault", dest="faults", action="append", default=[], metavar="NAME[:TIMES]", help=names.replace("%", "%%"))
    return parser.parse_args()


def main() -> int:
    """Serve until interrupted."""
    settings = vars(_arguments())
    try:
        faults = [Fault.parse(text) for text in settings.pop("faults")]
    except (InputError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    server = CdsServer(settings.pop("folder"), faults=faults, **settings)
    try:
        server.start()
    except OSError as error:
        print(f"error: --port {settings['port']}: {error.strerror}; choose another one", file=sys.stderr)
        return 1
    print(f"url: {server.url}\nkey: {server.key}", flush=True)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
