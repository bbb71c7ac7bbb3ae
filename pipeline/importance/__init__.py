"""Which columns of numeric series tell something about the labels: LightGBM, walk-forward folds and a shuffled null."""
