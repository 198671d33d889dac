"""Reference implementation of the physics by plain loops in float64: slow, simple, sharing no code with rayspin."""

from __future__ import annotations

import math

import numpy as np


def bonds(rows, columns, periodic=True):
    """Yield each nearest-neighbor bond once as (i, j, r_ij), with i and j as (row, column)."""
    for row in range(rows):
        for column in range(columns):
            if column + 1 < columns or periodic:
                yield (row, column), (row, (column + 1) % columns), np.array([1.0, 0.0, 0.0])
            if row + 1 < rows or periodic:
                yield (row, column), ((row + 1) % rows, column), np.array([0.0, 1.0, 0.0])


def dmi_vector(hamiltonian, r):
    if hamiltonian.dmi_kind == "bulk":
        return hamiltonian.dmi * r
    return hamiltonian.dmi * np.cross([0.0, 0.0, 1.0], r)


def total_energy(spins, hamiltonian):
    """Return the energy of the lattice without its dipole term, in J, by the formula in the docs of `Hamiltonian`."""
    spins = np.asarray(spins, np.float64)
    rows, columns, _ = spins.shape
    total = 0.0
    for i, j, r in bonds(rows, columns, hamiltonian.boundary == "periodic"):
        total -= hamiltonian.exchange * (spins[i] @ spins[j])
        total += dmi_vector(hamiltonian, r) @ np.cross(spins[i], spins[j])
    axis = np.array(hamiltonian.anisotropy_axis) / math.hypot(*hamiltonian.anisotropy_axis)
    for spin in spins.reshape(-1, 3):
        total -= hamiltonian.anisotropy * (spin @ axis) ** 2
        total -= np.array(hamiltonian.external_field) @ spin
    return total


def dipole_tensor(r):
    """Return the dipole tensor T(r) = 1 / r^3 - 3 r r / r^5 of one pair."""
    length = np.linalg.norm(r)
    return np.eye(3) / length**3 - 3 * np.outer(r, r) / length**5


def dipole_energy(spins, strength, images):
    """Return the dipole energy of a periodic lattice, with its images within `images` periods and a continuum beyond.

    In the continuum the sum of T(r) over r > R is replaced by an integral: the average of T over angles is
    diag(-1/2, -1/2, 1) / r^3, and the integral of r^-3 over the plane outside a square of half width R is
    4 sqrt(2) / R. It acts on the mean spin.
    """
    spins = np.asarray(spins, np.float64)
    rows, columns, _ = spins.shape
    total = 0.0
    sites = list(np.ndindex(rows, columns))
    shifts = [(m, n) for m in range(-images, images + 1) for n in range(-images, images + 1)]
    for i in sites:
        for j in sites:
            for m, n in shifts:
                r = np.array([j[1] - i[1] + n * columns, j[0] - i[0] + m * rows, 0.0])
                if r.any():
                    total += 0.5 * spins[i] @ dipole_tensor(r) @ spins[j]
    assert rows == columns
    beyond = 4 * math.sqrt(2) / ((images + 0.5) * rows)
    mean = spins.mean(axis=(0, 1))
    return strength * (total + 0.5 * rows * columns * beyond * (mean**2 @ [-0.5, -0.5, 1.0]))


def langevin(x):
    """Return the mean of cos for the density exp(x cos) on the sphere: coth x - 1/x."""
    return 1 / math.tanh(x) - 1 / x


def random_spins(rng, *shape):
    vectors = rng.standard_normal((*shape, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def cycloid(length, turns, direction):
    """Return spins (length, length, 3) that rotate in the x-z plane, from +z towards direction * x as x increases."""
    angle = 2 * np.pi * turns * np.arange(length) / length
    row = np.stack([direction * np.sin(angle), 0 * angle, np.cos(angle)], axis=-1)
    return np.broadcast_to(row, (length, length, 3))
