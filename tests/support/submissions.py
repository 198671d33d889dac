"""A small job, and helpers to create pipelines and options for submissions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rayspin.config import build
from rayspin.launch.options import SubmitOptions
from rayspin.rundir import read_lines

JOB = """
kind = "generate"
samples = 6
size = 32
seed = 11
shard_samples = 2
hamiltonian = "labyrinth"
schedule = { sweeps = 20, quench_sweeps = 20 }
"""


def options(**table: Any) -> SubmitOptions:
    return build(SubmitOptions, table, "site.toml")


def pipeline(**stages: str) -> str:
    tables = [f"[stages.{name}]\n{text}" for name, text in stages.items()]
    return "\n".join(['kind = "pipeline"', *tables])


DATA = JOB.strip()


def event_lines(folder: Path) -> list[dict[str, Any]]:
    """The complete lines of a job's event file, as other programs may read them."""
    return list(read_lines(folder / "events.jsonl"))
