"""Wiener filters of all three components together, with a spectrum that is given or learned from coarse fields."""

from __future__ import annotations

import numpy as np
import pydantic

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Maps, Problem, Spectrum
from rayspin.reconstruction.spectrum import Isotropy, covariance
from rayspin.reconstruction.waves import folded_axes

# Variance that is added to a coarse wave, in parts of its own and of the mean over all waves, so that the inverse of
# its covariance exists in float32.
_OWN_FLOOR, _MEAN_FLOOR = 1e-5, 1e-7

# The same where all spins are zero.
_LEAST_FLOOR = 1e-30

# Number of times that missing pixels are estimated from the others: by a filter, and while the spectrum is learned.
_FILLINGS, _ROUNDS_PER_FILLING = 30, 15


class Wiener(Config):
    """The linear filter with the least mean squared error for fine fields of a known spectrum.

    Several fine waves fold into one coarse wave, and the spectrum tells their shares. The components are filtered
    together, because the handedness of a texture ties the phases of S_x, S_y and S_z to one another. So are the
    observations.
    """

    by_component: bool = False
    """Filter each component by itself, without what they tell about each other."""

    def solve(self, problem: Problem) -> Maps:
        """Return the filtered spins; see `Method`."""
        if problem.spectrum_YXCC is None:
            remedy = 'give the spectrum of fine fields, or use the method "wiener-em"'
            raise InputError("spectrum", "the Wiener filter needs one", remedy)
        problem.require_all_components("the Wiener filter")
        variance = _known(problem.variance)
        spectrum_YXCC = _diagonal(problem.spectrum_YXCC) if self.by_component else problem.spectrum_YXCC
        return _estimate(problem, Filter(problem.operator, spectrum_YXCC, variance), _FILLINGS)[0]


class WienerEM(Config):
    """A Wiener filter whose spectrum is learned from the coarse fields themselves by expectation maximization.

    The spectrum is assumed to be unchanged by common rotations of lattice and spins. It is estimated from all fields
    of the call together, so the result for a field depends on the others, and a few dozen fields are better than one.
    An unknown variance of the noise is estimated with it.
    """

    rounds: int = pydantic.Field(150, ge=1)
    """Number of steps of expectation maximization."""
    decay: float = pydantic.Field(3.0, ge=0)
    """Decay length of the first spectrum, exp(-decay |k|), in sites."""
    by_component: bool = False
    """Learn and filter each component by itself, without what they tell about each other."""

    def solve(self, problem: Problem) -> Maps:
        """Return the filtered spins; see `Method`."""
        spectrum_YXCC, variance = self.learn(problem)
        return _estimate(problem, Filter(problem.operator, spectrum_YXCC, variance), _FILLINGS)[0]

    def learn(self, problem: Problem) -> tuple[Spectrum, float]:
        """Return the spectrum of the fine fields, (Y, X, 3, 3), and the variance of the noise, from the coarse fields.

        The variance is the problem's, if it has one.
        """
        problem.require_all_components("the Wiener filter")
        operator, coarse = problem.operator, problem.coarse_NCKYX
        isotropy = Isotropy(operator.shape)
        measured, pixels = _covariance(coarse), float(np.prod(operator.coarse_shape))
        variance = problem.variance if problem.variance is not None else _least_power(measured) / pixels / 2
        first = np.exp(-self.decay * isotropy.wave_numbers)[:, None, None] * np.eye(3)
        spectrum_YXCC = isotropy.spread(first.astype(np.float32))
        power, first_power = (_power(found) for found in (measured, Filter(operator, spectrum_YXCC).coarse))
        spectrum_YXCC = spectrum_YXCC * np.float32(max(power - variance * pixels, 0.01 * power) / first_power)
        for n in range(self.rounds):
            wiener = Filter(operator, spectrum_YXCC, variance)
            if problem.known_NKYX is not None and n % _ROUNDS_PER_FILLING == 0:
                measured = _covariance(_estimate(problem, wiener, 3)[1])
            spectrum_YXCC = isotropy.spread(isotropy.table(wiener.second_moment(measured)))
            if self.by_component:
                spectrum_YXCC = _diagonal(spectrum_YXCC)
            if problem.variance is None:
                variance = wiener.noise(measured)
        return spectrum_YXCC, variance


