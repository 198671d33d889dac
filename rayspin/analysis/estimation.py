"""Evaluation of effective-field networks on held-out samples, with the metrics of the 2021 paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayspin.analysis.rows import Row, field_rows
from rayspin.metrics import angle_error, correlation_coefficient, mse_per_component
from rayspin.models import FieldNet
from rayspin.physics import Hamiltonian, effective_field
from rayspin.physics.arguments import spin_field
from rayspin.physics.hamiltonian import HamiltonianLike

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimation:
    """The metrics of a network on each of N samples.

    Attributes:
        mse_NC: (N, 3) mean squared error of the estimate F* against the exact field F, by component, J^2.
        energy_exact: (N,) energy per site from F, J.
        energy_estimated: (N,) energy per site from F*, J.
        angle: (N,) mean angle between F* and F, radians.
        correlation: (N,) correlation coefficient of F* - c S with F - c S over sites and components, with c S the field
            of the exchange in a uniform state (2021 paper, Fig. 2b).
        deviation: (N,) mean square of the components of f = F - c S, J^2.
    """

    mse_NC: Floats
    energy_exact: Floats
    energy_estimated: Floats
    angle: Floats
    correlation: Floats
    deviation: Floats

    @property
    def mse(self) -> Floats:
        """Mean squared error over sites and components, J^2, (N,). It is the paper's loss, of order 1e-5 there."""
        figures: Floats = self.mse_NC.mean(axis=-1)
        return figures

    @property
    def energy_agreement(self) -> Floats:
        """1 - |E* - E| / |E|, (N,); 99.95 % in the paper. For E = 0 it is 1 if E* is 0, else minus infinity."""
        error, size = np.abs(self.energy_estimated - self.energy_exact), np.abs(self.energy_exact)
        relative: Floats = np.divide(error, size, out=np.where(error > 0, np.inf, 0.0), where=size > 0)
        return 1 - relative

    @property
    def relative_mse(self) -> Floats:
        """MSE divided by the mean square of f, (N,): 1 for f* = 0. It is not finite in a uniform state."""
        with np.errstate(divide="ignore", invalid="ignore"):
            relative: Floats = self.mse / self.deviation
        return relative

    def rows(self) -> list[Row]:
        """One row of metrics for each sample."""
        columns = {
            **{f"mse_{name}": self.mse_NC[:, index] for index, name in enumerate("xyz")},
            "mse": self.mse,
            "mse_relative": self.relative_mse,
            "energy": self.energy_exact,
            "energy_estimated": self.energy_estimated,
            "energy_agreement": self.energy_agreement,
            "angle": self.angle,
            "correlation": self.correlation,
        }
        return field_rows(columns)


def uniform_field(spins_NYXC: npt.ArrayLike, hamiltonian: HamiltonianLike) -> npt.NDArray[np.float32]:
    """The effective field at each spin if all other spins were parallel to it, J.

    It is 4 J S for a labyrinth (2021, Fig. 2b).

    Args:
        spins_NYXC: (N, Y, X, 3) spins, or a single field (Y, X, 3).
        hamiltonian: the Hamiltonian.

    Raises:
        InputError: the spins or the Hamiltonian are invalid.
    """
    spins = spin_field(spins_NYXC).astype(np.float32, copy=False)
    rows, columns = spins.shape[-3:-1]
    uniform = np.zeros((3, rows, columns, 3), np.float32)
    uniform[[0, 1, 2], :, :, [0, 1, 2]] = 1
    none = effective_field(np.zeros_like(uniform[0]), hamiltonian)[0, 0]
    response = effective_field(uniform, hamiltonian)[:, 0, 0] - none
    field: npt.NDArray[np.float32] = spins @ response + none
    return field


