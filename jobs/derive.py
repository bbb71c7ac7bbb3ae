"""Make monthly files of derived fields with labels from raw reanalysis files; months that are fresh are kept.

    python jobs/derive.py configs/demo.yaml
    python jobs/derive.py configs/era5_japan.yaml --one-file
    python jobs/derive.py configs/era5_japan.yaml --parts $SLURM_ARRAY_TASK_ID/10

Reads   the raw files and label files that the derive section names
Writes  data/derived/<dataset>-<hash8>/: YYYY-MM.nc, manifest.json, coverage.json; with --one-file all months as
        era5_all_data_pp.nc as well
Takes   about 7 s a year for 161 × 161 points with all fields on one core, and 0.8 GB of memory a process
"""

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment, home


def main(job: Job[Experiment]) -> Outcome:
    """Bring the derived data of the experiment up to date."""
    from pipeline.derive.stage import derive  # HDF5: only now that every setting is known to be right

    config, folder = job.config, job.config.derived_folder()
    spec = derive(config.derive_section(), config.dataset_name, folder, home(), job.interrupt)
    if not spec.complete:
        return Outcome(f"part {config.derive.parts} of {folder} is done; other parts are not yet")
    days = sum(piece.days for piece in spec.pieces)
    what = f"{days} days, {spec.pieces[0].first} to {spec.pieces[-1].last}, version {spec.version}"
    return Outcome(f"wrote {folder} ({what})", job.again("store"))


if __name__ == "__main__":
    job_main(main, Experiment, __doc__, flags={"--parts": "derive.parts", "--one-file": "derive.one_file"})
