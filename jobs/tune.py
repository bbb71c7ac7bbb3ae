"""Search for better settings: every trial is an ordinary run; killed anywhere, the same command goes on.

    python jobs/tune.py configs/tune/natlantic.yaml
    python jobs/tune.py configs/tune/natlantic.yaml --workers 4 --confirm 3 --seeds 5
    python jobs/tune.py show configs/tune/natlantic.yaml      (or watch; or list, with a config or without)

Reads   the config that `base` names, and its store
Writes  results/<experiment>/<study>-<hash8>/: the study, a run folder a trial, optimized_config.yaml, tables, plots;
        results/index.html
Takes   trials × epochs of a training; workers share the cores of a machine, and any number of machines one journal
"""

import sys
from importlib import import_module

from pipeline.core.config import load
from pipeline.core.job import Job, Outcome, run_job
from pipeline.experiment import Experiment, home
from pipeline.tune.config import TuneConfig
from pipeline.tune.sections.words import FLAGS, asks_for_all, options


def main(job: Job[TuneConfig]) -> Outcome:
    """Check the whole search before the first trial, then search, or only look."""
    from pipeline.tune.experiment import Ground
    from pipeline.tune.job import search_or_look  # Optuna: only now that every setting is known to be right

    draw = lambda folder: import_module("pipeline.report.search").draw_search(folder)  # noqa: E731 (matplotlib: late)
    ground = Ground(lambda path, more: load(path, Experiment, more).config, Experiment, home(), draw)
    page = lambda folder: import_module("pipeline.site.build").update(folder, folder.parent.name, home() / "data")  # noqa: E731
    return search_or_look(job, ground, __file__, page)


if __name__ == "__main__":
    arguments = options(sys.argv[1:])
    if asks_for_all(arguments):
        print(import_module("pipeline.tune.view").all_studies(home() / "results"))
        sys.exit()
    sys.exit(run_job(main, TuneConfig, __doc__, arguments, FLAGS))
