"""Observables of textures with known charge, walls and structure factor."""

from __future__ import annotations

import contourpy
import numpy as np
import pytest

from rayspin.physics.observables import (
    isolated_domains,
    magnetization,
    structure_factor,
    structure_factor_peak,
    topological_charge,
    wall_length,
)
from rayspin.physics.trace import specific_heat, susceptibility
from tests.support import reference


def skyrmion(size, radius, core=-1.0, winding=1):
    """Spins along `core` z at the center and -`core` z outside, with an in-plane part of the given winding number."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    angle = np.pi * np.exp(-np.hypot(x, y) / radius)
    azimuth = winding * np.arctan2(y, x)
    return np.stack([np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), -core * np.cos(angle)], axis=-1)


@pytest.mark.parametrize(("core", "winding", "charge"), [(-1, 1, -1), (1, 1, 1), (-1, -1, 1), (-1, 2, -2)])
def test_charge_of_textures_with_known_winding(core, winding, charge):
    """The charge is the core polarity times the winding number."""
    assert topological_charge(skyrmion(64, 4, core, winding)) == pytest.approx(charge, abs=1e-9)


def test_charge_of_random_spins_is_an_integer_and_odd_under_reversal():
    spins = reference.random_spins(np.random.default_rng(1), 5, 32, 32)
    charge = topological_charge(spins)
    assert charge.shape == (5,)
    assert np.allclose(charge, np.round(charge), atol=1e-9)
    assert np.any(charge != 0)
    assert np.allclose(topological_charge(-spins), -charge)


def test_spins_of_any_length_have_the_charge_of_their_directions():
    spins = skyrmion(64, 4)
    lengths = np.random.default_rng(1).uniform(0.1, 3, (64, 64, 1))
    assert topological_charge(lengths * spins, any_length=True) == pytest.approx(-1, abs=1e-9)
    assert topological_charge(np.zeros((3, 4, 4, 3)), any_length=True).tolist() == [0, 0, 0]


def test_charge_is_the_sum_of_the_arc_tangents_of_all_triangles():
    """The kernel takes those of small triangles of many at once: rough, smooth and mixed textures."""

    def plainly(a):
        b, d = np.roll(a, -1, axis=1), np.roll(a, -1, axis=0)
        c = np.roll(b, -1, axis=0)
        total = 0.0
        for p, q, r in ((a, b, c), (a, c, d)):
            volume = np.einsum("yxi,yxi->yx", p, np.cross(q, r))
            total += 2 * np.arctan2(volume, 1 + (p * q + q * r + r * p).sum(-1))
        return total

    rng = np.random.default_rng(3)
    rough = reference.random_spins(rng, 40, 24)
    smooth = skyrmion(64, 9)
    mixed = np.where(rng.random((64, 64, 1)) < 0.1, reference.random_spins(rng, 64, 64), smooth)
    for spins in (rough, smooth, mixed):
        areas = plainly(spins)
        assert topological_charge(spins) == pytest.approx(areas.sum() / (4 * np.pi), abs=1e-9)
        assert topological_charge(spins, "open") == pytest.approx(areas[:-1, :-1].sum() / (4 * np.pi), abs=1e-9)


def test_isolated_domains_are_counted_across_the_edges_and_up_to_their_size():
    down = np.zeros((20, 24), bool)
    down[3:5, 3:6] = True  # 6 sites
    down[18:, 10:12] = down[:1, 10:12] = True  # 6 sites across the edge
    down[10, :] = True  # a stripe around the lattice: 24 sites
    down[14, 20] = down[15, 21] = True  # two single sites that touch at a corner
    spins = np.zeros((20, 24, 3))
    spins[..., 2] = np.where(down, -1, 1)
    assert isolated_domains(spins, (1, 24)) == 5
    assert isolated_domains(spins, (1, 23)) == 4
    assert isolated_domains(spins, (1, 5)) == 2
    assert isolated_domains(spins, (6, 6)) == 2
    assert isolated_domains(-spins, (1, 24)) == 5
    assert isolated_domains(spins, (1, 24), "open") == 6
    assert isolated_domains(np.stack([spins, np.abs(spins)]), (1, 24)).tolist() == [5, 0]


def test_magnetization():
    spins = np.zeros((2, 4, 4, 3), np.float32)
    spins[0, ..., 2] = 1
    spins[1, :2, :, 0] = 1
    assert magnetization(spins).tolist() == [[0, 0, 1], [0.5, 0, 0]]
    assert magnetization(spins[0]).tolist() == [0, 0, 1]


def test_structure_factor_of_a_spiral_has_one_pair_of_peaks():
    spins = np.stack([reference.cycloid(64, 5, direction=1), reference.random_spins(np.random.default_rng(2), 64, 64)])
    factor = structure_factor(spins)
    assert factor[0, 0, 5] == pytest.approx(64 * 64 / 2)
    assert factor[0, 0, -5] == pytest.approx(64 * 64 / 2)
    assert factor.mean(axis=(1, 2)) == pytest.approx([1, 1])  # Parseval
    center, width = structure_factor_peak(spins[0])
    assert center == pytest.approx(2 * np.pi * 5 / 64)
    assert width == pytest.approx(0, abs=1e-6)


def spins_with_z(heights):
    """Spins with the given z components."""
    return np.stack([np.zeros_like(heights), np.sqrt(1 - heights**2), heights], axis=-1)


@pytest.mark.parametrize(
    ("heights", "length"),
    [
        (lambda x, y: np.where((x >= 4) & (x < 10), -1.0, 1.0), 2 * 32),
        (lambda x, y: np.cos(2 * np.pi * (x + y) / 32), 2 * 32 * np.sqrt(2)),
        (lambda x, y: np.sin(2 * np.pi * (2 * x - y) / 32 + 0.3), 2 * 32 * np.sqrt(5)),
        (lambda x, y: np.tanh((np.hypot(x - 15.3, y - 16.1) - 10) / 2), 2 * np.pi * 10),
    ],
    ids=["stripe", "diagonal waves", "oblique waves", "circle"],
)
def test_wall_length_of_lines_in_any_direction(heights, length):
    """The exact lengths are those of two straight lines across the torus, and the circumference of a circle."""
    y, x = np.mgrid[:32, :32].astype(np.float64)
    assert wall_length(spins_with_z(heights(x, y))) * 32**2 == pytest.approx(length, rel=2e-3)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_wall_length_equals_the_length_of_contour_lines(boundary):
    """Random heights give every kind of plaquette. contourpy resolves saddles by the mean, too."""
    fields = spins_with_z(np.random.default_rng(9).uniform(-1, 1, size=(3, 12, 17)))
    for field, length in zip(fields, wall_length(fields, boundary)):
        heights = np.pad(field[..., 2], ((0, 1), (0, 1)), mode="wrap") if boundary == "periodic" else field[..., 2]
        lines = contourpy.contour_generator(z=heights, name="serial").lines(0.0)
        expected = sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in lines)
        assert length * 12 * 17 == pytest.approx(expected)


def test_response_of_free_spins_follows_from_fluctuations():
    """For independent spins <m.m> = 1 / sites and T chi = 1/3; energies -H m_z have c = H^2 / (3 T^2)."""
    magnetizations = reference.random_spins(np.random.default_rng(3), 4000, 50).mean(axis=1)
    assert susceptibility(magnetizations, 2.0, 50) == pytest.approx(1 / 6, rel=0.05)
    assert specific_heat(-0.1 * magnetizations[:, 2], 2.0, 50) == pytest.approx(0.1**2 / 12, rel=0.1)


def test_wall_length_excludes_open_edges():
    """If half of the plane is up, there are two walls on a torus and one with open boundaries."""
    spins = np.zeros((8, 32, 3))
    spins[..., 2] = 1
    spins[:, 16:, 2] = -1
    for field in (spins, spins.swapaxes(0, 1)):
        assert wall_length(field) == pytest.approx(2 * 8 / (8 * 32))
    # The wall extends from the first site to the last one.
    assert wall_length(spins, "open") == pytest.approx(7 / (8 * 32))
    assert wall_length(spins.swapaxes(0, 1), "open") == pytest.approx(7 / (8 * 32))
    assert wall_length(np.stack([spins, -spins]), "open").shape == (2,)


def test_charge_with_open_boundaries_is_the_covered_area():
    """Spins that cover a quarter of the azimuths up to a polar angle of 60 degrees have 1/4 of (1 - cos 60) / 2."""
    polar, azimuth = np.meshgrid(np.linspace(1e-9, np.pi / 3, 200), np.linspace(0, np.pi / 2, 200))
    spins = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1)
    assert topological_charge(spins, "open") == pytest.approx(0.25 * 0.25, rel=1e-4)
    assert topological_charge(spins) == pytest.approx(0, abs=1e-9)
    assert topological_charge(skyrmion(64, 4), "open") == pytest.approx(-1, abs=1e-4)


def test_open_structure_factor_contains_pairs_on_the_lattice_only():
    """Its Fourier transform is the sum of S_i . S_(i + r) / sites over pairs on the lattice; its mean over k is one."""
    rows, columns = 3, 5
    spins = reference.random_spins(np.random.default_rng(4), rows, columns)
    factor = structure_factor(spins, "open")
    assert factor.shape == (6, 10)
    assert factor.mean() == pytest.approx(1)
    correlation = np.fft.ifft2(factor).real
    for y in range(rows):
        for x in range(columns):
            inside = sum(spins[i, j] @ spins[i + y, j + x] for i in range(rows - y) for j in range(columns - x))
            assert correlation[y, x] == pytest.approx(inside / (rows * columns))
    center, _ = structure_factor_peak(reference.cycloid(64, 5, direction=1), "open")
    assert center == pytest.approx(2 * np.pi * 5 / 64, rel=0.05)
