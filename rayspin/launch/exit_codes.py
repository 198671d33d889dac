"""Exit codes of a job: the same for the driver, the tasks and the recorded events."""

DONE, FAILED, BAD_INPUT, INCOMPLETE = 0, 1, 2, 75
"""INCOMPLETE: the job stopped before its end on request, and can be resumed."""
