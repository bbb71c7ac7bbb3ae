"""Jobs on a cluster or behind a terminal: submitted, attended, watched, and started again after an interruption.

A *ticket* is a folder of ``results/.jobs/`` that says what was submitted; it has one or more *tasks* (an array has
many); each start of a task is an *attempt*. Programs share nothing but these files.
"""
