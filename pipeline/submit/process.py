"""Which process is meant: a number alone is given to somebody else after its owner died."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def machine() -> str:
    """Return the name of this machine and of its present start."""
    boot = _BOOT.read_text(encoding="ascii").strip()[:8] if _BOOT.exists() else "0"
    return f"{socket.gethostname()}/{boot}"


def identity(pid: int) -> dict[str, Any]:
    """Return what tells a process from all others: its number, when it began, and the machine."""
    return {"pid": pid, "began": _began(pid), "machine": machine()}


def here(who: dict[str, Any]) -> bool:
    """Tell whether a process belongs (or belonged) to the machine that we are on."""
    return bool(who.get("machine") == machine())


def alive(who: dict[str, Any]) -> bool:
    """Tell whether the process is at work on this machine."""
    return here(who) and who.get("began") is not None and _began(int(who["pid"])) == who["began"]


def signal_process(who: dict[str, Any], number: int) -> bool:
    """Send a signal to exactly this process; tell whether it was there to take it."""
    if not alive(who):
        return False
    try:
        os.kill(int(who["pid"]), number)
    except ProcessLookupError:
        return False
    return True


def _began(pid: int) -> int | None:
    """Return the clock tick at which a process began; ``None`` if it is not there, or dead and only not yet reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    words = text.rsplit(")", 1)[1].split()  # the name in parentheses may hold blanks
    return None if words[0] in "ZX" else int(words[19])
