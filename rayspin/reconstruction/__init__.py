"""Reconstruction of fine spins from coarse ones, without training."""

from rayspin.reconstruction.apart import learned_hamiltonian, learned_spectrum, learned_weight, reconstruct_apart
from rayspin.reconstruction.calibration import Calibration, calibrate
from rayspin.reconstruction.fourier import Fourier
from rayspin.reconstruction.network import NETWORK, FineNetwork, Network
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Method
from rayspin.reconstruction.projections import Projections
from rayspin.reconstruction.reconstruct import METHODS, AssumptionWarning, Reconstruction, method_of, reconstruct
from rayspin.reconstruction.spectrum import spectrum
from rayspin.reconstruction.strengths import MAPFit
from rayspin.reconstruction.trust import TrustModel, reliability, squared_error
from rayspin.reconstruction.trust_fit import fit_trust
from rayspin.reconstruction.wiener import Wiener, WienerEM

__all__ = [
    "MAP",
    "METHODS",
    "NETWORK",
    "AssumptionWarning",
    "Calibration",
    "FineNetwork",
    "Fourier",
    "MAPFit",
    "Method",
    "Network",
    "Projections",
    "Reconstruction",
    "TrustModel",
    "Wiener",
    "WienerEM",
    "calibrate",
    "fit_trust",
    "learned_hamiltonian",
    "learned_spectrum",
    "learned_weight",
    "method_of",
    "reconstruct",
    "reconstruct_apart",
    "reliability",
    "spectrum",
    "squared_error",
]
