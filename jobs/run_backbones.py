"""Train one experiment with several backbones, folds and seeds, and compare them on validation days.

    python jobs/run_backbones.py configs/demo.yaml --seeds 1,2,3 --jobs 2
    python jobs/run_backbones.py configs/natlantic.yaml --folds all store.split.leave_one_year_out=true

Reads   data/store/<dataset>/<version>/ (made by jobs/store.py first where it is not there)
Writes  ordinary runs; results/<experiment>/sweeps/backbones-<hash8>/: summary.json, figures, logs; results/index.html
Takes   the time of all runs divided by --jobs; finished runs take none; killed anywhere, the same command goes on
"""

from importlib import import_module
from pathlib import Path

from pipeline.core.job import Job, Outcome, job_main
from pipeline.evaluate.config import FORMAT as EVALUATE
from pipeline.experiment import Experiment, existing_store, home
from pipeline.sweep.config import FLAGS, SweepConfig
from pipeline.thresholds.config import FORMAT as THRESHOLDS


class Swept(Experiment):
    """An experiment, and what varies."""

    sweep: SweepConfig = SweepConfig()


def main(job: Job[Swept]) -> Outcome:
    """Plan the runs, do those that are not finished, and compare them."""
    from pipeline.sweep.stage import plan, sweep  # numpy: only now that every setting is known to be right

    formats = {"thresholds": THRESHOLDS, "evaluate": EVALUATE}
    planned = plan(job, Path(__file__).parent, lambda: existing_store(job.config), formats, "pipeline.train.backbones")
    if (ended := sweep(planned, job.interrupt)).shown:
        import_module("pipeline.report.sweep").show(planned.folder, job.config.report.dpi)
        import_module("pipeline.site.build").update(planned.folder, job.config.name, home() / job.config.data)
    return Outcome(ended.told())


if __name__ == "__main__":
    job_main(main, Swept, __doc__, FLAGS)
