"""Reconstruction of fine spins from coarse ones, without training."""

from rayspin.reconstruction.fourier import Fourier
from rayspin.reconstruction.network import FineNetwork, Network
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Method
from rayspin.reconstruction.projections import Projections
from rayspin.reconstruction.reconstruct import METHODS, Reconstruction, reconstruct
from rayspin.reconstruction.spectrum import spectrum
from rayspin.reconstruction.wiener import Wiener, WienerEM

__all__ = [
    "MAP",
    "METHODS",
    "FineNetwork",
    "Fourier",
    "Method",
    "Network",
    "Projections",
    "Reconstruction",
    "Wiener",
    "WienerEM",
    "reconstruct",
    "spectrum",
]
