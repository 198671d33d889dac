"""Generation of spins from random maps (2021 paper, Fig. 5), by the recursive process, annealing and descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy as np

from rayspin.analysis.classical import cool
from rayspin.analysis.trajectory import Row, Spins, Trajectory
from rayspin.analysis.twins import Twin, follow
from rayspin.models import FieldNet
from rayspin.physics import AnnealSchedule, Hamiltonian
from rayspin.physics.corruption import defect_rows
from rayspin.rng import Seed

Generator: TypeAlias = Twin | Literal["annealing"]
"""What generates fields: an estimator of `follow` from random maps, or Monte Carlo annealing."""


def random_map(shape: tuple[int, int], seed: Seed) -> Spins:
    """Return random unit spins, uniform on the sphere, (Y, X, 3)."""
    return defect_rows(np.zeros((*shape, 3), np.float32), shape[0], seed)


def generated(
    estimator: Generator,
    network: FieldNet,
    hamiltonian: Hamiltonian,
    size: int,
    seed: tuple[int, ...],
    *,
    iterations: int,
    isotropic: float,
    schedule: AnnealSchedule,
    sweeps: int,
    frames: Iterable[int] = (),
) -> Trajectory:
    """Return the generation of one field as a trajectory; long ones are recorded at logarithmic steps.

    Args:
        estimator: "annealing", or an estimator of `follow`, which starts from the random map of the seed.
        network: the network.
        hamiltonian: the Hamiltonian.
        size: sites along each side.
        seed: address of the random map and of the annealing.
        iterations: number of iterations of a recursion.
        isotropic: as in `follow`.
        schedule: schedule of the annealing.
        sweeps: number of sweeps of the descent, the greedy method of the paper.
        frames: iterations of a recursion whose spins are kept.
    """
    if estimator == "annealing":
        last = schedule.sweeps + (schedule.quench_sweeps or 0)
        return cool(hamiltonian, size, schedule, [seed], record=logarithmic_steps(last))
    start_NYXC = random_map((size, size), seed)[None]
    if estimator == "descent":
        record = logarithmic_steps(sweeps)
        return follow("descent", network, start_NYXC, hamiltonian, sweeps, record=record, seed=seed)
    return follow(estimator, network, start_NYXC, hamiltonian, iterations, isotropic=isotropic, frames=frames)


def generation_rows(trajectory: Trajectory, estimator: str, size: int, sample: int) -> list[Row]:
    """Return one row for each recorded step, with the size and the wall time until the step, s.

    Args:
        trajectory: result of `generated`.
        estimator: the estimator.
        size: sites along each side.
        sample: number of the sample.
    """
    rows = trajectory.rows(estimator, sample)
    return [{"size": size, **row, "seconds": float(s)} for row, s in zip(rows, trajectory.seconds_I)]


def logarithmic_steps(last: int, each_decade: int = 8) -> tuple[int, ...]:
    """Return steps from 1 to `last`, about `each_decade` in each factor of ten.

    Args:
        last: the last step.
        each_decade: number of steps in a factor of ten.
    """
    if last < 1:
        return ()
    count = round(each_decade * np.log10(last)) + 1
    return tuple(sorted({int(step) for step in np.geomspace(1, last, max(count, 2)).round()}))
