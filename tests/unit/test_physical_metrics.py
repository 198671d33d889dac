"""Walls, charge, energy, torque and consistency of estimates, on fields whose figures are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin import metrics
from rayspin.errors import InputError
from rayspin.physics import LABYRINTH, Degradation, Hamiltonian
from rayspin.physics.observables import wall_length
from rayspin.physics.walls import wall_segments

ROWS, COLUMNS = 32, 48
Y, X = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")


def with_z(z):
    """Unit spins in the plane of x and z."""
    z = np.clip(z, -1, 1)
    return np.stack([np.sqrt(1 - z**2), np.zeros_like(z), z], axis=-1)


def stripes(shift):
    """Two straight walls along y, at x = 12 + shift and x = 36 + shift; S_z is linear near them."""
    x = (X - shift) % COLUMNS
    return with_z(np.minimum(np.abs(x - 24) - 12, 6) / 6)


def disc(radius, x=24.0):
    return with_z((np.hypot(Y - 16, X - x) - radius) / 32)


def random_spins(seed, shape=(ROWS, COLUMNS)):
    spins = np.random.default_rng(seed).normal(size=(*shape, 3))
    return spins / np.linalg.norm(spins, axis=-1, keepdims=True)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.3, 1.0, 1.75, -2.6])
def test_error_of_shifted_straight_walls_is_the_shift(shift):
    assert metrics.wall_position_error(stripes(shift), stripes(0.0)) == pytest.approx(abs(shift), abs=1e-9)
    turned = [np.swapaxes(stripes(s), 0, 1) for s in (shift, 0.0)]
    assert metrics.wall_position_error(*turned) == pytest.approx(abs(shift), abs=1e-9)


def test_error_is_measured_across_the_periodic_boundary():
    # Walls at -1 and 23 and at 1 and 25, and the same on both sides of the edge.
    assert metrics.wall_position_error(stripes(-13.0), stripes(-11.0)) == pytest.approx(2)


@pytest.mark.parametrize(("radius", "other"), [(8.0, 8.5), (10.0, 7.0), (6.0, 6.05)])
def test_error_of_concentric_circles_is_the_difference_of_their_radii(radius, other):
    # Chords of a polygon of sides of at most sqrt(2) sites lie up to 1 / (4 r) inside the circle.
    error = metrics.wall_position_error(disc(radius), disc(other))
    assert error == pytest.approx(abs(radius - other), abs=0.02)
    assert error == pytest.approx(metrics.wall_position_error(disc(other), disc(radius)))


def test_error_of_a_shifted_circle_is_the_mean_of_the_projected_shift():
    # For a small shift the distance at the angle phi is d |cos phi|, whose mean is 2 d / pi.
    assert metrics.wall_position_error(disc(9.0, 24.1), disc(9.0)) == pytest.approx(0.2 / np.pi, rel=0.05)


def test_missing_and_excess_walls_count_alike():
    # A further pair of walls at x = 22 and x = 26 is 10 sites from the walls at 12 and 36.
    more = stripes(0.0).copy()
    more[:, 23:26] = (0, 0, 1)
    more[:, [22, 26]] = (1, 0, 0)
    true = stripes(0.0)
    assert metrics.wall_position_error(true, true) == 0
    # Half of the walls of one field are 10 sites from those of the other: half of 10, and half for both ways.
    assert metrics.wall_position_error(more, true) == pytest.approx(2.5, rel=0.02)
    assert metrics.wall_position_error(true, more) == pytest.approx(2.5, rel=0.02)
    up = np.broadcast_to([0.0, 0, 1], true.shape)
    assert metrics.wall_position_error(up, up) == 0
    assert metrics.wall_position_error(up, true) == metrics.wall_position_error(true, up) == np.hypot(16, 24)


def test_segments_have_the_length_of_the_walls_also_at_saddles():
    for seed in range(3):
        spins = random_spins(seed)
        segments = wall_segments(spins)
        length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=-1).sum()
        assert length == pytest.approx(wall_length(spins) * ROWS * COLUMNS, rel=1e-9)


def test_ends_of_segments_are_zeros_of_the_interpolated_field():
    z = random_spins(4)[..., 2]
    for y, x in wall_segments(with_z(z)).reshape(-1, 2):
        y0, x0 = int(np.floor(y)), int(np.floor(x))
        here, right = z[y0 % ROWS, x0 % COLUMNS], z[y0 % ROWS, (x0 + 1) % COLUMNS]
        below = z[(y0 + 1) % ROWS, x0 % COLUMNS]
        assert here + (x - x0) * (right - here) + (y - y0) * (below - here) == pytest.approx(0, abs=1e-9)


def skyrmion(handed=1):
    """A skyrmion of one turn: the spins reach from -z in the middle to +z far away, with charge -1 or 1."""
    y, x = Y - 15.5, X - 23.5
    theta = np.pi * np.clip(1 - np.hypot(x, y) / 14, 0, 1)
    phi = handed * np.arctan2(y, x)
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)


def test_error_of_the_charge_is_the_number_of_missing_skyrmions():
    up = np.broadcast_to([0.0, 0, 1], (ROWS, COLUMNS, 3))
    assert metrics.charge_error(up, skyrmion()) == pytest.approx(1)
    assert metrics.charge_error(0.5 * skyrmion(), skyrmion()) == pytest.approx(0)
    assert metrics.charge_error(skyrmion(-1), skyrmion()) == pytest.approx(2)


def test_energy_above_the_truth_of_one_reversed_spin():
    up = np.zeros((8, 8, 3))
    up[..., 2] = 1
    flipped = up.copy()
    flipped[3, 3, 2] = -1
    # Four bonds of -J become +J; in a field H along z the spin loses 2 H. Per site of 64.
    hamiltonian = Hamiltonian(exchange=1.0, dmi=0.0, external_field=(0.0, 0.0, 0.25))
    assert metrics.energy_error(flipped, up, hamiltonian) == pytest.approx((8 + 0.5) / 64)
    assert metrics.energy_error(up, flipped, hamiltonian) == pytest.approx(-(8 + 0.5) / 64)


def test_torque_of_uniform_spins_in_a_transverse_field():
    up = np.zeros((2, 8, 8, 3))
    up[..., 2] = 1
    hamiltonian = Hamiltonian(exchange=1.0, dmi=0.0, external_field=(0.25, 0.0, 0.0))
    assert metrics.torque_rms(up, hamiltonian) == pytest.approx([0.25, 0.25])
    # One of the 64 spins turned by 90 degrees into the field; the torque at its place is 4 J, at its neighbors
    # |z x (F_z z + (H + 1) x)| = H + 1, elsewhere H.
    turned = up[0].copy()
    turned[3, 3] = (1, 0, 0)
    squares = (4**2 + 4 * 1.25**2 + 59 * 0.25**2) / 64
    assert metrics.torque_rms(turned, hamiltonian) == pytest.approx(np.sqrt(squares))


def test_consistency_with_the_coarse_input():
    degradation, fine = Degradation(), random_spins(6)
    coarse = degradation.apply(fine, 8)
    assert metrics.inconsistency(fine, coarse, degradation) == 0
    # Degraded uniform spins are uniform: one of three components is off by 0.3.
    up = np.broadcast_to([0.0, 0, 1], (2, 16, 16, 3))
    assert metrics.inconsistency(up, 0.7 * up[:, ::4, ::4], degradation) == pytest.approx([0.03, 0.03])
    # What the degradation does not see is consistent: the field less its band-limited part.
    operator = [degradation.inverse(sites, 8) @ degradation.matrix(sites, 8) for sites in (ROWS, COLUMNS)]
    unseen = fine - np.einsum("Yy,yxc,Xx->YXc", operator[0], fine, operator[1])
    assert np.square(unseen).mean() > 0.3
    assert metrics.inconsistency(fine + unseen, coarse, degradation) < 1e-10


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda up: metrics.inconsistency(up, up[:, :5, :5], Degradation()), "estimate: has shape"),
        (lambda up: metrics.inconsistency(up[:, :4], up[:, ::2, ::2], Degradation()), "estimate: has shape"),
        (lambda up: metrics.wall_position_error(up, up[:, :4]), "estimate: has shape"),
        (lambda up: metrics.charge_error(up, None), "truth"),
        (lambda up: wall_segments(up), "spins: have shape"),
        (lambda up: metrics.torque_rms(up[..., :2], LABYRINTH), "spins"),
        (lambda up: metrics.energy_error(up, up[:1], LABYRINTH), "estimate: has shape"),
    ],
)
def test_arrays_that_do_not_fit_are_a_one_line_error(refused, message):
    up = np.zeros((2, 8, 8, 3))
    up[..., 2] = 1
    with pytest.raises(InputError, match=f"^{message}") as error:
        refused(up)
    assert "\n" not in str(error.value)
