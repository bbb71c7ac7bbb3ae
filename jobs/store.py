"""Turn derived months into one store: standardised arrays, targets and splits, with a preflight report.

    python jobs/store.py configs/demo.yaml
    python jobs/store.py configs/natlantic.yaml store.coarsen=2 store.dtype=float16

Reads   data/derived/<dataset>-<hash8>/
Writes  data/store/<dataset>/<version>/: grid.npy, scalars.npy, target.npy, index.csv, scale.json, store.json
Takes   a second for small maps, minutes for ten years at full resolution; stopped anywhere, it goes on
"""

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment


def main(job: Job[Experiment]) -> Outcome:
    """Build the store that the settings name, unless it is there, and print its preflight."""
    config = job.config
    folder = config.store_folder()
    what = "fresh already" if folder.exists() else "wrote"
    from pipeline.store.preflight import table
    from pipeline.store.stage import build_store  # numpy: only now that every setting is known to be right

    spec = build_store(config.store, config.derived_folder(), folder, config.dataset_name, job.interrupt)
    print(table(spec.preflight))
    shapes = ", ".join(f"{name} {' × '.join(map(str, one.shape))}" for name, one in spec.inputs.items())
    return Outcome(f"{what}: {folder} ({spec.samples} samples of {shapes})", job.again("train"))


if __name__ == "__main__":
    job_main(main, Experiment, __doc__)
