"""The search around missing pixels: lower minima are found there, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.metrics import mse
from rayspin.physics import LABYRINTH, Degradation
from rayspin.reconstruction import MAP, reconstruct
from rayspin.reconstruction.gaps import _cells


@pytest.fixture(scope="module")
def known():
    """A fifth of the pixels is missing."""
    return np.random.default_rng(3).random((8, 8)) > 0.2


def test_the_search_finds_the_truth_in_gaps(labyrinths, known):
    fine = labyrinths[:1]
    coarse = np.where(known[..., None], Degradation().apply(fine, 8), np.nan)

    def error(**options):
        return mse(reconstruct(coarse, 8, hamiltonian=LABYRINTH, known=known, **options).spins, fine)

    descents = error(method=MAP(gap_tries=0))
    searched = error(method=MAP(gap_tries=5))
    assert (searched < 1.001 * descents).all()
    # The minimum that contains the truth has the error that the incomplete quench leaves.
    from_truth = error(start=fine)
    assert descents.max() > 100 * from_truth.max()
    assert searched.max() < 2 * from_truth.max()


def test_a_given_start_is_not_searched(labyrinths, known):
    coarse = np.where(known[..., None], Degradation().apply(labyrinths[:1], 8), np.nan)
    start = np.zeros_like(labyrinths[:1])
    start[..., 2] = 1
    results = [
        reconstruct(coarse, 8, MAP(gap_tries=tries), hamiltonian=LABYRINTH, known=known, start=start).spins
        for tries in (0, 10)
    ]
    np.testing.assert_array_equal(*results)


def test_pixels_belong_to_the_nearest_gap_across_the_boundary():
    gaps = np.zeros((1, 5, 12), bool)
    gaps[0, 2, [1, 2, 7]] = True
    row = _cells(gaps)[0, 2]
    assert len(set(row)) == 2
    first, second = row[1], row[7]
    np.testing.assert_array_equal(row[[11, 0, 1, 2, 3, 4]], first)
    np.testing.assert_array_equal(row[[5, 6, 7, 8, 9]], second)
    assert (_cells(np.zeros((1, 4, 4), bool)) == 0).all()
