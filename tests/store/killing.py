"""For programs that kill themselves with SIGKILL at the n-th event a crash could fall on; n is the last argument."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

left = int(sys.argv[-1])
"""Events to come before the kill."""


def count(function: Callable[..., Any], half: Callable[..., None] | None = None) -> Callable[..., Any]:
    """Return the function as an event; at the kill only ``half`` of it is done, if that is given, or nothing."""

    def counted(*arguments: Any) -> Any:
        global left
        left -= 1
        if left == 0:
            if half:
                half(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    return counted


def half_written(file: int, data: bytes, position: int) -> None:
    os.pwrite(file, data[: len(data) // 2], position)


def half_noted(journal: Any, part: Any, *_: float) -> None:
    with journal._path.open("ab") as stream:
        stream.write(part.tobytes()[: part.nbytes // 2])
