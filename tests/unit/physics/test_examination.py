"""Comparison of the examination with `field`, and of energy bounds with states that reach them."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian, energy, torque
from rayspin.physics.examination import energy_bounds, examine

ALL = [
    LABYRINTH,
    DOMAIN,
    Hamiltonian(exchange=-0.7, dmi=0.4, dmi_kind="bulk", boundary="open", external_field=(0.1, -0.2, 0.3)),
    Hamiltonian(exchange=0.5, dmi=-0.2, anisotropy=-0.3, anisotropy_axis=(1.0, 2.0, -1.0), boundary="open"),
    Hamiltonian(dmi=0.3, dmi_kind="bulk", dipole=0.05, anisotropy=0.1, external_field=(0.0, 0.0, 0.05)),
]


def random_spins(size: tuple[int, int]) -> np.ndarray:
    spins = np.random.default_rng(3).normal(size=(4, *size, 3))
    return (spins / np.linalg.norm(spins, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("hamiltonian", ALL)
def test_examination_agrees_with_energy_and_torque(hamiltonian: Hamiltonian) -> None:
    spins = random_spins((10, 6))
    result = examine(spins, hamiltonian)
    np.testing.assert_allclose(result.energy, energy(spins, hamiltonian), atol=1e-12)
    largest = np.linalg.norm(torque(spins, hamiltonian), axis=-1).max(axis=(1, 2))
    np.testing.assert_allclose(result.torque, largest, rtol=1e-5)
    assert result.length_error.max() < 1e-6


def test_single_wrong_spin_is_reported() -> None:
    spins = random_spins((8, 8))
    spins[2, 3, 4] *= 1.001
    np.testing.assert_allclose(examine(spins, LABYRINTH).length_error[2], 1e-3, rtol=1e-3)
    spins[1, 0, 0, 2] = np.nan
    result = examine(spins, LABYRINTH)
    assert np.isinf(result.length_error[1])
    assert np.isnan(result.energy[1])
    assert np.isfinite(result.length_error[[0, 2, 3]]).all()


@pytest.mark.parametrize("hamiltonian", ALL)
def test_energies_are_within_the_bounds(hamiltonian: Hamiltonian) -> None:
    lowest, highest = energy_bounds(hamiltonian)
    uniform = np.zeros((3, 8, 8, 3), np.float32)
    uniform[range(3), ..., range(3)] = 1
    stripes = uniform * np.where(np.indices((8, 8)).sum(0) % 2, 1, -1)[..., None].astype(np.float32)
    energies = energy(np.concatenate([random_spins((8, 8)), uniform, stripes]), hamiltonian)
    assert lowest <= energies.min()
    assert energies.max() <= highest


def test_energy_bounds_are_reached() -> None:
    """Uniform spins along z reach the lower bound in a field, and the upper bound with the dipole term alone."""
    up = np.zeros((1, 16, 16, 3), np.float32)
    up[..., 2] = 1
    ordered = Hamiltonian(anisotropy=0.3, external_field=(0.0, 0.0, 0.2))
    assert energy(up, ordered)[0] == pytest.approx(energy_bounds(ordered)[0], abs=1e-12)
    dipole = Hamiltonian(exchange=0.0, dipole=1.0)
    assert energy(up, dipole)[0] == pytest.approx(energy_bounds(dipole)[1], abs=1e-4)
