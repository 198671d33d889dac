"""Fits of trust models to fields whose truth is known, and the models that are part of the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_first
from rayspin.errors import InputError
from rayspin.physics import PRESETS, Degradation, Hamiltonian
from rayspin.physics.arguments import spin_field
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Method
from rayspin.reconstruction.reconstruct import reconstruct
from rayspin.reconstruction.shipped_trust import FILE, write_models
from rayspin.reconstruction.trust import Residuals, TrustModel, Values, fitted_curve, squared_error

# Sites between those that enter a fit along each axis: errors and residuals are smooth over 6 sites.
_STRIDE = 4

# Weights of the torque that a fit chooses from.
_MIXINGS = (0.0, 0.25, 0.5, 0.75, 1.0)

# Fields of a batch: "wiener-em" and "map-fit" learn from the fields of a call together.
_BATCH = 24

_METHODS: tuple[str | Method, ...] = ("fourier", "wiener-em", "projections", "map", "map-fit")
