"""Search for lower local minima of the posterior around missing pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_last
from rayspin.physics import Hamiltonian, effective_field
from rayspin.reconstruction.problem import Maps, Mask, Problem, unit
from rayspin.reconstruction.waves import smoothed
from rayspin.rng import generator

Descend = Callable[[Maps], Maps]
"""A function of unit spins (N, 3, Y, X) that returns the spins of a local minimum."""

# Amplitude of a perturbation in the middle of a gap, before the spins are normalized.
_AMPLITUDE = 1.5

# Decrease of the objective that counts, in units of the largest coupling: more than where descents end varies it.
_DECREASE = 0.01

# The search ends after so many tries in a row that lowered no field.
_IN_VAIN = 8


def search_gaps(
    problem: Problem, hamiltonian: Hamiltonian, spins_NCYX: Maps, weight: float, tries: int, descend: Descend
) -> Maps:
    """Return spins whose posterior is lower around missing pixels, where the data leave the choice between minima.

    Each try perturbs the spins of all gaps by smooth random vectors, and descends. Gaps hardly affect each other: the
    result is kept around those gaps where it is lower, and the field that is spliced so descends again.

    Args:
        problem: the problem, with missing pixels.
        hamiltonian: the Hamiltonian.
        spins_NCYX: unit spins of local minima.
        weight: strength of the data, J.
        tries: number of perturbations.
        descend: the descent to a local minimum.
    """
    assert problem.known_NKYX is not None
    gaps_NYX: Mask = np.asarray(~problem.known_NKYX.any(axis=1))
    cells_NYX = _cells(gaps_NYX)
    reach_NYX = np.clip(1.5 * smoothed(_sites(gaps_NYX, problem).astype(np.float32), problem.operator.scale / 2), 0, 1)
    decrease = _DECREASE * hamiltonian.largest_coupling
    found_NYX = _objective(problem, hamiltonian, spins_NCYX, weight)
    last = 0
    for number in range(tries):
        if number - last > _IN_VAIN:
            break
        noise = generator("gaps", number).standard_normal(spins_NCYX.shape)
        smooth = smoothed(noise, problem.operator.scale / 2)
        kicked = spins_NCYX + _AMPLITUDE * reach_NYX[:, None] * smooth / smooth.std()
        trial_NCYX = descend(unit(kicked).astype(np.float32))
        change_NYX = _objective(problem, hamiltonian, trial_NCYX, weight) - found_NYX
        better_NYX = np.stack([_sum_over(cells, change) for cells, change in zip(cells_NYX, change_NYX)]) < -decrease
        if not better_NYX.any():
            continue
        trial_NCYX = descend(np.where(_sites(better_NYX, problem)[:, None], trial_NCYX, spins_NCYX))
        trial_NYX = _objective(problem, hamiltonian, trial_NCYX, weight)
        lower = trial_NYX.sum(axis=(1, 2)) < found_NYX.sum(axis=(1, 2)) - decrease
        last = number if lower.any() else last
        spins_NCYX[lower], found_NYX[lower] = trial_NCYX[lower], trial_NYX[lower]
    return spins_NCYX


def _objective(problem: Problem, hamiltonian: Hamiltonian, spins_NCYX: Maps, weight: float) -> Maps:
    """Return the energy and the weighted misfit of each coarse pixel, J."""
    spins = np.ascontiguousarray(channel_last(spins_NCYX))
    external = np.array(hamiltonian.external_field, np.float32)
    energy_NYX = -(spins * (effective_field(spins, hamiltonian) + external)).sum(axis=-1, dtype=np.float64) / 2
    scale, (rows, columns) = problem.operator.scale, problem.operator.coarse_shape
    pixels_NYX = energy_NYX.reshape(-1, rows, scale, columns, scale).sum(axis=(2, 4))
    objective: Maps = pixels_NYX + weight / 2 * np.square(problem.misfit(spins_NCYX)).sum(axis=(1, 2))
    return objective


def _cells(gaps_NYX: Mask) -> npt.NDArray[np.intp]:
    """Return the number of the nearest gap for each coarse pixel; adjacent missing pixels are one gap."""
    rows, columns = gaps_NYX.shape[1:]
    cells = np.where(gaps_NYX, 1 + np.arange(rows * columns).reshape(rows, columns), 0)
    while not np.array_equal(grown := np.where(gaps_NYX, _largest_around(cells), 0), cells):
        cells = grown
    while not np.array_equal(grown := np.where(cells, cells, _largest_around(cells)), cells):
        cells = grown
    return cells


def _largest_around(cells_NYX: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    largest: npt.NDArray[np.intp] = np.max([np.roll(cells_NYX, move, (1, 2)) for move in _AROUND], axis=0)
    return largest


_AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def _sum_over(cells_YX: npt.NDArray[np.intp], change_YX: Maps) -> Maps:
    """Return the sum of the changes over the cell of each pixel."""
    sums: Maps = np.bincount(cells_YX.ravel(), change_YX.ravel()).astype(np.float64)
    return sums[cells_YX]


def _sites(pixels_NYX: Mask, problem: Problem) -> Mask:
    """Return the value of the pixel of each fine site."""
    return pixels_NYX.repeat(problem.operator.scale, axis=1).repeat(problem.operator.scale, axis=2)
