"""Submit any job, or a chain of them, to Slurm or as a detached process here; the copy of the code it takes is its own.

    python jobs/submit.py train configs/natlantic.yaml train.seed=1 --profile gpu1
    python jobs/submit.py train configs/natlantic.yaml --array train.seed=1..20 --name seeds
    python jobs/submit.py chain configs/natlantic.yaml --profile cpu --profile train=gpu1 --dry-run
    python jobs/submit.py chain configs/natlantic.yaml store.split.leave_one_year_out=true --folds all
    python jobs/submit.py tune configs/tune/natlantic.yaml --after store-natlantic -- --workers 4
    nohup is not needed:  python jobs/submit.py train configs/demo.yaml --cluster local

Reads   the config, slurm/profiles.yaml, what git knows of the source tree
Writes  results/.jobs/<id>/: what was asked for, sbatch texts, logs, a record an attempt; results/.jobs/code/: the code
Takes   a second or two, and 0.2 s a task of an array; what comes of it: python jobs/status.py
"""

import sys
from pathlib import Path

from pipeline.experiment import home
from pipeline.submit.command import submit_main


def main() -> int:
    """Turn the command line into tickets."""
    return submit_main(__doc__, sys.argv[1:], Path(__file__).parents[1], home())


if __name__ == "__main__":
    sys.exit(main())
