"""How a job ends, as an exit code: the same for the driver, the tasks, and whoever reads their events."""

DONE, FAILED, BAD_INPUT, INCOMPLETE = 0, 1, 2, 75
"""Incomplete: it stopped before its end on request, and goes on when asked again."""
