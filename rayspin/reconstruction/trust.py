"""Where to trust a reconstruction: from the residuals that it leaves to a predicted squared error at each site.

Two residuals can be computed without the truth: the torque t = |S x F|^2 / J^2 for the largest coupling J of the
Hamiltonian, and the misfit r = scale^2 |D^T (D S - c)|^2. Both are averaged by a Gaussian of 6 sites. The error grows
with u = w ln t + (1 - w) ln r; how, is learned from fields whose truth is known, by isotonic regression.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_last
from rayspin.config import Config, build
from rayspin.errors import InputError
from rayspin.inputs import parse_json, read_text
from rayspin.physics import Degradation, Hamiltonian, torque
from rayspin.physics.arguments import spin_field
from rayspin.reconstruction.operator import Maps
from rayspin.reconstruction.problem import Problem
from rayspin.reconstruction.waves import smoothed
from rayspin.rundir import write_text

Values = npt.NDArray[np.float64]

# Width of the Gaussian that averages residuals and errors, sites.
_SMOOTHING = 6.0

# Squared residuals and errors below this are rounding of float32.
_LEAST = 1e-15

# Bins of u for the regression, and the part of the sites at either end that is outside the range of the calibration:
# the last few sites are too few to define a normal range.
_BINS, _OUTSIDE = 80, 1e-3

# A field contradicts the assumptions if its median torque, or its ratio of misfit to torque, exceeds this multiple of
# the largest one of the calibration; as squares, so twice in amplitude.
_CONTRADICTION = 4.0

LONGEST_FILE = 10_000_000
"""Largest size of a file of trust models, bytes."""


class TrustModel(Config):
    """Predicts the squared error |S - S_true|^2, averaged by a Gaussian of 6 sites, from residuals.

    It holds for fields like those that it was fitted on; see `fit_trust`. Where the error lies in the band that the
    degradation passes, as that of MAP on labyrinths does, the misfit D (S - S_true) shows it directly, and predictions
    are accurate to a few percent; errors beyond that band are inferred.
    """

    method: str
    """The method of reconstruction with its options, as `repr` shows it."""
    scale: int
    """Fine sites per coarse pixel along each axis."""
    degradation: Degradation
    """The degradation."""
    hamiltonian: Hamiltonian | None = None
    """The Hamiltonian of the torque; None if the model uses the misfit alone."""
    mixing: float
    """The weight w of the torque."""
    residuals: tuple[float, ...]
    """Values of u, ascending."""
    errors: tuple[float, ...]
    """Logarithm of the squared error at each of them."""
    exponent: float
    """Slope of the logarithm of the error beyond the ends: a power law of the residuals."""
    range: tuple[float, float]
    """Smallest and largest u of the calibration, without the outermost 0.1 % of the sites at either end."""
    usual_torque: float
    """Largest median of ln t of a field in the calibration, or of ln r without a Hamiltonian."""
    usual_ratio: float
    """Largest median of ln r - ln t of a field in the calibration, or 0 without a Hamiltonian."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model from a JSON file.

        Raises:
            InputError: the file can't be read or is not a model.
        """
        return build(cls, parse_json(read_text(Path(path), limit=LONGEST_FILE), str(path)), str(path))

    def save(self, path: str | Path) -> None:
        """Write the model to a JSON file.

        Raises:
            MachineError: the system refuses to write.
        """
        write_text(Path(path), json.dumps(self.to_table()) + "\n")

    def predict(self, residuals: Residuals) -> tuple[Values, npt.NDArray[np.bool_]]:
        """Predict errors.

        Args:
            residuals: the residuals.

        Returns:
            the predicted squared errors, (N, Y, X), and where the residuals are outside the range of the calibration.
        """
        u = residuals.mixed(self.mixing)
        knots, errors = np.array(self.residuals), np.array(self.errors)
        inside = np.interp(u, knots, errors)
        beyond = u - np.clip(u, knots[0], knots[-1])
        return np.exp(inside + self.exponent * beyond), (u < self.range[0]) | (u > self.range[1])

    def contradiction(self, residuals: Residuals) -> str | None:
        """Return what contradicts the assumptions in one line, or None.

        Wrong strengths leave torque and misfit in their usual ratio, because the data pull the spins away from
        equilibrium. A wrong blur, gain or offset leaves a misfit of the spins' length, too, which no rotation removes.
        """
        torques, ratios = (np.exp(found) for found in residuals.medians())
        torques, ratios = torques / np.exp(self.usual_torque), ratios / np.exp(self.usual_ratio)
        suspect = (torques > _CONTRADICTION) | (ratios > _CONTRADICTION)
        if not suspect.any():
            return None
        excess = np.sqrt(np.maximum(torques, torques * ratios)[suspect].max())
        what = f"{suspect.sum()} of {suspect.size} fields leave up to {excess:.2g} times the usual residual"
        if np.median(ratios[suspect]) > _CONTRADICTION:
            return f"{what}, as a wrong blur, gain or offset does; see rayspin.reconstruction.calibrate"
        return f'{what}, as a wrong Hamiltonian does; try the method "map-fit"'


@dataclass(frozen=True)
class Residuals:
    """Residuals of fields, smoothed.

    Attributes:
        misfit: ln r, (N, Y, X).
        torque: ln t, (N, Y, X); None without a Hamiltonian.
    """

    misfit: Values
    torque: Values | None

    @classmethod
    def of(cls, spins_NCYX: Maps, problem: Problem, hamiltonian: Hamiltonian | None) -> Self:
        """Return the residuals of reconstructed spins.

        Args:
            spins_NCYX: unit spins.
            problem: the coarse spins and the degradation.
            hamiltonian: the Hamiltonian of the torque, or None.
        """
        operator = problem.operator
        misfit = operator.scale * operator.adjoint(problem.misfit(spins_NCYX))
        if hamiltonian is None:
            return cls(_log(misfit), None)
        spins_NYXC = np.ascontiguousarray(channel_last(spins_NCYX), np.float32)
        turning = np.moveaxis(torque(spins_NYXC, hamiltonian), -1, 1) / hamiltonian.largest_coupling
        return cls(_log(misfit), _log(turning))

    def mixed(self, mixing: float) -> Values:
        """Return u = w ln t + (1 - w) ln r, (N, Y, X)."""
        return self.misfit if self.torque is None else mixing * self.torque + (1 - mixing) * self.misfit

    def medians(self) -> tuple[Values, Values]:
        """Return the median of ln t of each field, and that of ln r - ln t; of ln r, and 0, without a Hamiltonian."""
        if self.torque is None:
            return np.median(self.misfit, axis=(1, 2)), np.zeros(len(self.misfit))
        return np.median(self.torque, axis=(1, 2)), np.median(self.misfit - self.torque, axis=(1, 2))


def squared_error(spins_NYXC: npt.ArrayLike, truth_NYXC: npt.ArrayLike) -> Values:
    """Return |S - S_true|^2, averaged by a Gaussian of 6 sites: what a `TrustModel` predicts.

    Args:
        spins_NYXC: reconstructed spins, (N, Y, X, 3) or (Y, X, 3).
        truth_NYXC: the true spins, in the same shape.

    Returns:
        the squared errors, (N, Y, X) or (Y, X).

    Raises:
        InputError: an array is not a field of spins, or the shapes differ.
    """
    spins, truth = spin_field(spins_NYXC), spin_field(truth_NYXC, "truth")
    if spins.shape != truth.shape:
        raise InputError("truth", f"has shape {truth.shape}", f"give {spins.shape}")
    squares = np.square(spins.astype(np.float64) - truth).sum(axis=-1)
    return _smoothed(squares)


def isotonic(values: npt.ArrayLike, weights: npt.ArrayLike) -> Values:
    """Return the non-decreasing sequence with the least weighted squared distance from values, (n,).

    Args:
        values: (n,).
        weights: positive weights, (n,).
    """
    # Pool adjacent violators: each block of equal results holds the sum of its values, of its weights, and its length.
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(np.asarray(values, float).tolist(), np.asarray(weights, float).tolist()):
        block = (value * weight, weight, 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            total, mass, length = blocks.pop()
            block = (total + block[0], mass + block[1], length + block[2])
        blocks.append(block)
    return np.repeat([total / mass for total, mass, _ in blocks], [length for _, _, length in blocks])


@dataclass(frozen=True)
class Curve:
    """The mean squared error as a function of u; the fields are those of `TrustModel`."""

    residuals: Values
    errors: Values
    exponent: float
    range: tuple[float, float]


def fitted_curve(u: Values, errors: Values) -> Curve:
    """Return the isotonic regression of squared errors on u, both (n,), over bins of equal width."""
    edges = np.linspace(u.min(), u.max(), _BINS + 1)
    bins = np.clip(np.searchsorted(edges, u, side="right") - 1, 0, _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    filled = counts > 0
    means = np.bincount(bins, errors, _BINS)[filled] / counts[filled]
    knots = np.bincount(bins, u, _BINS)[filled] / counts[filled]
    logs = np.log(isotonic(means, counts[filled]))
    exponent = float(np.polyfit(knots, logs, 1, w=np.sqrt(counts[filled]))[0]) if len(knots) > 1 else 0.0
    low, high = np.quantile(u, [_OUTSIDE, 1 - _OUTSIDE])
    return Curve(knots, logs, max(0.0, exponent), (float(low), float(high)))


def reliability(
    predicted: npt.ArrayLike, errors: npt.ArrayLike, groups: int = 10
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean predicted and the mean actual squared error of groups of sites, in the order of the prediction.

    Args:
        predicted: predicted squared errors, any shape.
        errors: squared errors, in the same shape.
        groups: number of groups of (nearly) equal size; 10 gives deciles.

    Returns:
        the means of the predicted and of the actual errors, (groups,) each.
    """
    first, second = np.ravel(predicted).astype(np.float64), np.ravel(errors).astype(np.float64)
    parts = np.array_split(np.argsort(first, kind="stable"), groups)
    return np.array([first[part].mean() for part in parts]), np.array([second[part].mean() for part in parts])


def _log(vectors_NCYX: Maps) -> Values:
    """Return the logarithm of the smoothed squared length of vectors."""
    logs: Values = np.log(_smoothed(np.square(vectors_NCYX, dtype=np.float64).sum(axis=1)))
    return logs


def _smoothed(squares_YX: Values) -> Values:
    """Return squares (..., Y, X) averaged by a Gaussian with periodic boundaries, and at least `_LEAST`."""
    return np.maximum(smoothed(squares_YX, _SMOOTHING), _LEAST)
