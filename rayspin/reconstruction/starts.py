"""Starts of MAP that need no inverse of the degradation, or S_z alone."""

from __future__ import annotations

import numpy as np

from rayspin.arrays import channel_first, channel_last
from rayspin.errors import InputError
from rayspin.physics import Hamiltonian, effective_field
from rayspin.reconstruction.preconditioner import Preconditioner
from rayspin.reconstruction.problem import Maps, Problem

# Strength of the data of the smoothest field, relative to that of its gradients: nearly an interpolation without noise.
_STIFFEST = 100.0

# Projections of S_z onto the coarse data and onto [-1, 1].
_PROJECTIONS = 30


def smoothest(problem: Problem) -> Maps:
    """Return the fine maps of least (|grad S|^2 + 0.2 S^2) / 2 + weight / 2 |D S - c|^2, (N, C, Y, X).

    The weight is large for data without noise, and of the order of the inverse of the variance otherwise.
    """
    weight = _STIFFEST / (1 + _STIFFEST * (problem.variance or 0.0))
    every = slice(problem.coarse_NCKYX.shape[1])
    precondition = Preconditioner(problem.operator, 1.0, weight, every)
    return np.float32(weight) * precondition(problem.operator.adjoint(problem.coarse_NCKYX))


def from_out_of_plane(problem: Problem, hamiltonian: Hamiltonian) -> Maps:
    """Return fine spins (N, 3, Y, X) from coarse S_z.

    S_z is found by projections onto the coarse data and onto [-1, 1]. The in-plane part has the direction of the field
    of S_z, which is that of the Dzyaloshinskii-Moriya interaction in walls of its handedness, and points along +x where
    the Hamiltonian has no such field.
    """
    out_of_plane = _out_of_plane(problem)
    spins_NCYX = np.zeros((len(out_of_plane), 3, *problem.operator.shape), np.float32)
    spins_NCYX[:, 2:] = out_of_plane
    field_NYXC = effective_field(np.ascontiguousarray(channel_last(spins_NCYX)), hamiltonian)
    in_plane = channel_first(field_NYXC)[:, :2]
    length = np.linalg.norm(in_plane, axis=1, keepdims=True)
    along_x = np.array([1, 0], np.float32)[:, None, None]
    direction = np.where(length > 0, in_plane / np.where(length > 0, length, 1), along_x)
    spins_NCYX[:, :2] = np.sqrt(1 - np.square(out_of_plane)) * direction
    return spins_NCYX


def _out_of_plane(problem: Problem) -> Maps:
    try:
        if problem.variance:
            return np.clip(smoothest(problem), -1, 1)
        found = np.clip(problem.operator.inverse(problem.coarse_NCKYX), -1, 1)
        for _ in range(_PROJECTIONS):
            misfit = problem.coarse_NCKYX - problem.operator.apply(found)
            found = np.clip(found + problem.operator.inverse(misfit), -1, 1)
        return found
    except InputError:
        return np.clip(smoothest(problem), -1, 1)
