"""Predict new files with a finished run, or with several: probabilities and labels; needs the run folder only.

    python jobs/predict.py results/<experiment>/<run> data/raw/new/
    python jobs/predict.py results/<experiment>/<run> charts/ eurusd_15m.csv --output charts.json
    python jobs/predict.py results/<experiment>/<run> results/<experiment>/<other run> new.nc --weights validation

Reads   model.pt, norm.json, calibration.json, thresholds.json of the runs; raw files, or images and CSV files of series
Writes  results/<experiment>/<run>/predict/<input>-<hash8>.csv, or --output with .csv, .json or .nc; a report beside it
Takes   the time of deriving the days, or decoding the images, and milliseconds each; the same command goes on
"""

import sys

from pipeline.core.config import load
from pipeline.core.job import Job, Outcome, run_job
from pipeline.experiment import Experiment
from pipeline.predict.config import FLAGS, PredictConfig
from pipeline.predict.words import options


class Predicting(Experiment):
    """An experiment, and what its run is to predict."""

    predict: PredictConfig = PredictConfig()


def main(job: Job[Predicting]) -> Outcome:
    """Open the runs, and predict unless that was done with the same runs and files."""
    from pipeline.predict.job import predict_or_export  # numpy: only now that every setting is known to be right

    return predict_or_export(job, lambda path: load(path, Experiment).config)


if __name__ == "__main__":
    sys.exit(run_job(main, Predicting, __doc__, options(sys.argv[1:]), FLAGS))
