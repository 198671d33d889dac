"""Compare successive halving with the full grid: `python -m tests.benchmarks.halving docs` (minutes).

This runs both sweeps for super-resolution, prints the best point and the epochs of each, and draws the
best result against the epochs (halving.png).
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

from rayspin import job
from rayspin.analysis.figures import draw_bests
from rayspin.config import build
from rayspin.execution.session import Session
from rayspin.job import Context
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.ledger import Ledger

METRIC = "fine_mse"
SWEEP = {
    "metric": METRIC,
    "space": {
        "training.learning_rate": [0.003, 0.001, 0.01, 0.0003, 0.03, 0.0001],
        "objective.torque_weight": [0.03, 0.1, 0.01, 0.0],
    },
    "base": {
        "kind": "train-sr",
        "dataset": "@labyrinth",
        "network": {"scale": 8, "normalized_output": True, "start": "fourier"},
        "training": {"epochs": 18, "batch_size": 20, "gradient_clip": 1.0},
    },
    "datasets": {
        "labyrinth": {
            "kind": "generate",
            "samples": 250,
            "size": 64,
            "seed": 2023,
            "hamiltonian": "labyrinth",
            "splits": {"test": 0, "validation": 50},
        }
    },
}
SEARCHES = {"grid": SWEEP, "halving": SWEEP | {"asha": {"first": 1, "reduction": 3}}}


def best_against_epochs(folder: Path) -> tuple[list[int], list[float]]:
    """Return the total epochs of all trials at the time of each result, and the best result until then."""
    ledger = Ledger(folder)
    epochs, bests = [], []
    before: dict[str, int] = {}
    for name, until in ledger.order:
        entry = ledger.trials[name]
        before[name] = entry.epochs[until]
        epochs.append(sum(before.values()))
        bests.append(min([entry.results[until][METRIC], *bests[-1:]]))
    return epochs, bests


def main(folder: Path) -> None:
    lines = {}
    with tempfile.TemporaryDirectory() as scratch:
        session = Session()
        for name, table in SEARCHES.items():
            run = Path(scratch, name)
            summary = job.run(build(Tune, table, name), run, Context(session))
            lines[name] = best_against_epochs(run)
            with (run / "trials.csv").open() as stream:
                best = min(csv.DictReader(stream), key=lambda row: float(row[METRIC]))
            point = {key: best[key] for key in SWEEP["space"]}
            print(f"{name}: best {METRIC} {best[METRIC]} at {point}, {lines[name][0][-1]} epochs, {summary.figures}")
        session.close()
    draw_bests(lines, ("epochs", METRIC), folder / "halving.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
