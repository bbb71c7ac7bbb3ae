"""What the tests of messages share: a server, a clean environment, and the real command line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.notify.service import PATIENCE, Service, serving

ROOT = Path(__file__).parents[2]
_LONG = "120"
"""Twice our patience: what ends in time has not waited for a time-out, and no message is cut off on a busy machine."""
_PATIENT = "from pipeline.notify import courier; courier._WAIT_FOR_DEAD_SECONDS += 58.0"


@dataclass
class Desk:
    """A user's home and project folder, and the commands typed there."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    prelude: str = ""
    """Python that the program runs before it begins."""

    @property
    def outbox(self) -> Path:
        return self.home / "results" / ".outbox"

    def kept(self) -> list[Path]:
        return sorted(self.outbox.glob("[0-9]*.json"))

    def hear_out_the_dead(self) -> None:
        """Give targets that failed longer than the 2 s at the end, for tests of what is said of them or sent again."""
        self.prelude = _PATIENT

    def start(self, *arguments: object, **more: object) -> subprocess.Popen[str]:
        """Start ``notify-run`` with these arguments."""
        whole = f"{self.prelude}\nfrom pipeline.notify.cli import entry\nentry()"
        program = ["-c", whole] if self.prelude else ["-m", "pipeline.notify"]
        command = [sys.executable, "-P", *program, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, **more}
        return subprocess.Popen(command, text=True, cwd=self.home, env=self.environment, **pipes)  # type: ignore[call-overload]

    def run(self, *arguments: object, timeout: float = 180, **more: object) -> tuple[int, str]:
        """Run ``notify-run`` and return its exit code and output."""
        process = self.start(*arguments, **more)
        text, _ = process.communicate(timeout=timeout)
        return process.returncode, text or ""


def until(look: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not look() and time.monotonic() < end:
        time.sleep(0.02)
    assert look()


def waiting_for(flag: Path) -> str:
    """Return Python that waits for a file: 5 minutes at most, so that it does not outlive a failed test for long."""
    look = f"if os.path.exists({str(flag)!r}): break"
    return f"import os, time\nfor _ in range(6000):\n    {look}\n    time.sleep(0.05)\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a home without any configuration."""
    names = ("NTFY_", "HOST_", "APPRISE_", "NOTIFY_", "SLURM_", "ISOBAR_", "XDG_", "HTTP", "http", "RANK", "WORLD_SIZE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return Desk(tmp_path, {**environment, "HOME": str(tmp_path), "ISOBAR_HOME": str(tmp_path), "HOST_HOSTNAME": "tml2",
                           "NTFY_TIMEOUT": _LONG, "NTFY_WAIT": _LONG})  # fmt: skip


@pytest.fixture
def ntfy(desk: Desk) -> Iterator[Service]:
    """Serve, and have the desk configured for it."""
    with serving() as service:
        desk.environment |= {"NTFY_SERVER": service.url, "NTFY_TOPIC": "isobar_runs"}
        yield service
