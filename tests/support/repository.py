"""Paths of the repository and its job files."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
JOBS = REPOSITORY / "jobs"
SMOKE = JOBS / "smoke"
SCRIPTS = REPOSITORY / "slurm"
