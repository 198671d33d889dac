"""Datasets whose samples take almost no time, to measure everything except the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayspin.jobs.generate.job import Generate


class RandomSpins(Generate):
    """A job whose samples are computed from a formula instead of being annealed."""

    def anneal_sample(self, sample: int) -> np.ndarray:
        rows, columns = self.size
        angle = np.float32(0.1) * (np.arange(columns, dtype=np.float32) + np.arange(rows, dtype=np.float32)[:, None])
        angle += np.float32(0.001 * sample)
        return np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)


def table(samples: int, shard_samples: int, size: int, sweeps: int = 10) -> dict[str, Any]:
    schedule = {"sweeps": sweeps, "quench_sweeps": sweeps, "torque_tolerance": 0.0}
    splits = {"test": 0}
    return {
        "samples": samples, "size": size, "shard_samples": shard_samples, "hamiltonian": "labyrinth",
        "schedule": schedule, "splits": splits,
    }  # fmt: skip
