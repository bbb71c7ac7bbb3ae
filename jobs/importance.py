"""Find out which columns of numeric series tell something about the labels: LightGBM, walk-forward; no GPU, no torch.

    python jobs/importance.py configs/importance/ohlc.yaml
    python jobs/importance.py configs/importance/ohlc.yaml --update configs/mine.yaml

Reads   CSV files of series, and labels from them, from a list or from names of images
Writes  results/<name>/importance-<hash8>/: importance.json, importance.csv, features.csv, figures; --update: a config;
        results/index.html
Takes   half a minute of one core for 10 000 rows, 20 columns, 3 classes, 100 trials in all and 19 shuffles
"""

from pathlib import Path

from pipeline.core.config import load
from pipeline.core.job import Job, Outcome, job_main
from pipeline.core.lock import exclusive
from pipeline.core.logs import log
from pipeline.experiment import Experiment, home
from pipeline.importance.config import ImportanceConfig


def main(job: Job[ImportanceConfig]) -> Outcome:
    """Finish the analysis, draw it, and write the selected columns into a config if one is named."""
    from pipeline.importance.stage import analyse, write_into
    from pipeline.report.importance import draw_importance
    from pipeline.site.build import update

    done = analyse(job.config, home(), job.interrupt, job.new)
    with exclusive(done.run):
        draw_importance(done.run)
    update(done.run, job.config.name, home() / "data")
    if job.config.update:
        updated = write_into(job.config, done, Path(job.config.update), lambda path: load(path, Experiment))
        print(updated.diff, end="")
        log.info("%s: %s", job.config.update, f"copy in {updated.backup}" if updated.backup else "says so already")
    return Outcome(f"{'fresh already' if done.fresh else 'wrote'}: {done.run} ({done.summary})")


if __name__ == "__main__":
    job_main(main, ImportanceConfig, __doc__, {"--update": "update"})
