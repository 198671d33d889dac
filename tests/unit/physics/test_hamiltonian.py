"""Presets and validation of Hamiltonians."""

from __future__ import annotations

import pytest

from rayspin.config import Config, build
from rayspin.errors import InputError
from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian


class Holder(Config):
    hamiltonian: Hamiltonian


def test_presets_have_the_published_parameters():
    assert Hamiltonian(exchange=1.0, dmi=0.3, dmi_kind="interfacial") == LABYRINTH
    assert Hamiltonian(exchange=1.0, dipole=0.03, anisotropy=0.215) == DOMAIN
    assert len({LABYRINTH, DOMAIN, Hamiltonian(dmi=0.3)}) == 2  # hashable


@pytest.mark.parametrize(
    ("table", "expected"),
    [("labyrinth", LABYRINTH), ("domain", DOMAIN), ({"dmi": 0.3}, LABYRINTH), (DOMAIN.to_table(), DOMAIN)],
)
def test_job_files_accept_a_table_or_a_preset_name(table, expected):
    assert build(Holder, {"hamiltonian": table}, "job.toml").hamiltonian == expected


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("labyrint", "did you mean 'labyrinth'"),
        ({"dmmi": 0.3}, "did you mean 'dmi'"),
        ({"dmi": float("nan")}, "dmi"),
        ({"dipole": -0.1}, "dipole"),
        ({"anisotropy": 1e30}, "anisotropy: .* out of range"),
        ({"external_field": [0.0, 0.0, 1e9]}, "external_field: .* out of range"),
        ({"anisotropy_axis": [0.0, 0.0, 0.0]}, "not a direction"),
        ({"dipole": 0.1, "boundary": "open"}, "periodic images"),
        ({"dmi_kind": "bluk"}, "did you mean 'bulk'"),
    ],
)
def test_invalid_values_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        build(Holder, {"hamiltonian": table}, "job.toml")
