"""Classify the newest days by a finished run: for cron, scrontab or a systemd timer; a second call has nothing to do.

    python jobs/daily.py configs/daily.yaml
    python jobs/daily.py configs/daily.yaml daily.catch_up_days=60
    python jobs/daily.py configs/daily.yaml --notify

Reads   the run that daily.run names, and the Climate Data Store, ARCO-ERA5 or files that somebody puts there
Writes  results/<experiment>/daily/: a JSON file and a weather map a day, daily.csv, recent.png, daily.log;
        results/index.html
Takes   what the data centre's queue takes, and some seconds a day; killed anywhere, the same command goes on
"""

from importlib import import_module

from pipeline.core.config import load
from pipeline.core.job import Job, Outcome, job_main
from pipeline.core.run import existing_run
from pipeline.daily.config import DailySettings
from pipeline.experiment import Experiment, home

PICTURES = "pipeline.report.weather_map"  # imported when the first is due: matplotlib takes a second


def main(job: Job[DailySettings]) -> Outcome:
    """Find the run, and bring the diary of its experiment up to date."""
    from pipeline.daily.stage import daily  # numpy: only now that every setting is known to be right

    run = existing_run(home() / job.config.daily.run).path
    own = load(run / "config.yaml", Experiment).config
    report = daily(job.config, run, own, home(), job.interrupt, lambda name: getattr(import_module(PICTURES), name))
    import_module("pipeline.site.build").update(report.folder, run.parent.name, home() / job.config.data)
    return Outcome(report.told())


if __name__ == "__main__":
    job_main(main, DailySettings, __doc__)
