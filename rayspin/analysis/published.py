"""Results published in both papers, for comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

from rayspin.metrics import PRINTED_PSNR_OFFSET
from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian
from rayspin.physics.hamiltonian import HamiltonianLike

Verdict: TypeAlias = Literal["better", "worse", "as published"]
"""How a value compares with the published one."""


@dataclass(frozen=True)
class PublishedFigure:
    """A published value of a metric.

    Attributes:
        text: the value as the paper states it.
        value: the value.
        margin: the values from `value - margin` to `value + margin` are rounded to this text.
        ideal: the best value of the metric; infinity if larger values are better.
    """

    text: str
    value: float
    margin: float
    ideal: float

    def compare(self, ours: float, error: float = 0.0) -> Verdict:
        """Return how a value of ours compares with this one.

        Args:
            ours: the value.
            error: its standard error. A value is as published if it is within twice the error of the values that are
                rounded to the same text.
        """
        if abs(ours - self.value) <= self.margin * (1 + 1e-9) + 2 * error:
            return "as published"
        if math.isinf(self.ideal):
            return "better" if ours > self.value else "worse"
        return "better" if abs(ours - self.ideal) < abs(self.value - self.ideal) else "worse"


FIELD_MSE = PublishedFigure("of order 1e-5", 1e-5, 5e-6, 0.0)
"""Loss of the effective-field network on 25,000 labyrinths (2021, Fig. 2a); the paper doesn't state its unit."""

FIELD_ENERGY_AGREEMENT = PublishedFigure("99.95 %", 0.9995, 5e-5, 1.0)
"""Agreement of the energy from the estimated field F* with that from the exact field F (2021)."""


def published_estimation(hamiltonian: HamiltonianLike) -> Mapping[str, PublishedFigure]:
    """The results of the effective-field network in the 2021 paper, by the column in tables of evaluations.

    The mapping is empty for Hamiltonians other than that of labyrinths.

    Args:
        hamiltonian: the Hamiltonian.

    Raises:
        InputError: the Hamiltonian is invalid.
    """
    if Hamiltonian.from_argument(hamiltonian, "hamiltonian") != LABYRINTH:
        return {}
    return {"mse": FIELD_MSE, "energy_agreement": FIELD_ENERGY_AGREEMENT}


@dataclass(frozen=True)
class PublishedResolution:
    """The mean results of a method on 100 test samples in the 2023 paper.

    Attributes:
        mse: mean squared error over sites and components.
        psnr: peak signal-to-noise ratio by its definition, dB; the printed values are 6.02 dB larger.
        correlation: mean of S . S'.
    """

    mse: float
    psnr: float
    correlation: float

    def figures(self) -> dict[str, PublishedFigure]:
        """The metrics by name, each with a margin of half a unit of its last digit."""
        return {
            "mse": PublishedFigure(f"{self.mse:g}", self.mse, _half_unit(self.mse), 0.0),
            "psnr": PublishedFigure(f"{self.psnr:.2f}", self.psnr, 0.005, math.inf),
            "correlation": PublishedFigure(
                f"{self.correlation:g}", self.correlation, _half_unit(self.correlation), 1.0
            ),
        }


def _half_unit(value: float) -> float:
    """Half a unit of the last digit of a value."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0**exponent


def published_resolution(hamiltonian: HamiltonianLike, scale: int) -> Mapping[str, PublishedResolution]:
    """The results in Tables 1 and 2 of the 2023 paper, by the method's name in evaluations.

    The mapping is empty for Hamiltonians and scales that the tables don't contain.

    Args:
        hamiltonian: the Hamiltonian.
        scale: fine sites per coarse pixel along each axis.

    Raises:
        InputError: the Hamiltonian is invalid.
    """
    printed = _PRINTED.get((Hamiltonian.from_argument(hamiltonian, "hamiltonian"), scale), {})
    return {
        name: PublishedResolution(mse, psnr - PRINTED_PSNR_OFFSET, correlation)
        for name, (mse, psnr, correlation) in printed.items()
    }


_GAUSSIAN, _BILINEAR, _BICUBIC = (f"{name} (published)" for name in ("gaussian", "bilinear", "bicubic"))

# (MSE, PSNR, Corr) as printed, except for the first MSE: the paper prints 0.64, which contradicts its PSNR.
_PRINTED: dict[tuple[Hamiltonian, int], dict[str, tuple[float, float, float]]] = {
    (LABYRINTH, 4): {
        _GAUSSIAN: (0.064, 24.00, 0.74),
        _BILINEAR: (0.062, 24.14, 0.77),
        _BICUBIC: (0.061, 24.22, 0.85),
        "network": (0.0016, 39.96, 0.9976),
    },
    (LABYRINTH, 8): {
        _GAUSSIAN: (0.236, 18.33, 0.301),
        _BILINEAR: (0.243, 18.20, 0.353),
        _BICUBIC: (0.262, 17.89, 0.44),
        "network": (0.0065, 33.96, 0.99),
    },
    (DOMAIN, 4): {
        _GAUSSIAN: (0.0060, 34.49, 0.974),
        _BILINEAR: (0.0059, 34.60, 0.978),
        _BICUBIC: (0.0058, 34.70, 0.986),
        "network": (0.00018, 49.68, 0.9997),
    },
    (DOMAIN, 8): {
        _GAUSSIAN: (0.027, 27.90, 0.91),
        _BILINEAR: (0.028, 27.90, 0.92),
        _BICUBIC: (0.029, 27.81, 0.94),
        "network": (0.00046, 45.68, 0.999),
    },
    (DOMAIN, 16): {
        _GAUSSIAN: (0.0883, 22.80, 0.76),
        _BILINEAR: (0.0913, 22.66, 0.78),
        _BICUBIC: (0.0975, 22.41, 0.82),
        "network": (0.0061, 34.45, 0.99),
    },
}
