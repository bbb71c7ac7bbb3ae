"""Fetch raw files of a reanalysis as the table of the config asks, each checked; killed anywhere, it goes on.

    python jobs/download.py configs/era5_japan.yaml --dry-run
    python jobs/download.py configs/era5_japan.yaml
    python jobs/download.py configs/era5_japan.yaml --refresh

Reads   the Climate Data Store (key in ~/.cdsapirc or CDSAPI_URL and CDSAPI_KEY), ARCO-ERA5, or files that are there
Writes  data/raw/<dataset>/: one file a request, manifest.json
Takes   what the data centre's queue takes; the ten years of era5_japan are 70 requests and about 4 GB
"""

from pipeline.core.job import Job, Outcome, job_main
from pipeline.experiment import Experiment

FLAGS = {"--dry-run": "download.dry_run", "--refresh": "download.refresh", "--parts": "download.parts"}


def main(job: Job[Experiment]) -> Outcome:
    """Bring the raw files of the experiment up to date, or print what that would take."""
    from pipeline.download.stage import (
        download,  # the client and HDF5: only now that every setting is known to be right
    )
    from pipeline.experiment import home

    config, folder = job.config, job.config.raw_folder()
    done = download(config.download, config.dataset_name, folder, home(), job.interrupt)
    if done.table:
        print(done.table)
        return Outcome(f"wrote nothing (--dry-run), {folder} holds {done.files} files")
    early = f", {done.preliminary} of them preliminary: --refresh later" if done.preliminary else ""
    what = f"{done.files} files, {done.bytes / 1e6:.0f} MB{early}; {done.fetched} came now"
    then = job.again("derive") if done.complete else "the other parts; then " + job.again("derive")
    return Outcome(f"wrote {folder} ({what})", then)


if __name__ == "__main__":
    job_main(main, Experiment, __doc__, flags=FLAGS)
