"""Draw the pictures of a run, print its scores, and bring the page of all results up to date; no GPU, no torch.

    python jobs/report.py configs/demo.yaml
    python jobs/report.py results/<experiment>/<run> report.dpi=300
    python jobs/report.py results            (only the page, of all runs; also without an argument, and on the laptop)

Reads   history.json, predictions, thresholds.json, calibration.json and the reports of the run; light files of all runs
Writes  figures/*.png: loss curve, confusion matrices, precision-recall and reliability curves, scores;
        results/index.html, and results/.site/ with what belongs to it
Takes   about ten seconds; the page alone a second for a hundred runs
"""

import sys

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment, chosen_run, home
from pipeline.site.job import asked_for_all, build_all


def main(job: Job[Experiment]) -> Outcome:
    """Find the run, draw what is not drawn yet, print the table, and update the page."""
    from pipeline.report.stage import report
    from pipeline.site.build import update

    run = chosen_run(job).path
    done = report(job.config.report, run)
    built = update(run, job.config.name, home() / job.config.data)
    what = "fresh already" if done.fresh else "wrote"
    page = f"; all results: {built.page}" if built else ""
    return Outcome(f"{what}: {len(done.names)} pictures in {run / 'figures'}{page}")


if __name__ == "__main__":
    results = asked_for_all(sys.argv[1:], home())
    if results is not None:
        sys.exit(build_all(results, home()))
    job_main(main, Experiment, __doc__)
