"""Train a classifier on a store; stopped anywhere, the same command goes on and ends with the same weights.

    python jobs/train.py configs/demo.yaml
    python jobs/train.py configs/natlantic.yaml train.seed=1 train.model.backbone=resnet_small

Reads   data/store/<dataset>/<version>/
Writes  results/<experiment>/<backbone>-<hash8>/: model.pt, history.json, metrics.csv, norm.json, predictions, figures
Takes   seconds for the demo, minutes for small maps on two cores, hours for ten years at full resolution on a GPU
"""

from importlib import import_module

from pipeline.core.config import dump
from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment, chosen_run, existing_store, home
from pipeline.train.ranks import joined


def main(job: Job[Experiment]) -> Outcome:
    """Find the run of this config, and train it unless it is finished."""
    config, store = job.config, existing_store(job.config)
    with joined(config.train) as ranks:
        run = ranks.same_run(chosen_run(job) if job.named_run else config.run(new=job.new))
        if ranks.told(run.status) == "done":
            finished = f"{run.path} is finished already (use --new for a further run of the same settings)"
            return Outcome(finished, job.again("thresholds"))
        if ranks.leads:
            run.begin(dump(config))
        from pipeline.train.stage import train  # torch only now, and matplotlib for the first picture

        settings, scale = config.train, config.train.rates.log_scale
        draw = lambda at: import_module("pipeline.report.training").draw_training(at, scale)  # noqa: E731
        progress = train(settings, store, run, job.interrupt, home(), draw, ranks=ranks)
    name = "train_loss" if settings.select == "last" else settings.select
    score = progress.history[progress.best_epoch - 1][name]
    return Outcome(f"wrote {run.path} (epoch {progress.best_epoch}: {name} {score:.3f})", job.again("thresholds"))


if __name__ == "__main__":
    job_main(main, Experiment, __doc__)
