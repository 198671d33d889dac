"""Reconstruction of fine spins from coarse ones, without training."""

from rayspin.reconstruction.fourier import Fourier
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Method
from rayspin.reconstruction.projections import Projections
from rayspin.reconstruction.reconstruct import METHODS, Reconstruction, method_of, reconstruct
from rayspin.reconstruction.spectrum import spectrum
from rayspin.reconstruction.wiener import Wiener, WienerEM

__all__ = [
    "MAP",
    "METHODS",
    "Fourier",
    "Method",
    "Projections",
    "Reconstruction",
    "Wiener",
    "WienerEM",
    "method_of",
    "reconstruct",
    "spectrum",
]
