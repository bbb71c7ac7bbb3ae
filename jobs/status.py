"""What submitted jobs are doing, on Slurm and on this machine together, and what a person can do to them.

    python jobs/status.py                    (the same as list; list --watch 5 goes on)
    python jobs/status.py tail j12 -f
    python jobs/status.py why train-natlantic
    python jobs/status.py cancel j12.3
    python jobs/status.py requeue j12.3      (or resume)
    python jobs/status.py clean --older 30d  (forget jobs that are over)

Reads   results/.jobs/, run.json of all runs; squeue, sacct and scontrol where they answer
Writes  what cancel and requeue note in results/.jobs/<id>/; clean removes old ones
Takes   half a second
"""

import sys

from pipeline.experiment import home
from pipeline.submit.watch import status_main


def main() -> int:
    """Show, or act on recorded ids."""
    return status_main(__doc__, sys.argv[1:], home())


if __name__ == "__main__":
    sys.exit(main())
