"""The scheduled job: the newest days fetched, classified by a finished run, and kept as a diary."""
