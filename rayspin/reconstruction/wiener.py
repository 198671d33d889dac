"""Wiener filters of all three components together, with a spectrum that is given or learned from coarse fields."""

from __future__ import annotations

import numpy as np
import pydantic

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.reconstruction.problem import Maps, Operator, Problem, Spectrum
from rayspin.reconstruction.spectrum import Isotropy, covariance

# Variance that is added to a coarse wave, in parts of its own and of the mean over all waves, so that the inverse of
# its covariance exists in float32.
_OWN_FLOOR, _MEAN_FLOOR = 1e-5, 1e-7

# The same where all spins are zero.
_LEAST_FLOOR = 1e-30


class Wiener(Config):
    """The linear filter with the least mean squared error for fine fields of a known spectrum.

    Several fine waves fold into one coarse wave, and the spectrum tells their shares. The components are filtered
    together, because the handedness of a texture ties the phases of S_x, S_y and S_z to one another.
    """

    def solve(self, problem: Problem) -> Maps:
        """Return the filtered spins; see `Method`."""
        if problem.spectrum_YXCC is None:
            remedy = 'give the spectrum of fine fields, or use the method "wiener-em"'
            raise InputError("spectrum", "the Wiener filter needs one", remedy)
        return _filtered(problem, problem.spectrum_YXCC)


class WienerEM(Config):
    """A Wiener filter whose spectrum is learned from the coarse fields themselves by expectation maximization.

    The spectrum is assumed to be unchanged by common rotations of lattice and spins. It is estimated from all fields
    of the call together, so the result for a field depends on the others, and a few dozen fields are better than one.
    """

    rounds: int = pydantic.Field(150, ge=1)
    """Number of steps of expectation maximization."""
    decay: float = pydantic.Field(3.0, ge=0)
    """Decay length of the first spectrum, exp(-decay |k|), in sites."""

    def solve(self, problem: Problem) -> Maps:
        """Return the filtered spins; see `Method`."""
        return _filtered(problem, self.spectrum(problem))

    def spectrum(self, problem: Problem) -> Spectrum:
        """Return the spectrum of the fine fields, estimated from the coarse ones, (Y, X, 3, 3)."""
        operator = problem.operator
        isotropy = Isotropy(operator.shape)
        measured = covariance(problem.coarse_NCYX)
        first = np.exp(-self.decay * isotropy.wave_numbers)[:, None, None] * np.eye(3)
        spectrum_YXCC = isotropy.spread(first.astype(np.float32))
        power, first_power = (found.sum(axis=(0, 1)) for found in (measured, _folded(operator, spectrum_YXCC)))
        spectrum_YXCC = spectrum_YXCC * np.float32((np.trace(power) / np.trace(first_power)).real)
        tiled = np.tile(measured, (operator.scale, operator.scale, 1, 1))
        transfer = operator.transfer()[..., None, None]
        for _ in range(self.rounds):
            gain = _gain(operator, spectrum_YXCC)
            # The mean of S_k S_k^H of the fields, given the coarse waves: that of the estimate and its uncertainty.
            mean = gain @ tiled @ gain.conj().swapaxes(-1, -2) + spectrum_YXCC - gain @ (transfer * spectrum_YXCC)
            spectrum_YXCC = isotropy.spread(isotropy.table(mean))
        return spectrum_YXCC


def _filtered(problem: Problem, spectrum_YXCC: Spectrum) -> Maps:
    scale = problem.operator.scale
    waves_NCYX = np.tile(np.fft.fft2(problem.coarse_NCYX), (1, 1, scale, scale))
    gain = _gain(problem.operator, spectrum_YXCC)
    # The sum over the components is over the last axis of the gain.
    fine_YXCN = gain @ waves_NCYX.transpose(2, 3, 1, 0)
    return np.fft.ifft2(fine_YXCN.transpose(3, 2, 0, 1)).real.astype(np.float32)


def _gain(operator: Operator, spectrum_YXCC: Spectrum) -> Spectrum:
    """Return the matrix of each fine wave that maps its coarse wave to the estimate, (Y, X, 3, 3)."""
    coarse = _folded(operator, spectrum_YXCC)
    own = np.trace(coarse, axis1=-2, axis2=-1).real
    floor = _OWN_FLOOR * own + _MEAN_FLOOR * own.mean() + _LEAST_FLOOR
    inverse = np.linalg.inv(coarse + floor[..., None, None] * np.eye(3, dtype=np.float32))
    tiled = np.tile(inverse, (operator.scale, operator.scale, 1, 1))
    gain: Spectrum = operator.transfer().conj()[..., None, None] * (spectrum_YXCC @ tiled)
    return gain


def _folded(operator: Operator, spectrum_YXCC: Spectrum) -> Spectrum:
    """Return the spectrum of the coarse spins, (Y / scale, X / scale, 3, 3): a sum over the waves that fold."""
    (rows, columns), scale = operator.coarse_shape, operator.scale
    power = np.square(np.abs(operator.transfer()))[..., None, None]
    folded: Spectrum = (power * spectrum_YXCC).reshape(scale, rows, scale, columns, 3, 3).sum(axis=(0, 2))
    return folded
