"""Processes of jobs without the seconds that Python takes to import: each forked from one that has imported all.

A job runs as ``python jobs/<job>.py`` does: its file as ``__main__``, an environment, a working folder, standard
streams, signals and an exit code of its own. What differs is that a kill falls on its work and not on its imports.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from pipeline.core.errors import FAILED

ROOT = Path(__file__).parents[2]
LOADED = (
    "pyproj", "torch", "torchvision", "timm", "lightning_fabric", "xarray", "netCDF4", "h5netcdf", "matplotlib.pyplot",
    "optuna", "lightgbm", "sklearn.metrics", "PIL.Image", "requests", "cdsapi", "ecmwf.datastores", "rich.progress",
    "pipeline.experiment", "pipeline.download.stage", "pipeline.derive.stage", "pipeline.store.stage",
    "pipeline.store.images.stage", "pipeline.train.stage", "pipeline.thresholds.stage", "pipeline.evaluate.stage",
    "pipeline.report.stage", "pipeline.tune.stage", "pipeline.tune.job", "pipeline.sweep.stage",
    "pipeline.importance.stage", "pipeline.report.importance", "pipeline.predict.stage", "pipeline.predict.job",
)  # fmt: skip
"""Of the modules that jobs load late; one that is missing is left to the job that needs it."""


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    code: int
    text: str
    """Standard output and error."""


@dataclass(frozen=True)
class Order:
    """What is to run, and in which surroundings."""

    job: str
    arguments: Sequence[object]
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    """All variables, instead of those of the nursery with ``home`` and ``variables`` on top."""
    hook: str = ""
    """``module:function`` that the child calls before the job begins."""
    memory_mb: int | None = None
    """Address space beyond what the imports have taken."""
    file_bytes: int | None = None
    """Size that no file may pass (``ulimit -f``)."""

    def as_json(self) -> dict[str, Any]:
        script = self.job if "/" in self.job else str(ROOT / "jobs" / f"{self.job}.py")
        return {
            "words": [script, *map(str, self.arguments)],
            "variables": {"ISOBAR_HOME": str(self.home), "OMP_NUM_THREADS": "1", **self.variables},
            "environment": None if self.environment is None else dict(self.environment),
            "hook": self.hook,
            "memory_mb": self.memory_mb,
            "file_bytes": self.file_bytes,
        }


@dataclass
class Child:
    """A job at work."""

    pid: int
    out: Path
    _ask: Callable[[dict[str, Any]], Any]
    _code: int | None = field(default=None)

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while it is at work."""
        if self._code is None:
            self._code = self._ask({"poll": self.pid})
        return self._code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the job, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def text(self) -> str:
        """What it has said so far; what went to standard error comes after the rest."""
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in (self.out, errors_of(self.out)))

    def wait(self, seconds: float = 240) -> Ended:
        """Wait for its end.

        Raises:
            TimeoutError: it did not end in time; it is killed.
        """
        until, pause = time.monotonic() + seconds, 0.001
        while self.poll() is None:
            if time.monotonic() > until:
                self.send(signal.SIGKILL)
                raise TimeoutError(f"process {self.pid} did not end within {seconds} s: {self.text[-2000:]}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
        return Ended(self.poll() or 0, self.text)


class Nursery:
    """The process that forks jobs; use it as a context manager."""

    def __init__(self, folder: Path, variables: Mapping[str, str] = MappingProxyType({})) -> None:
        """Start it; ``folder`` is for what jobs print, ``variables`` are of its environment (a preloaded library)."""
        self.folder, self._count = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        quiet = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), **variables}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **quiet},
            text=True,
        )
        self._ready = False

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it; jobs at work are not waited for."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(30)

    def start(self, order: Order) -> Child:
        """Start a job."""
        self._count += 1
        out = self.folder / f"{self._count:05d}.txt"
        pid = self._ask({**order.as_json(), "out": str(out)})
        return Child(int(pid), out, self._ask)

    def run(self, job: str, *arguments: object, home: Path, seconds: float = 240, **more: Any) -> Ended:
        """Run a job to its end."""
        return self.start(Order(job, arguments, home, **more)).wait(seconds)

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._ready:
            assert self._process.stdout.readline().strip() == "ready"
            self._ready = True
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def nursery(folder: Path, variables: Mapping[str, str] = MappingProxyType({})) -> Iterator[Nursery]:
    """Open a nursery."""
    with Nursery(folder, variables) as found:
        yield found


# --- the other side ------------------------------------------------------------------------------------------


def _load() -> None:
    for name in LOADED:
        with suppress(ImportError):
            import_module(name)
    gc.collect()
    gc.freeze()  # so that children need not copy every page when they collect


def _serve() -> dict[str, Any] | None:
    """Answer questions; in a child return what it is to run, else ``None`` at the end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in iter(sys.stdin.readline, ""):
        question = json.loads(line)
        if "poll" in question:
            answer = _poll(question["poll"])
        else:
            out = Path(question["out"])
            streams = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for path in (out, errors_of(out))]
            pid = os.fork()
            if pid == 0:
                os.close(answers.fileno())
                _streams(*streams)
                return dict(question)
            for stream in streams:
                os.close(stream)
            answer = pid
        print(json.dumps(answer), file=answers, flush=True)
    return None


def _poll(pid: int) -> int | None:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return -signal.SIGKILL
    return os.waitstatus_to_exitcode(status) if found else None


def errors_of(out: Path) -> Path:
    """Return where standard error of a job goes whose standard output is ``out``."""
    return out.with_suffix(".err")


def _streams(out: int, errors: int) -> None:
    """Read from nothing, and write the outputs to the files."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (errors, 2)):
        os.dup2(source, target)


def become(question: dict[str, Any]) -> None:
    """Turn this fork into the job, and end with it."""
    os.setsid()
    if question.get("environment") is not None:
        os.environ.clear()
        os.environ.update(question["environment"])
    else:
        os.environ.update(question["variables"])
    words = question["words"]
    sys.argv[:] = words
    sys.path[0] = str(Path(words[0]).parent)
    if question.get("memory_mb"):
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = size + question["memory_mb"] * 10**6
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if question.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (question["file_bytes"], question["file_bytes"]))
    if question.get("hook"):
        module, _, name = question["hook"].partition(":")
        sys.path.insert(0, str(ROOT))
        getattr(import_module(module), name)()
        del sys.path[0]
    code: int | str | None = FAILED
    try:
        runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as leaving:
        code = leaving.code
    except KeyboardInterrupt:  # before the job listens; Python then ends by the signal
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    _leave(code)


def _leave(code: int | str | None) -> None:
    """End as Python does, but for taking down a million objects of the imports one by one, which takes a second."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _load()
    asked = _serve()
    if asked is not None:
        become(asked)
    os._exit(0)  # libraries that complain about what they leave behind have no say
