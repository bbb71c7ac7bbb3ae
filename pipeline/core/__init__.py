"""What every stage stands on: configuration, run folders, atomic files, logs and exit codes."""