class Filter:
    """The Wiener filter of a spectrum, a matrix of each fine wave.

    Args:
        operator: the degradation.
        spectrum_YXCC: the spectrum of the fine spins.
        variance: variance of the noise in each component of a coarse spin.

    Attributes:
        coarse: covariance of the waves of the coarse spins without noise, (Y / scale, X / scale, K 3, K 3).
    """

    def __init__(self, operator: Operator, spectrum_YXCC: Spectrum, variance: float = 0.0) -> None:
        self._operator, self._spectrum_YXCC = operator, spectrum_YXCC
        transfer = operator.transfer
        count, (rows, columns), scale = len(transfer), operator.coarse_shape, operator.scale
        # The covariance of the fine waves with the coarse ones, (Y, X, 3, K 3).
        self._mixed = np.concatenate([h.conj()[..., None, None] * spectrum_YXCC for h in transfer], axis=-1)
        folded = self._mixed.reshape(scale, rows, scale, columns, 3, 3 * count)
        parts = [(folded_axes(h, scale)[..., None, None] * folded).sum(axis=(0, 2)) for h in transfer]
        self.coarse: Spectrum = np.concatenate(parts, axis=-2)
        own = np.trace(self.coarse, axis1=-2, axis2=-1).real
        floor = _OWN_FLOOR * own + _MEAN_FLOOR * own.mean() + _LEAST_FLOOR + variance * rows * columns
        self._floor = floor.astype(np.float32)
        identity = np.eye(3 * count, dtype=np.float32)
        self._inverse = np.linalg.inv(self.coarse + self._floor[..., None, None] * identity)
        self._gain = folded @ self._inverse[None, :, None]

    def __call__(self, coarse_NCKYX: Maps) -> Maps:
        """Return the estimate of the fine spins, (N, 3, Y, X)."""
        waves_YXCN = np.fft.fft2(_stacked(coarse_NCKYX)).transpose(2, 3, 1, 0)
        fine_YXCN = (self._gain @ waves_YXCN[None, :, None]).reshape(*self._operator.shape, 3, -1)
        return np.fft.ifft2(np.ascontiguousarray(fine_YXCN.transpose(3, 2, 0, 1))).real.astype(np.float32)

    def second_moment(self, measured: Spectrum) -> Spectrum:
        """Return the mean of S_k S_k^H given coarse waves: that of the estimate, and its uncertainty.

        Args:
            measured: the mean of c_q c_q^H of the coarse waves, (Y / scale, X / scale, K 3, K 3).
        """
        gain = self._gain
        estimated = (gain @ measured[None, :, None] @ gain.conj().swapaxes(-1, -2)).reshape(self._spectrum_YXCC.shape)
        known = gain.reshape(self._mixed.shape) @ self._mixed.conj().swapaxes(-1, -2)
        moment: Spectrum = estimated + self._spectrum_YXCC - known
        return moment

    def noise(self, measured: Spectrum) -> float:
        """Return the mean square of the noise in each component of a coarse spin, given coarse waves."""
        shrunk = self._floor[..., None, None] * self._inverse
        identity = np.eye(shrunk.shape[-1], dtype=np.float32)
        found = shrunk @ measured @ shrunk.conj().swapaxes(-1, -2) + self._floor[..., None, None] * (identity - shrunk)
        pixels = float(np.prod(self._operator.coarse_shape))
        return float(_power(found) / found.shape[-1] / pixels**2)


def _estimate(problem: Problem, wiener: Filter, fillings: int) -> tuple[Maps, Maps]:
    """Return the fine spins, and the coarse ones with missing pixels replaced by those of the fine spins."""
    coarse = problem.coarse_NCKYX
    fine = wiener(coarse)
    if problem.known_NKYX is not None:
        for _ in range(fillings):
            coarse = np.where(problem.known_NKYX[:, None], coarse, problem.operator.apply(fine))
            fine = wiener(coarse)
    return fine, coarse


def _diagonal(spectrum_YXCC: Spectrum) -> Spectrum:
    """Return a spectrum without the covariances between components."""
    return spectrum_YXCC * np.eye(3, dtype=np.float32)


def _stacked(coarse_NCKYX: Maps) -> Maps:
    """Return the observations one after the other, with their components, (N, K 3, Y, X)."""
    samples, components, count, rows, columns = coarse_NCKYX.shape
    return coarse_NCKYX.swapaxes(1, 2).reshape(samples, count * components, rows, columns)


def _covariance(coarse_NCKYX: Maps) -> Spectrum:
    return covariance(_stacked(coarse_NCKYX))


def _power(found: Spectrum) -> float:
    return float(np.trace(found, axis1=-2, axis2=-1).real.sum())


def _least_power(measured: Spectrum) -> float:
    """Return the mean power of a component in the weakest fifth of the coarse waves."""
    power = np.trace(measured, axis1=-2, axis2=-1).real.ravel() / measured.shape[-1]
    return float(np.sort(power)[: max(1, power.size // 5)].mean())


def _known(variance: float | None) -> float:
    if variance is None:
        remedy = 'give the noise, or use the method "wiener-em", which estimates it'
        raise InputError("noise", "the Wiener filter needs its strength", remedy)
    return variance
