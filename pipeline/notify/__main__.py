"""``python -m pipeline.notify``: ``notify-run`` itself, and what other programs of the suite start."""

import sys

from pipeline.notify.cli import beside_job, entry, send
from pipeline.notify.wrap import leave

PROGRAMS = {"watch": beside_job, "send": send}

if __name__ == "__main__":
    program = PROGRAMS.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if program is None:
        entry()
    else:
        leave(program(sys.argv[2:]))
