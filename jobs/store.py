"""Turn derived months, or images and series, into one store: arrays, targets and splits, with a preflight report.

    python jobs/store.py configs/demo.yaml
    python jobs/store.py configs/natlantic.yaml store.coarsen=2 store.dtype=float16 --check

Reads   data/derived/<dataset>-<hash8>/, or the images and series that the settings name
Writes  data/store/<dataset>/<version>/: grid.npy, image.npy, series.npy …, target.npy, index.csv, store.json …
Takes   a second for small maps, minutes for ten years at full resolution; stopped anywhere, it goes on
"""

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment, home


def main(job: Job[Experiment]) -> Outcome:
    """Build the store that the settings name, unless it is there, and print its preflight."""
    config = job.config
    # numpy and Pillow: only now that every setting is known to be right
    if config.store.images is not None:
        from pipeline.store.images.stage import build_or_check

        text, wrote = build_or_check(config.store, config.store_root(), home(), config.dataset_name, job.interrupt)
    else:
        from pipeline.store.stage import build_or_check_maps

        folder = config.store_folder()
        derived = config.derived_folder()
        text, wrote = build_or_check_maps(config.store, derived, folder, config.dataset_name, job.interrupt)
    print(text)
    return Outcome(wrote, "" if config.store.check else job.again("train"))


if __name__ == "__main__":
    job_main(main, Experiment, __doc__, {"--check": "store.check"})
