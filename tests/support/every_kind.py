"""A pipeline with a stage of every kind of job, small enough to run in this process within seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from rayspin import job
from rayspin.job import Context
from rayspin.jobs.evaluate import job as evaluate
from rayspin.jobs.reconstruct import job as reconstruct
from rayspin.jobs.reconstruct import robustness
from rayspin.jobs.registry import build_stage
from rayspin.jobs.train import job as train
from tests.support import sweeps
from tests.support.serial import serially

SCHEDULE = {"sweeps": 20, "quench_sweeps": 20}
DATA = {
    "kind": "generate",
    "samples": 16,
    "size": 16,
    "shard_samples": 8,
    "hamiltonian": "labyrinth",
    "schedule": SCHEDULE,
    "splits": {"test": 4, "validation": 4},
}
FIELD = {"dataset": "@generate", "weights": "@train_fcn", "samples": 2}
COMPARED = {"networks": {"network": "@train_sr"}, "methods": ["bicubic", "fourier"]}

STAGES: dict[str, dict[str, Any]] = {
    "generate": DATA,
    "temperatures": {
        **DATA,
        "samples": 8,
        "schedule": {**SCHEDULE, "quench_sweeps": 0},
        "splits": {"test": 0, "validation": 0},
        "grid": {"schedule.end_temperature": [0.01, 0.3, 0.6, 0.9]},
    },
    "train_fcn": {
        "kind": "train-fcn",
        "dataset": "@generate",
        "network": {"encoder_filters": [2, 2], "decoder_filters": [2, 2]},
        "training": {"epochs": 3, "batch_size": 4},
    },
    "train_sr": {
        "kind": "train-sr",
        "dataset": "@generate",
        "network": {"scale": 4},
        "training": {"epochs": 1, "batch_size": 4},
    },
    "evaluate_fcn": {"kind": "evaluate-fcn", "dataset": "@generate", "weights": "@train_fcn", "iterations": 3},
    "evaluate_sr": {
        "kind": "evaluate-sr",
        "dataset": "@generate",
        "scales": [4, 8],
        **COMPARED,
        "methods": ["bicubic (published)", "fourier"],
    },
    "cross_feeding": {
        "kind": "cross-feeding",
        "datasets": {"labyrinth": "@generate", "again": "@generate"},
        "scales": [4],
        **COMPARED,
    },
    "noise_response": {
        "kind": "noise-response",
        "dataset": "@generate",
        "scale": 4,
        "samples": 2,
        "noise_amplitudes": [0.0, 1.0, 10.0],
        "iterations": 2,
        "shown": 2,
        **COMPARED,
    },
    "energy_trace": {"kind": "energy-trace", "iterations": 4, "pictures": 2, **FIELD},
    "restoration": {"kind": "restoration", "defect_width": 4, "steps": [1, 3], **FIELD},
    "generation": {
        "kind": "generation",
        "sizes": [16],
        "iterations": 3,
        "schedule": SCHEDULE,
        "sweeps": 10,
        **FIELD,
    },
    "external_field": {
        "kind": "external-field",
        "fields": [0.0, 0.1],
        "iterations": 2,
        "every": 1,
        "descent_sweeps": 4,
        "monte_carlo_samples": 1,
        "schedule": SCHEDULE,
        **FIELD,
    },
    "reconstruct": {
        "kind": "reconstruct",
        "dataset": "@generate",
        "scale": 4,
        "method": "projections",
        "shard_samples": 2,
    },
    "robustness": {
        "kind": "robustness",
        "dataset": "@generate",
        "scale": 4,
        "methods": ["projections"],
        "calibrate": False,
        "cases": ["right assumptions", "dmi of the wrong sign"],
        "samples": 2,
    },
    "tune": {
        "kind": "tune",
        "base": {**sweeps.BASE, "training": {"epochs": 1, "batch_size": 4}},
        "datasets": {"labyrinth": sweeps.LABYRINTHS},
        "space": {"objective.noise_amplitude": [0.0, 0.5], "training.learning_rate": [0.01, 0.001]},
    },
}


def run_here(patch: pytest.MonkeyPatch) -> None:
    """Make jobs of all kinds work in this process, without Ray."""
    sweeps.run_here(patch)
    for module in (evaluate, reconstruct, robustness):
        patch.setattr(module, "dispatch", serially)
    patch.setattr(train, "train_on_workers", lambda stage, dataset, folder, *_: stage.fit(dataset, folder))


def run_every_kind(folder: Path, *, draw: bool = True) -> Path:
    """Run the pipeline in a folder, and return the folder.

    Args:
        folder: folder of the run.
        draw: whether to draw the pictures, which takes most of the time; otherwise they are single pixels.
    """
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        if not draw:
            patch.setattr(Figure, "savefig", lambda _, path, **options: Image.new("RGB", (1, 1)).save(path, "PNG"))
        job.run(build_stage({"kind": "pipeline", "stages": STAGES}, ""), folder, Context())
    return folder
