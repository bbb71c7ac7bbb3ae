"""Run all stages in order, from raw files to pictures; a stage whose result is fresh says so and takes no time.

    python jobs/chain.py configs/demo.yaml
    python jobs/chain.py configs/natlantic.yaml train.seed=1

Reads   what derive reads
Writes  data/derived, data/store and results/<experiment>/<run>/
Takes   what its stages take; killed anywhere, the same command goes on
"""

from pathlib import Path

from pipeline.core.job import Job, Outcome, job_main
from pipeline.core.programs import run_in_turn
from pipeline.experiment import Experiment

STAGES = ("derive", "store", "train", "thresholds", "evaluate", "report")


def main(job: Job[Experiment]) -> Outcome:
    """Run each stage as the program it is, so that its memory is given back and its exit code counts."""
    folder = Path(__file__).parent
    new = ["--new"] if job.new else []
    commands = [
        [str(folder / f"{stage}.py"), job.argument, *job.overrides, *(new if stage == "train" else [])]
        for stage in STAGES
    ]
    run_in_turn(commands, job.interrupt)
    run = job.named_run or job.config.run()
    return Outcome(f"all stages are done: {run.path}", f"look at {run.path / 'figures'}")


if __name__ == "__main__":
    job_main(main, Experiment, __doc__)
