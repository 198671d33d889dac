"""The transcribed tables of the 2023 paper against the relations that their columns obey."""

import pytest

from rayspin.analysis.published import published_resolution
from rayspin.analysis.resolution import BASELINES
from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian

TABLES = [(LABYRINTH, 4), (LABYRINTH, 8), (DOMAIN, 4), (DOMAIN, 8), (DOMAIN, 16)]


@pytest.mark.parametrize(("hamiltonian", "scale"), TABLES)
def test_error_and_decibels_of_every_row_agree(hamiltonian, scale):
    rows = published_resolution(hamiltonian, scale)
    assert len(rows) == 4
    for row in rows.values():
        # To the digits printed, and means of decibels are above the decibels of the mean where fields differ much.
        assert 0.85 < 4 / 10 ** (row.psnr / 10) / row.mse < 1.06


def test_the_network_rows_are_of_unit_vectors():
    for hamiltonian, scale in TABLES:
        row = published_resolution(hamiltonian, scale)["network"]
        assert 3 * row.mse == pytest.approx(2 * (1 - row.correlation), abs=0.01)


def test_rows_are_named_as_evaluations_name_them_and_other_systems_have_none():
    assert set(published_resolution(LABYRINTH, 4)) <= {*BASELINES, "network"}
    assert published_resolution(LABYRINTH, 16) == {}
    assert published_resolution(Hamiltonian(dmi=0.2), 4) == {}
