"""Telling people how a job went: ``notify-run``, and the program that ``--notify`` starts beside a job.

Nothing in here may fail or delay the job that it tells of. This package imports the standard library and
``pipeline.core`` only (Apprise when a URL of it is configured), so that a job starts at once.
"""
