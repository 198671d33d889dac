"""Execution of work: Ray sessions, the Ray node of a single command, dispatch of items to workers, stop requests."""
