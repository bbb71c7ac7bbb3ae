"""The process that makes the files of the made-up Climate Data Store.

The NetCDF library must not be used by two threads of one process, and the program under test uses it as well, so
``python -m pipeline.synthetic.cds_workshop`` makes them: it reads orders as lines of JSON and ends when its input ends,
which is also when the server is killed.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from pipeline.synthetic.cds_delivery import Order, deliver
from pipeline.synthetic.plan import Weather


class Workshop:
    """The process that makes files; started with the first order, it serves all servers of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def make(self, order: Order, path: Path) -> str:
        """Make the file of an order unless it is there; return what went wrong, or nothing."""
        with self._lock:
            if path.is_file():
                return ""
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
            inlet, outlet = self._process.stdin, self._process.stdout
            if inlet is None or outlet is None:
                raise RuntimeError("the process that makes files has no pipes")
            inlet.write(json.dumps({"order": asdict(order), "path": str(path)}, default=str) + "\n")
            inlet.flush()
            answer = outlet.readline()
        return str(json.loads(answer)["error"]) if answer else "the process that makes files has ended"

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipeline.synthetic.cds_workshop"]
        # A session of its own: Ctrl-C is for the server, whose end ends this process too.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        atexit.register(process.kill)
        return process


WORKSHOP = Workshop()


def _order(found: dict[str, Any]) -> Order:
    """Read an order as JSON carries it."""
    days = {key: date.fromisoformat(found[key]) if found[key] else None for key in ("latest", "final_until")}
    weather = Weather(**{**found["weather"], "types": tuple(found["weather"]["types"])})
    return Order(**{**found, **days, "weather": weather})


def main() -> None:
    """Make the files that the lines of the standard input order, one after the other."""
    for line in sys.stdin:
        task = json.loads(line)
        error = ""
        try:
            deliver(_order(task["order"]), Path(task["path"]))
        except Exception as problem:  # whatever it is, the server tells it as the failure of a job
            error = f"{type(problem).__name__}: {problem}"
        print(json.dumps({"error": error}), flush=True)


if __name__ == "__main__":
    main()
