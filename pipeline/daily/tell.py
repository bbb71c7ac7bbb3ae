"""One message about the days, by the program that sends them; what becomes of it never holds up the job."""

from __future__ import annotations

import os
import subprocess
import sys

from pipeline.core.logs import log

_PATIENCE_SECONDS = 20.0


def tell(event: str, title: str, text: str) -> None:
    """Send a message; ``event`` is a kind that ``notify`` knows (``info``, ``failed``)."""
    command = [sys.executable, "-P", "-m", "pipeline.notify", "send", event, title, "-"]
    try:
        subprocess.run(
            command,
            input=text.encode(),
            timeout=_PATIENCE_SECONDS,
            check=True,
            start_new_session=True,
            env={**os.environ},
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the message could not be sent (%s)", error)
