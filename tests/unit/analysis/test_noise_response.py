"""The feedback of degraded outputs: its noise, its recursion on maps that are known, and its rows."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.analysis.noise_response import feed_back, mean_curve, noisy_coarse, recorded_iterations, response_rows
from rayspin.physics import Degradation, Hamiltonian, energy
from rayspin.physics.corruption import noisy

DEGRADATION = Degradation()


@pytest.fixture(scope="module")
def fine():
    spins = np.random.default_rng(1).normal(size=(2, 16, 16, 3))
    return (spins / np.linalg.norm(spins, axis=-1, keepdims=True)).astype(np.float32)


def test_noise_is_added_to_coarse_or_fine_spins_by_the_formula_of_the_paper(fine):
    options = {"seed": 3, "first": 5}
    coarse = DEGRADATION.apply(fine, 4)
    np.testing.assert_array_equal(noisy_coarse(fine, 4, DEGRADATION, 0.0, "coarse", **options), coarse)
    np.testing.assert_array_equal(noisy_coarse(fine, 4, DEGRADATION, 0.0, "fine", **options), coarse)
    found = noisy_coarse(fine, 4, DEGRADATION, 0.7, "coarse", **options)
    np.testing.assert_array_equal(found[1], noisy(coarse[1], 0.7, (3, 6)))
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-6)
    found = noisy_coarse(fine, 4, DEGRADATION, 0.7, "fine", **options)
    np.testing.assert_array_equal(found[1], DEGRADATION.apply(noisy(fine[1], 0.7, (3, 6)), 4))
    # The noise of a sample does not depend on the others.
    np.testing.assert_array_equal(
        noisy_coarse(fine[1:], 4, DEGRADATION, 0.7, "coarse", seed=3, first=6),
        noisy_coarse(fine, 4, DEGRADATION, 0.7, "coarse", **options)[1:],
    )


def test_a_method_that_inverts_the_degradation_is_a_fixed_point(fine):
    matrix = DEGRADATION.inverse(16, 4)

    def inverse(coarse, scale):
        return np.einsum("Yy,nyxc,Xx->nYXc", matrix, coarse, matrix).astype(np.float32)

    coarse = DEGRADATION.apply(fine, 4)
    outputs = list(feed_back(inverse, coarse, 4, DEGRADATION, 5))
    assert len(outputs) == 5
    np.testing.assert_allclose(outputs[-1], outputs[0], atol=1e-4)


def test_the_next_input_is_the_degraded_output_and_never_longer_than_1():
    seen = []

    def doubled(coarse, scale):
        seen.append(coarse)
        return 2 * np.repeat(np.repeat(coarse, scale, 1), scale, 2)

    start = np.zeros((1, 4, 4, 3), np.float32)
    start[..., 2] = 0.2
    outputs = list(feed_back(doubled, start, 4, DEGRADATION, 5))
    # Degraded uniform spins are uniform: the input doubles until it has the length of a spin.
    assert [float(coarse[0, 1, 2, 2]) for coarse in seen] == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0])
    assert outputs[-1] == pytest.approx(np.broadcast_to([0, 0, 2.0], (1, 16, 16, 3)))


def test_the_first_ten_iterations_and_the_last_are_recorded():
    assert recorded_iterations(100, 25) == (*range(1, 11), 25, 50, 75, 100)
    assert recorded_iterations(13, 6) == (*range(1, 11), 12, 13)
    assert recorded_iterations(3, 1) == (1, 2, 3)


def test_rows_are_of_the_output_as_it_is_and_normalized(fine):
    hamiltonian = Hamiltonian(exchange=1.0, dmi=0.3)
    rows = response_rows([0.5 * fine, -3 * fine, fine], (1, 2), fine, hamiltonian, {"method": "a"}, 4)
    assert [(row["method"], row["iteration"], row["sample"]) for row in rows] == [
        ("a", step, n) for step in (1, 2) for n in (4, 5)
    ]
    assert [row["correlation"] for row in rows] == pytest.approx([1, 1, -1, -1])
    assert [row["raw_correlation"] for row in rows] == pytest.approx([0.5, 0.5, -3, -3])
    assert [row["mse"] for row in rows] == pytest.approx([0, 0, 4 / 3, 4 / 3])
    # Exchange and DMI are even in the spins.
    assert [row["energy"] for row in rows] == pytest.approx([*energy(fine, hamiltonian)] * 2, rel=1e-5)
    steps, means = mean_curve(rows, "raw_correlation")
    assert steps == [1, 2]
    assert means == pytest.approx([0.5, -3])
