"""Noise of coarse spins: its strength, and what it does to their mean and variance.

The papers' noise is S' = (S + alpha R) / |S + alpha R|, with a random unit vector R at each site. The mean of S' has
the direction of S and is shorter. Without the division, S' = S + alpha R has the mean S and the variance alpha^2 / 3 in
each component. The lengths of the coarse spins show which of the two was applied: all are 1 after a division.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.reconstruction.problem import Maps, Problem

# Deviation from length 1 that rounding leaves.
_ROUNDING = 1e-3

# Standard deviations by which the power of a coarse wave must exceed that of the noise.
_SIGNIFICANT = 6.0


def mean_length(amplitude: float, length: npt.ArrayLike = 1.0) -> npt.NDArray[np.float64]:
    """Return the length of the mean of (S + amplitude R) / |S + amplitude R| for spins S of given lengths.

    It is the derivative with respect to |S| of the mean of |S + amplitude R|, which is |S| + amplitude^2 / (3 |S|) for
    amplitude < |S|, and amplitude + |S|^2 / (3 amplitude) beyond.
    """
    lengths = np.asarray(length, np.float64)
    weak = 1 - np.square(amplitude / np.maximum(lengths, max(amplitude, 1e-30))) / 3
    return np.where(lengths > amplitude, weak, 2 * lengths / (3 * max(amplitude, 1e-30)))


def amplitude_of(mean: float) -> float:
    """Return the amplitude for which `mean_length` of unit spins has a value from 0 to 1."""
    return float(np.sqrt(3 * (1 - mean))) if mean > 2 / 3 else 2 / (3 * max(mean, 1e-9))


def normalized(coarse_NCKYX: Maps) -> bool:
    """Return whether all coarse spins have length 1."""
    if coarse_NCKYX.shape[1] != 3:
        return False
    lengths = np.linalg.norm(coarse_NCKYX, axis=1)
    return bool(np.abs(lengths - 1).max() < _ROUNDING)


def with_noise(problem: Problem, amplitude: float) -> Problem:
    """Return a problem whose coarse spins have the mean D S and the variance of the noise.

    Args:
        problem: the problem with the coarse spins as they were measured.
        amplitude: the papers' alpha.

    Raises:
        InputError: no wave of the coarse spins exceeds the noise.
    """
    is_normalized = normalized(problem.coarse_NCKYX)
    mean = float(mean_length(amplitude)) if is_normalized else 1.0
    variance = (1 - mean**2) / 3 if is_normalized else amplitude**2 / 3
    _check_above(problem, variance)
    return replace(problem, coarse_NCKYX=problem.coarse_NCKYX / np.float32(mean), variance=variance / mean**2)


def estimated_amplitude(coarse_NCKYX: Maps) -> float:
    """Return an estimate of the amplitude of the noise from the weakest waves of coarse spins; see `white_power`."""
    variance = white_power(coarse_NCKYX)
    if normalized(coarse_NCKYX):
        return amplitude_of(np.sqrt(max(1 - 3 * variance, 0)))
    return float(np.sqrt(3 * variance))


def residual_amplitude(problem: Problem, spins_NCYX: Maps) -> float:
    """Return an estimate of the amplitude from the misfit of fine spins, which did not follow the noise.

    Args:
        problem: the problem with the coarse spins as they were measured.
        spins_NCYX: fine spins.
    """
    share = 1.0 if problem.known_NKYX is None else float(problem.known_NKYX.mean())
    degraded = problem.operator.apply(spins_NCYX[:, problem.measured])
    if normalized(problem.coarse_NCKYX):
        lengths = np.maximum(np.linalg.norm(degraded, axis=1), 1e-9)
        along = (degraded * problem.coarse_NCKYX).sum(axis=1) / lengths
        mean = float(along.mean() if problem.known_NKYX is None else along[problem.known_NKYX].mean())
        return amplitude_of(min(max(mean, 0.0), 1.0))
    return float(np.sqrt(3 * np.square(problem.misfit(spins_NCYX)).mean() / share))


def white_power(coarse_NCKYX: Maps) -> float:
    """Return an estimate of the variance of the noise in each component: the power of the weakest coarse waves.

    White noise has the same power in all waves, and the spins least in some, usually the shortest. Power is averaged
    over the waves of each length, and then over the weakest third of the lengths. It includes what the spins have
    there, which is much for labyrinths at scale 8.
    """
    rows, columns = coarse_NCKYX.shape[-2:]
    ky, kx = np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)
    ring = np.round(np.hypot(ky, kx) * max(rows, columns)).astype(int).ravel()
    counts, sums = np.bincount(ring), np.bincount(ring, _power(coarse_NCKYX).ravel())
    power = np.sort(sums[counts > 2] / counts[counts > 2]) if (counts > 2).any() else sums[counts > 0]
    return float(power[: max(1, len(power) // 3)].mean())


def _power(coarse_NCKYX: Maps) -> Maps:
    """Return the mean power of each coarse wave in a component, (Y, X); that of white noise is its variance."""
    waves = np.fft.fft2(coarse_NCKYX)
    power: Maps = np.square(np.abs(waves)).mean(axis=(0, 1, 2)) / waves[0, 0, 0].size
    return power


def _check_above(problem: Problem, variance: float) -> None:
    """Check that a coarse wave exceeds the noise; the power of white noise is the same for all waves."""
    coarse = problem.coarse_NCKYX
    power = _power(coarse)
    smooth = np.mean([np.roll(power, move, (0, 1)) for move in np.ndindex(3, 3)], axis=0)
    samples = 9 * coarse.size / coarse[0, 0, 0].size
    if smooth.max() <= variance * (1 + _SIGNIFICANT / np.sqrt(samples)):
        mean = ", ".join(f"{value:.2g}" for value in coarse.mean(axis=(0, 2, 3, 4)))
        remedy = f"give more fields or observations; these determine only the mean spin, about ({mean})"
        raise InputError("noise", "no wave of the coarse spins exceeds it", remedy)
