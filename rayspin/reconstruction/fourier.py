"""Reconstruction by the Fourier inverse of the degradation."""

from __future__ import annotations

from rayspin.config import Config
from rayspin.reconstruction.problem import Maps, Problem


class Fourier(Config):
    """Divides out the damping of each wave below the coarse Nyquist frequency, and sets the waves beyond to zero.

    K observations determine K times as many waves. The method is exact for fields without further waves; other fields
    keep the error of aliasing. Noise is amplified with the waves.
    """

    def solve(self, problem: Problem) -> Maps:
        """Return the band-limited spins whose degraded version is the coarse image; see `Method`."""
        return problem.operator.inverse(problem.coarse_NCKYX)
