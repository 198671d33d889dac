"""Wrong assumptions: which there are, and figures that follow from what a case changes."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.analysis.robustness import RIGHT, by_method, calibrated, means, robustness_rows, wrong_assumptions
from rayspin.physics import DOMAIN, LABYRINTH, SCHEDULES, Degradation, Hamiltonian, anneal
from rayspin.reconstruction import WienerEM, reconstruct


def cases(hamiltonian: Hamiltonian):
    return {case.name: case for case in wrong_assumptions(hamiltonian)}


def test_every_term_of_the_hamiltonian_is_assumed_wrong_once():
    labyrinth, domain = cases(LABYRINTH), cases(DOMAIN)
    assert next(iter(labyrinth)) == next(iter(domain)) == RIGHT
    assert labyrinth.keys() - domain.keys() == {"dmi 10 % too strong", "dmi of the wrong sign"}
    assert domain.keys() - labyrinth.keys() == {"dipole 10 % too strong", "anisotropy 10 % too strong"}
    assert labyrinth["dmi 10 % too strong"].hamiltonian.dmi == pytest.approx(0.33)
    assert labyrinth["dmi of the wrong sign"].hamiltonian.dmi == -0.3
    assert domain["dipole 10 % too strong"].hamiltonian.dipole == pytest.approx(0.033)
    assert domain["blur 20 % wider"].microscope.degradation.sigma == pytest.approx(1.2)


def test_misfit_of_a_tilted_background_is_what_its_waves_can_not_hide():
    """For uniform spins, an approach that returns the truth leaves the background as misfit: 0.05 rms(x)."""
    fine = np.broadcast_to(np.float32([0, 0, 1]), (2, 64, 64, 3))
    case = cases(LABYRINTH)["background 0.05 x"]
    rows = robustness_rows(case, {"truth": lambda coarse, scale, hamiltonian: fine}, fine, 4, 0)
    x = (2 * np.arange(16) + 1) / 16 - 1
    assert [row["misfit"] for row in rows] == pytest.approx([0.05 * np.sqrt(np.mean(x**2))] * 2, rel=1e-4)
    assert means(rows) == {case.name: {"truth": 0.0}}
    # Uniform spins are in equilibrium with exchange and DMI.
    assert means(rows, "torque")[case.name]["truth"] < 1e-6


def test_a_method_learns_from_all_images_and_takes_lengths_above_1():
    rng = np.random.default_rng(0)
    coarse = Degradation().apply(np.cumsum(rng.normal(size=(4, 16, 16, 3)), axis=1).astype(np.float32), 4)
    coarse *= 2 / np.linalg.norm(coarse, axis=-1).max()
    found = by_method(WienerEM(rounds=5))(coarse, 4, LABYRINTH)
    np.testing.assert_allclose(found, reconstruct(coarse, 4, WienerEM(rounds=5), any_length=True).spins, atol=1e-5)


def test_a_calibration_repairs_gain_and_offset():
    fine = anneal(LABYRINTH, size=64, schedule=SCHEDULES["labyrinth"], seed=3)[None]
    approaches = {"map": by_method("map"), "calibrated": calibrated("map")}
    case = cases(LABYRINTH)["gain 1.1, offset 0.05 of S_z"]
    found = means(robustness_rows(case, approaches, fine, 8, 0))[case.name]
    assert found["calibrated"] < found["map"] / 10
