"""Reports and predictions of a run to tables and pictures."""
