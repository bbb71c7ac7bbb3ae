"""Judge a run on validation and test days against four baselines, with intervals; no GPU, no torch.

    python jobs/evaluate.py configs/demo.yaml
    python jobs/evaluate.py results/<experiment>/<run>

Reads   predictions_val.npz, predictions_test.npz, thresholds.json, calibration.json of the run; labels of the store
Writes  val_report.json and test_report.json beside them
Takes   a few seconds
"""

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment, chosen_run, existing_store


def main(job: Job[Experiment]) -> Outcome:
    """Find the run and its store, and judge it unless that was done with the same settings and inputs."""
    from pipeline.evaluate.stage import evaluate

    run = chosen_run(job).path
    done = evaluate(job.config.evaluate, run, existing_store(job.config), job.config.train.fold)
    what = "fresh already" if done.fresh else "wrote"
    scores = (f"{split}: mAP {of['map']:.3f}, macro-F1 {of['macro_f1']:.3f}" for split, of in done.scores.items())
    return Outcome(f"{what}: reports in {run} ({'; '.join(scores)})", job.again("report"))


if __name__ == "__main__":
    job_main(main, Experiment, __doc__)
