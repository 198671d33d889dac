"""Response to an external field (2021 paper, Fig. 6), by the recursive process, Monte Carlo and exact descent."""

from __future__ import annotations

from rayspin.analysis.classical import cool
from rayspin.analysis.trajectory import Row, Spins, Trajectory
from rayspin.analysis.twins import Twin, follow, in_field
from rayspin.models import FieldNet
from rayspin.physics import AnnealSchedule, Hamiltonian
from rayspin.physics.observables import isolated_domains


def in_the_field(
    twin: Twin,
    network: FieldNet,
    start_NYXC: Spins,
    hamiltonian: Hamiltonian,
    field: float,
    *,
    first: int,
    first_field: float = 0.0,
    iterations: int,
    isotropic: float,
    every: int,
) -> Trajectory:
    """Return the trajectory in a field; recorded steps count from the moment when the whole field is applied.

    Args:
        twin: the estimator.
        network: the network.
        start_NYXC: (N, Y, X, 3) initial spins.
        hamiltonian: the Hamiltonian without the field.
        field: external field along z, J.
        first: number of iterations before the whole field is applied, without the isotropic part.
        first_field: fraction of the field in these iterations.
        iterations: number of iterations in the field.
        isotropic: as in `follow`, in the field.
        every: number of iterations between records.
    """
    if first:
        part = (0.0, 0.0, first_field * field)
        start_NYXC = follow(twin, network, start_NYXC, hamiltonian, first, field=part, record=first).last
    record = tuple(range(0, iterations, every))
    return follow(
        twin,
        network,
        start_NYXC,
        hamiltonian,
        iterations,
        field=(0.0, 0.0, field),
        isotropic=isotropic,
        record=record,
        frames=record,
    )


def cooled_in_the_field(
    size: tuple[int, int], hamiltonian: Hamiltonian, field: float, schedule: AnnealSchedule, seed: tuple[int, ...]
) -> Trajectory:
    """Return a Monte Carlo annealing in a field from random spins, with records of its first and last step.

    Args:
        size: (rows, columns).
        hamiltonian: the Hamiltonian without the field.
        field: external field along z, J.
        schedule: the schedule.
        seed: address of the random streams.
    """
    last = schedule.sweeps + (schedule.quench_sweeps or 0)
    return cool(in_field(hamiltonian, (0.0, 0.0, field)), size, schedule, [seed], record=last, frames=[0])


def response_rows(
    trajectory: Trajectory, estimator: str, field: float, first: int, skyrmion_sites: tuple[int, int]
) -> list[Row]:
    """Return one row for each sample and recorded step, with the field and the number of skyrmions.

    Args:
        trajectory: result of `in_the_field` or `cooled_in_the_field`.
        estimator: name of the estimator.
        field: external field along z, J.
        first: number of the first sample.
        skyrmion_sites: least and largest number of sites of a domain against the mean S_z that counts as a skyrmion.
    """
    counts = {step: isolated_domains(spins, skyrmion_sites) for step, spins in trajectory.frames.items()}
    rows = trajectory.rows(estimator, first)
    for row in rows:
        row["skyrmions"] = int(counts[int(row["step"])][int(row["sample"]) - first])
    return [{"field": field, **row} for row in rows]