def evaluate_estimation(network: FieldNet, spins_NYXC: npt.ArrayLike, hamiltonian: HamiltonianLike) -> Estimation:
    """Evaluate a network on spins that it was not trained on.

    Args:
        network: the network.
        spins_NYXC: (N, Y, X, 3) spins, or a single field (Y, X, 3).
        hamiltonian: the Hamiltonian of the exact field.

    Raises:
        InputError: the network, the spins or the Hamiltonian are invalid.
    """
    spins_NYXC = spin_field(spins_NYXC)
    spins_NYXC = spins_NYXC.reshape(-1, *spins_NYXC.shape[-3:])
    return compare(network.field(spins_NYXC), spins_NYXC, hamiltonian)


def evaluate_isotropic(isotropic: float, spins_NYXC: npt.ArrayLike, hamiltonian: HamiltonianLike) -> Estimation:
    """Evaluate the trivial estimate F* = c S, which has a single parameter.

    Args:
        isotropic: c, J; `best_isotropic` is the best choice.
        spins_NYXC: (N, Y, X, 3) spins, or a single field (Y, X, 3).
        hamiltonian: the Hamiltonian of the exact field.

    Raises:
        InputError: the spins or the Hamiltonian are invalid.
    """
    spins_NYXC = spin_field(spins_NYXC).astype(np.float32, copy=False)
    spins_NYXC = spins_NYXC.reshape(-1, *spins_NYXC.shape[-3:])
    return compare(np.float32(isotropic) * spins_NYXC, spins_NYXC, hamiltonian)


def best_isotropic(spins_NYXC: npt.ArrayLike, hamiltonian: HamiltonianLike) -> Floats:
    """Return the coefficient c of the trivial estimate F* = c S with the least MSE of each sample, J, (N,).

    It is the mean of S . F over sites for unit spins. The best c of several samples is then the mean of theirs.

    Args:
        spins_NYXC: (N, Y, X, 3) spins, or a single field (Y, X, 3).
        hamiltonian: the Hamiltonian of the exact field.

    Raises:
        InputError: the spins or the Hamiltonian are invalid.
    """
    spins = spin_field(spins_NYXC)
    spins = spins.reshape(-1, *spins.shape[-3:])
    exact = effective_field(spins, hamiltonian)
    along, squares = ((spins * other).sum(axis=(1, 2, 3), dtype=np.float64) for other in (exact, spins))
    best: Floats = along / squares
    return best


def compare(
    estimate_NYXC: npt.NDArray[np.float32], spins_NYXC: npt.NDArray[np.floating], hamiltonian: HamiltonianLike
) -> Estimation:
    """Compare an estimate of the whole field with the exact field.

    Args:
        estimate_NYXC: (N, Y, X, 3) estimate F*, J.
        spins_NYXC: (N, Y, X, 3) spins.
        hamiltonian: the Hamiltonian of the exact field.

    Raises:
        InputError: the shapes differ, or the Hamiltonian is invalid.
    """
    hamiltonian = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    exact = effective_field(spins_NYXC, hamiltonian)
    isotropic = np.float32(hamiltonian.isotropic) * spins_NYXC
    return Estimation(
        mse_NC=mse_per_component(estimate_NYXC, exact),
        energy_exact=_energy(spins_NYXC, exact, hamiltonian),
        energy_estimated=_energy(spins_NYXC, estimate_NYXC, hamiltonian),
        angle=angle_error(estimate_NYXC, exact),
        correlation=correlation_coefficient(estimate_NYXC - isotropic, exact - isotropic),
        deviation=np.square(exact - isotropic, dtype=np.float64).mean(axis=(1, 2, 3)),
    )


def _energy(
    spins_NYXC: npt.NDArray[np.floating], field_NYXC: npt.NDArray[np.float32], hamiltonian: Hamiltonian
) -> Floats:
    """Energy per site of spins in an effective field, J, (N,); bilinear terms count half, the external one fully."""
    total = field_NYXC.astype(np.float64) + np.array(hamiltonian.external_field)
    figures: Floats = -(spins_NYXC * total).sum(axis=-1).mean(axis=(-2, -1)) / 2
    return figures
