"""Response of super-resolution to noise: the output is degraded and fed back (2023 paper, Figs. 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rayspin.analysis.resolution import Upsample, normalized
from rayspin.analysis.rows import Row, field_rows
from rayspin.metrics import correlation, mse
from rayspin.physics import Degradation, energy
from rayspin.physics.corruption import noisy
from rayspin.physics.hamiltonian import HamiltonianLike

Spins = npt.NDArray[np.float32]

NoisePlace: TypeAlias = Literal["coarse", "fine"]
"""Spins that the noise is added to: the coarse spins, which the method is given, or the fine ones, before the
degradation. The paper doesn't state which; its networks are given coarse spins."""

EACH = 10
"""Number of first iterations that are all recorded: the correlation changes fastest there."""


def noisy_coarse(
    fine_NYXC: Spins,
    scale: int,
    degradation: Degradation,
    amplitude: float,
    place: NoisePlace,
    *,
    seed: int,
    first: int,
) -> Spins:
    """Return coarse spins with noise, S' = (S + alpha R) / |S + alpha R| with random unit vectors R.

    R is the same for all amplitudes. With amplitude 0, the coarse spins are the output of the degradation without
    normalizing, as in the data of a training.

    Args:
        fine_NYXC: (N, Y, X, 3) fine spins.
        scale: fine sites per coarse pixel along each axis.
        degradation: the degradation.
        amplitude: amplitude alpha.
        place: spins that the noise is added to.
        seed: root seed; sample n uses the stream (seed, n).
        first: number of the first sample.
    """

    def with_noise(spins_NYXC: Spins) -> Spins:
        if not amplitude:
            return spins_NYXC
        return np.stack([noisy(spins, amplitude, (seed, first + n)) for n, spins in enumerate(spins_NYXC)])

    if place == "fine":
        return degradation.apply(with_noise(fine_NYXC), scale)
    return with_noise(degradation.apply(fine_NYXC, scale))


def feed_back(
    method: Upsample, coarse_NYXC: Spins, scale: int, degradation: Degradation, iterations: int
) -> Iterator[Spins]:
    """Yield the output of a method in each iteration, (N, Y, X, 3); the degraded output is the next input.

    The output is fed back without normalizing. The degraded version of unit spins is never longer than 1, so longer
    coarse spins are shortened to 1. Otherwise a network whose output grows would diverge.

    Args:
        method: the method.
        coarse_NYXC: (N, Y / scale, X / scale, 3) coarse spins, the first input.
        scale: fine sites per coarse pixel along each axis.
        degradation: the degradation.
        iterations: number of iterations.
    """
    for _ in range(iterations):
        fine_NYXC = method(coarse_NYXC, scale)
        yield fine_NYXC
        coarse_NYXC = degradation.apply(fine_NYXC, scale)
        coarse_NYXC = coarse_NYXC / np.maximum(1, np.linalg.norm(coarse_NYXC, axis=-1, keepdims=True))


def recorded_iterations(iterations: int, every: int) -> tuple[int, ...]:
    """Return the iterations to record: the first ten, the multiples of `every`, and the last one."""
    return tuple(n for n in range(1, iterations + 1) if n <= EACH or n % every == 0 or n == iterations)


def response_rows(
    outputs: Iterable[Spins],
    recorded: Sequence[int],
    truth_NYXC: Spins,
    hamiltonian: HamiltonianLike,
    labels: Mapping[str, Any],
    first: int,
) -> list[Row]:
    """Return one row for each sample and recorded iteration.

    A row has the labels, the number of the sample, the iteration, the correlation (mean of S . S') of the output and of
    the normalized output, and the MSE and the energy per site (J) of the latter.

    Args:
        outputs: output of each iteration, (N, Y, X, 3), from the first.
        recorded: iterations to record, in ascending order.
        truth_NYXC: (N, Y, X, 3) true fine spins.
        hamiltonian: the Hamiltonian of the energies.
        labels: columns that all rows have.
        first: number of the first sample.
    """
    rows: list[Row] = []
    for iteration, fine_NYXC in enumerate(outputs, 1):
        if iteration not in recorded:
            continue
        unit_NYXC = normalized(fine_NYXC)
        columns = {
            "sample": np.arange(first, first + len(truth_NYXC)),
            "iteration": np.full(len(truth_NYXC), iteration),
            "correlation": correlation(unit_NYXC, truth_NYXC),
            "raw_correlation": correlation(fine_NYXC, truth_NYXC),
            "mse": mse(unit_NYXC, truth_NYXC),
            "energy": energy(unit_NYXC, hamiltonian),
        }
        rows += field_rows(columns, labels)
    return rows


def mean_curve(rows: Sequence[Row], column: str = "correlation") -> tuple[list[int], list[float]]:
    """Return the iterations of rows and the mean over samples at each of them (Figs. 5b and 6b)."""
    by_iteration: dict[int, list[float]] = {}
    for row in rows:
        by_iteration.setdefault(row["iteration"], []).append(row[column])
    steps = sorted(by_iteration)
    return steps, [float(np.mean(by_iteration[step])) for step in steps]
