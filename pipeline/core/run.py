"""A run is a folder of ``results/``: found by its signature, resumed by the same command, never overwritten.

``results/<experiment>/<name>-<hash8>/`` where the hash is the signature of everything that decides the outcome.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import logs
from pipeline.core.artifact import digest8, read_json, write_json, write_text
from pipeline.core.errors import DONE, FAILED, INTERRUPTED, EnvironmentFault, InputError, IsobarError, disk_fault
from pipeline.core.lock import exclusive

BEAT_SECONDS = 15.0
_NO_LINKS = (errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS)
"""How a disk says that it holds no symbolic links: Google Drive, FAT, some shared folders of virtual machines."""
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, whether it exists yet or not."""

    path: Path

    @property
    def record(self) -> dict[str, Any]:
        """The contents of ``run.json``; empty when the run has not begun."""
        path = self.path / "run.json"
        return read_json(path) if path.exists() else {}

    @property
    def status(self) -> str:
        """``new``, ``running``, ``interrupted``, ``failed`` or ``done``."""
        return str(self.record.get("status", "new"))

    def begin(self, config_yaml: str) -> None:
        """Make the folder with ``config.yaml`` and ``env.txt``, and point ``latest`` at it."""
        for name, text in (("env.txt", _environment), ("config.yaml", lambda: config_yaml)):
            if not (self.path / name).exists():
                write_text(self.path / name, text())
        _point(self.path.parent / "latest", self.path.name)

    @contextmanager
    def session(self, job: str, **facts: Any) -> Iterator[Session]:
        """Hold the folder, log into it and keep ``run.json`` true while the block runs.

        Raises:
            EnvironmentFault: another process works in the folder.
        """
        with exclusive(self.path):
            logs.write_to(self.path, job)
            session = Session(self, job, facts)
            try:
                yield session
            except BaseException as error:
                code = error.exit_code if isinstance(error, IsobarError) else FAILED
                interrupted = code == INTERRUPTED or isinstance(error, KeyboardInterrupt)
                # The disk that failed the job may not take this note either; the job's own error is the one to tell.
                with suppress(EnvironmentFault):
                    session.close("interrupted" if interrupted else "failed", code, _one_line(error))
                raise
            session.close("done", DONE, None)


class Session:
    """One process at work in a run folder: writes the heartbeat and, in the end, how it ended."""

    def __init__(self, run: RunFolder, job: str, facts: dict[str, Any]) -> None:
        """Write ``run.json`` with status ``running``."""
        self._path = run.path / "run.json"
        self._began, self._last = time.time(), 0.0
        earlier = run.record
        same_job = earlier.get("job") == job
        self._earlier_seconds = float(earlier.get("seconds", 0.0)) if same_job else 0.0
        self._earlier_peak = float(earlier.get("peak_memory_mb") or 0.0) if same_job else 0.0
        self._record = {"job": job, "status": "running", **facts, **_where(), "started": _stamp(self._began)}
        self._record["sessions"] = int(earlier.get("sessions", 0)) + 1
        self.beat(force=True)

    def beat(self, force: bool = False, **facts: Any) -> None:
        """Note that the job is alive (and how far it is); writes at most every 15 s unless forced."""
        self._record.update(facts)
        now = time.time()
        if force or now - self._last >= BEAT_SECONDS:
            self._last = now
            self._record["heartbeat"] = _stamp(now)
            self._record["seconds"] = round(self._earlier_seconds + now - self._began, 1)
            self._record["peak_memory_mb"] = max(self._earlier_peak, _peak_memory_mb()) or None
            write_json(self._path, self._record)

    def close(self, status: str, exit_code: int, error: str | None) -> None:
        """Write how the session ended."""
        self.beat(force=True, status=status, exit_code=exit_code, error=error, ended=_stamp(time.time()))


def run_folder(root: Path, experiment: str, name: str, signature: dict[str, Any], new: bool = False) -> RunFolder:
    """Return the run of this signature under ``root``.

    With ``new`` it is a further version, ``<run>.2`` and so on: the last one while it is unfinished, so that the same
    command goes on with it, and the next one when that is done.
    """
    base = RunFolder(root / experiment / f"{name.replace('/', '-')}-{digest8(signature)}")
    if not new or base.status == "new":
        return base
    last = newest(base)
    if last != base and last.status != "done":
        return last
    return RunFolder(base.path.with_name(f"{base.path.name}.{_version(last) + 1}"))


def newest(base: RunFolder) -> RunFolder:
    """Return the latest version of a run that has begun."""
    found = [RunFolder(path) for path in base.path.parent.glob(f"{base.path.name}.*") if path.suffix[1:].isdigit()]
    return max((run for run in found if run.status != "new"), key=_version, default=base)


def _version(run: RunFolder) -> int:
    return int(run.path.suffix[1:]) if run.path.suffix[1:].isdigit() else 1


def existing_run(path: Path) -> RunFolder:
    """Return the run folder at ``path`` (``latest`` is followed).

    Raises:
        InputError: there is no run at ``path``.
    """
    if not (path / "run.json").exists():
        raise InputError(
            f"{path}: not a run folder (no run.json in it); train first, or give results/<experiment>/<run>"
        )
    return RunFolder(path.resolve())


def _point(link: Path, target: str) -> None:
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise disk_fault(error, link) or error from error
        logs.log.debug("%s: this disk holds no links; runs are found by their names", link)
        return
    os.replace(temporary, link)


def _peak_memory_mb() -> float:
    """Return the most memory that this process held so far, in 10⁶ bytes; 0 where the system does not tell.

    ``VmHWM`` of proc(5): getrusage's figure is handed on by the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((round(int(line.split()[1]) * 1024 / 1e6, 1) for line in lines if line.startswith("VmHWM:")), 0.0)


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _where() -> dict[str, Any]:
    slurm = {key: value for key, value in os.environ.items() if key in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID")}
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "slurm": slurm,
        "ticket": os.environ.get("ISOBAR_TICKET", ""),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git": git_state(),
    }


def git_state() -> dict[str, Any]:
    """Return the commit of this source tree and whether tracked files differ from it; empty outside a checkout.

    A submitted job runs from a copy without a history, and is told by ``ISOBAR_GIT``.
    """
    if "ISOBAR_GIT" in os.environ:
        told: dict[str, Any] = json.loads(os.environ["ISOBAR_GIT"])
        return told
    try:
        sha = _git("rev-parse", "HEAD")
        dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"sha": sha, "dirty": dirty}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_REPOSITORY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _environment() -> str:
    # By the names of their folders: reading the metadata of each package takes longer than a short trial of a search.
    folders = (path for place in sys.path for path in Path(place).glob("*.dist-info"))
    packages = sorted({"==".join(path.stem.rsplit("-", 1)) for path in folders})
    return "\n".join([f"python {platform.python_version()} on {platform.platform()}", *packages]) + "\n"
