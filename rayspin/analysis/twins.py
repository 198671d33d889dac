"""An experiment of the recursive process by each of its estimators: the network, the exact field, exact descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy.typing as npt

from rayspin.analysis.classical import descend
from rayspin.analysis.estimates import exact_field
from rayspin.analysis.recursive import recurse
from rayspin.analysis.recursive_steps import external_field
from rayspin.analysis.trajectory import Spins, Trajectory
from rayspin.models import FieldNet
from rayspin.physics import Hamiltonian
from rayspin.physics.hamiltonian import Vector
from rayspin.rng import Seed

Twin: TypeAlias = Literal["network", "exact", "descent"]
"""What an experiment follows: "network" aligns the spins with the network's output, "exact" with the exact field in
place of it, and "descent" aligns one spin after another with the exact field, at T = 0."""

NO_FIELD: Vector = (0.0, 0.0, 0.0)


def follow(
    twin: Twin,
    network: FieldNet,
    spins_NYXC: Spins,
    hamiltonian: Hamiltonian,
    iterations: int,
    *,
    field: Vector = NO_FIELD,
    isotropic: float = 0.0,
    reference: npt.ArrayLike | None = None,
    record: int | Iterable[int] = 1,
    frames: Iterable[int] = (),
    seed: Seed = 0,
    first: int = 0,
) -> Trajectory:
    """Return the trajectory of spins by one of the estimators.

    Args:
        twin: the estimator.
        network: the network.
        spins_NYXC: (N, Y, X, 3) initial spins.
        hamiltonian: the Hamiltonian of the exact field and the energies, without `field`.
        iterations: number of iterations of the recursion, or of sweeps of the descent.
        field: external field (x, y, z) that is added, J.
        isotropic: coefficient of the part c S that is added to the output of the network, J.
        reference: as in `recurse`.
        record: as in `recurse`.
        frames: as in `recurse`.
        seed: as in `descend`.
        first: as in `descend`.
    """
    total = in_field(hamiltonian, field)
    if twin == "descent":
        return descend(
            spins_NYXC, total, iterations, seed=seed, first=first, reference=reference, record=record, frames=frames
        )
    by_network = twin == "network"
    return recurse(
        spins_NYXC,
        network if by_network else exact_field(total),
        iterations,
        hamiltonian=total,
        modify=external_field(field) if by_network and any(field) else None,
        isotropic=isotropic if by_network else 0.0,
        reference=reference,
        record=record,
        frames=frames,
    )


def in_field(hamiltonian: Hamiltonian, field: Vector) -> Hamiltonian:
    """Return a Hamiltonian with a field (x, y, z) added to its external field, J."""
    if not any(field):
        return hamiltonian
    return hamiltonian.with_updates(external_field=tuple(a + b for a, b in zip(hamiltonian.external_field, field)))
