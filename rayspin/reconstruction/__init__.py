"""Reconstruction of fine spins from coarse ones, without training."""

from rayspin.reconstruction.apart import NETWORK, learned_hamiltonian, learned_spectrum, reconstruct_apart
from rayspin.reconstruction.fourier import Fourier
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Method
from rayspin.reconstruction.projections import Projections
from rayspin.reconstruction.reconstruct import METHODS, Reconstruction, reconstruct
from rayspin.reconstruction.spectrum import spectrum
from rayspin.reconstruction.wiener import Wiener, WienerEM

__all__ = [
    "MAP",
    "METHODS",
    "NETWORK",
    "Fourier",
    "Method",
    "Projections",
    "Reconstruction",
    "Wiener",
    "WienerEM",
    "learned_hamiltonian",
    "learned_spectrum",
    "reconstruct",
    "reconstruct_apart",
    "spectrum",
]
