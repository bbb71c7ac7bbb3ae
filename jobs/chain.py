"""Run all stages in order, from raw files to pictures; a stage whose result is fresh says so and takes no time.

    python jobs/chain.py configs/demo.yaml
    python jobs/chain.py configs/natlantic.yaml train.seed=1

Reads   what download or derive reads
Writes  data/derived, data/store and results/<experiment>/<run>/
Takes   what its stages take; killed anywhere, the same command goes on
"""

import shlex
from pathlib import Path

from pipeline.core.job import Job, Outcome, job_main
from pipeline.core.programs import run_in_turn
from pipeline.experiment import Experiment, chosen_run

STAGES = ("download", "derive", "store", "train", "thresholds", "evaluate", "report")


def main(job: Job[Experiment]) -> Outcome:
    """Run each stage as the program it is, so that its memory is given back and its exit code counts."""
    folder = Path(__file__).parent
    more = ["--new"] if job.new else []
    left_out = job.config.not_needed()
    stages = [stage for stage in STAGES if stage not in left_out]
    run_in_turn([[str(folder / f"{s}.py"), job.argument, *job.overrides, *more] for s in stages], job.interrupt)
    run = chosen_run(job).path
    others = f"python jobs/thresholds.py {shlex.quote(str(run))} thresholds.beta=2"
    if job.named_run is None:
        others = f"{job.again('chain')} train.model.backbone=resnet_small   or   {others}"
    return Outcome(f"all stages are done; look at {run / 'figures'}", others)


if __name__ == "__main__":
    job_main(main, Experiment, __doc__)
