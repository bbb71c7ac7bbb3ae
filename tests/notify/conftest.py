"""What the tests of messages share: a server, a clean environment, and the real command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.notify.service import Service, serving

ROOT = Path(__file__).parents[2]


@dataclass
class Desk:
    """A user's home and project folder, and the commands typed there."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def outbox(self) -> Path:
        return self.home / "results" / ".outbox"

    def kept(self) -> list[Path]:
        return sorted(self.outbox.glob("[0-9]*.json"))

    def start(self, *arguments: object, **more: object) -> subprocess.Popen[str]:
        """Start ``notify-run`` with these arguments."""
        program = [sys.executable, "-P", "-m", "pipeline.notify", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, **more}
        return subprocess.Popen(program, text=True, cwd=self.home, env=self.environment, **pipes)  # type: ignore[call-overload]

    def run(self, *arguments: object, timeout: float = 60, **more: object) -> tuple[int, str]:
        """Run ``notify-run`` and return its exit code and output."""
        process = self.start(*arguments, **more)
        text, _ = process.communicate(timeout=timeout)
        return process.returncode, text or ""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a home without any configuration."""
    names = ("NTFY_", "HOST_", "APPRISE_", "NOTIFY_", "SLURM_", "ISOBAR_", "XDG_", "HTTP", "http", "RANK", "WORLD_SIZE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return Desk(tmp_path, {**environment, "HOME": str(tmp_path), "ISOBAR_HOME": str(tmp_path), "HOST_HOSTNAME": "tml2"})


@pytest.fixture
def ntfy(desk: Desk) -> Iterator[Service]:
    """Serve, and have the desk configured for it."""
    with serving() as service:
        desk.environment |= {"NTFY_SERVER": service.url, "NTFY_TOPIC": "isobar_runs"}
        yield service
