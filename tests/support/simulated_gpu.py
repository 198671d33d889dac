"""GPU kernels run in Numba's CUDA simulator: `python -m tests.support.simulated_gpu samples|shard NAME`."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import ShardMaker
from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian, Sampler
from rayspin.physics.gpu import BatchSampler
from tests.support.repository import REPOSITORY

SEEDS = [(21, 0), (21, 1), (21, 2)]
OPEN = Hamiltonian(anisotropy=0.3, anisotropy_axis=(1.0, 2.0, 0.5), dmi=0.2, dmi_kind="bulk", boundary="open")
SIMULATED = {
    "labyrinth": (LABYRINTH, (4, 6)),
    "open": (OPEN, (3, 5)),
    "domain": (DOMAIN, (4, 6)),
}


TWO_POINTS = {
    "samples": 4,
    "size": 4,
    "seed": 5,
    "shard_samples": 4,
    "hamiltonian": "labyrinth",
    "schedule": {"sweeps": 2, "quench_sweeps": 2},
    "grid": {"hamiltonian.dmi": [0.5, 1.0]},
}
ON_GPU = Generate.model_validate(TWO_POINTS | {"resources": {"gpu": True}})


def simulate(*arguments: str) -> None:
    """Run this module in a process that uses Numba's CUDA simulator."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.simulated_gpu", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr


def check_samples(name: str) -> None:
    """Assert that samples are bitwise equal to those of the CPU kernels."""
    model, size = SIMULATED[name]
    temperatures = np.array([1.2, 0.01])
    batch = BatchSampler(model, size, SEEDS[:2])
    alone = [Sampler(model, size, seed) for seed in SEEDS[:2]]
    for sampler in (batch, *alone):
        sampler.heat_bath(temperatures, 1)
        sampler.set_external_field((0.1, 0.2, 0.3))
        sampler.heat_bath(temperatures)
    torques = batch.quench(3, 1e-3, 0.9)
    np.testing.assert_array_equal(torques, [sampler.quench(3, 1e-3, 0.9) for sampler in alone])
    np.testing.assert_array_equal(batch.spins, [sampler.spins for sampler in alone])


if __name__ == "__main__":
    # The integer arithmetic of the random streams overflows by design.
    warnings.filterwarnings("ignore", "overflow encountered in scalar", RuntimeWarning)
    what, name = sys.argv[1:]
    if what == "samples":
        check_samples(name)
    else:
        ShardMaker(*ON_GPU.maker(Path(name))).work((0, 4))
