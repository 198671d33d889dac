"""Comparison of the dipole term with lattice sums, direct summation and the values of an independent program."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics import DOMAIN, Hamiltonian, effective_field, energy, energy_terms
from rayspin.physics.dipole import dipole_field, dipole_spectrum
from tests.support import reference

# Sum of r^-3 over the square lattice without its origin: 4 zeta(3/2) beta(3/2).
LATTICE_SUM = 9.0336216831


def test_energy_of_uniform_fields_is_the_lattice_sum():
    """The energy of a pair is r^-3 out of plane and r^-3 - 3 x^2 / r^5, on average -1/2 r^-3, in plane."""
    dipole = Hamiltonian(exchange=0.0, dipole=1.0)
    for direction, share in (((0, 0, 1), 0.5), ((1, 0, 0), -0.25), ((0.6, 0.8, 0), -0.25)):
        spins = np.broadcast_to(np.array(direction, float), (6, 10, 3))
        assert energy(spins, dipole) == pytest.approx(share * LATTICE_SUM, abs=1e-7)


def test_tensor_of_a_small_torus():
    """Independent Ewald sums for a 16 x 16 torus."""
    tensor = np.fft.irfft2(dipole_spectrum(16, 16), s=(16, 16))  # component, x, y
    assert tensor[3, 1, 0] == pytest.approx(1.0022165225, abs=1e-7)
    assert tensor[0, 1, 0] == pytest.approx(-2.0011321955, abs=1e-7)
    assert tensor[:, 3, 5] == pytest.approx([0.00011829, -0.00607564, -0.00764524 - 0.00011829, 0.00764524], abs=1e-7)


def test_spectrum_is_traceless_and_has_the_known_range():
    """The trace of T is zero, as is that of its spectrum, whose range on a 128 x 128 torus is -5.0989 to 9.0336."""
    xx, xy, yy, zz = dipole_spectrum(128, 128)
    assert np.abs(xx + yy + zz).max() < 5e-7
    mean, split = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    assert min((mean - split).min(), zz.min()) == pytest.approx(-5.0989, abs=1e-4)
    assert max((mean + split).max(), zz.max()) == pytest.approx(LATTICE_SUM, abs=1e-7)


def test_energy_equals_the_sum_over_pairs_and_images():
    """Direct summation over 31 x 31 copies; the error of the continuum beyond is of order 1 / R^3."""
    spins = reference.random_spins(np.random.default_rng(1), 4, 4)
    brute = reference.dipole_energy(spins, 0.7, images=15)
    assert energy(spins, Hamiltonian(exchange=0.0, dipole=0.7)) * 16 == pytest.approx(brute, abs=2e-4)


@pytest.mark.parametrize("shape", [(4, 6), (2, 8), (10, 4)])
def test_field_is_minus_the_gradient_of_the_energy(shape):
    """The energy is quadratic, so central differences are exact up to rounding."""
    rng = np.random.default_rng(2)
    spins = reference.random_spins(rng, *shape)
    field = dipole_field(spins)
    hamiltonian = Hamiltonian(exchange=0.0, dipole=1.0)
    for _ in range(5):
        change = 1e-2 * rng.standard_normal(spins.shape)
        slope = energy(spins + change, hamiltonian) - energy(spins - change, hamiltonian)
        assert -np.sum(field * change) * 2 == pytest.approx(slope * spins[..., 0].size, abs=1e-12)


def test_transposed_lattice_has_the_transposed_field():
    """Exchanging x and y of sites and spins is a reflection, under which spins also change their sign."""
    spins = reference.random_spins(np.random.default_rng(3), 6, 10)
    mirrored = -spins.swapaxes(0, 1)[..., [1, 0, 2]]
    assert np.allclose(dipole_field(mirrored), -dipole_field(spins).swapaxes(0, 1)[..., [1, 0, 2]], atol=1e-9)


def test_domain_energies_of_uniform_states():
    """The energies of out-of-plane and in-plane spins in Type II differ by K_eff = K - 6.7752 dipole = 0.0117."""
    up, along = (np.broadcast_to(np.array(v, float), (8, 8, 3)) for v in ((0, 0, 1), (1, 0, 0)))
    assert energy(along, DOMAIN) - energy(up, DOMAIN) == pytest.approx(0.215 - 0.75 * LATTICE_SUM * 0.03, abs=1e-8)
    assert energy_terms(up, DOMAIN)["anisotropy"] == pytest.approx(-0.215)
    assert np.allclose(effective_field(up, DOMAIN)[..., 2], 4 + 2 * 0.215 - 0.03 * LATTICE_SUM, atol=1e-5)
