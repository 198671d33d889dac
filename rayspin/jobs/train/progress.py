"""Progress of a training, read from its files."""

from __future__ import annotations

from rayspin.rundir import RunDir, Table
from rayspin.training import read_metrics


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """Return the rows of `rayspin status` for a training: epochs, losses and time per epoch."""
    history = read_metrics(run.path)
    rows = {"epochs": f"{len(history)} of {job['training']['epochs']}"}
    if history:
        last = history[-1]
        rows["losses"] = f"{last['training_loss']:.4g} training, {last['validation_loss']:.4g} validation"
        rows["seconds per epoch"] = f"{last['seconds']:.3g}"
    return rows
