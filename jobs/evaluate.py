"""Judge a run against baselines, with intervals; on request show samples, errors, doubtful labels, what it looked at.

    python jobs/evaluate.py configs/demo.yaml
    python jobs/evaluate.py results/<experiment>/<run> --mode visualize|reasoning|misclassified|feature|audit|all
    python jobs/evaluate.py results/<experiment>/<run> --against results/<experiment>/<other run>

Reads   predictions, thresholds.json, calibration.json of the run; the store; reasoning and feature: model.pt
Writes  val_report.json and test_report.json; with --mode or --against folders of their names (docs/evaluation.md)
Takes   a few seconds; reasoning and feature minutes
"""

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment, chosen_run, existing_store, home


def main(job: Job[Experiment]) -> Outcome:
    """Find the run and its store, and do what is asked for unless that was done with the same settings and inputs."""
    from pipeline.evaluate.modes import examine

    config, run, store = job.config, chosen_run(job).path, existing_store(job.config)
    found = examine(config, run, store, home())
    told, lists = [one.told for one in found], [one for one in found if one.listed]
    if lists:
        from pipeline.report.modes import draw

        told += [line for one in lists for line in draw(config.report, store, one.listed, one.pictures)]
    for mode in config.evaluate.explained:
        from pipeline.explain.stage import explain

        told.append(explain(mode, config.explain, config.train, run, store, job.interrupt, config.report.dpi).told())
    return Outcome("\n".join(told), job.again("report") if config.evaluate.mode == "evaluate" and not lists else "")


if __name__ == "__main__":
    job_main(main, Experiment, __doc__, flags={"--mode": "evaluate.mode", "--against": "evaluate.against"})
