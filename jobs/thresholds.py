"""Fit calibration and decision thresholds on the saved validation logits of a run; no GPU, no torch.

    python jobs/thresholds.py configs/demo.yaml
    python jobs/thresholds.py results/<experiment>/<run> thresholds.beta=2

Reads   results/<experiment>/<run>/predictions_val.npz
Writes  calibration.json and thresholds.json beside it
Takes   about a second
"""

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment, chosen_run


def main(job: Job[Experiment]) -> Outcome:
    """Find the run and fit its thresholds, unless that was done with the same settings."""
    from pipeline.thresholds.stage import fit_thresholds

    run = chosen_run(job).path
    done = fit_thresholds(job.config.thresholds, run)
    what = "fresh already" if done.fresh else "wrote"
    scores = f"validation macro-F1 {done.macro_f1:.3f} tuned, {done.macro_f1_cross_fit:.3f} on held-out blocks"
    return Outcome(f"{what}: {run / 'thresholds.json'} ({scores})", job.again("evaluate"))


if __name__ == "__main__":
    job_main(main, Experiment, __doc__)
