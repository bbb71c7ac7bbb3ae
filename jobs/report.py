"""Draw the pictures of a run and print its scores; no GPU, no torch.

    python jobs/report.py configs/demo.yaml
    python jobs/report.py results/<experiment>/<run> report.dpi=300

Reads   history.json, predictions, thresholds.json, calibration.json and the reports of the run
Writes  figures/*.png: loss curve, confusion matrices, precision-recall and reliability curves, scores
Takes   about ten seconds
"""

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment, chosen_run


def main(job: Job[Experiment]) -> Outcome:
    """Find the run, draw what is not drawn yet, and print the table."""
    from pipeline.report.stage import report

    run = chosen_run(job).path
    done = report(job.config.report, run)
    what = "fresh already" if done.fresh else "wrote"
    return Outcome(f"{what}: {len(done.names)} pictures in {run / 'figures'}")


if __name__ == "__main__":
    job_main(main, Experiment, __doc__)
