"""Presets and validation of Hamiltonians."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.config import Config, build
from rayspin.errors import InputError
from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian, energy


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


@pytest.mark.parametrize(("kind", "dmi"), [("interfacial", 0.3), ("bulk", -0.5)])
def test_spiral_period_minimizes_the_energy(kind, dmi):
    """The energies of spirals with whole periods enclose the minimum, which a parabola through three of them gives."""
    hamiltonian = Hamiltonian(dmi=dmi, dmi_kind=kind)

    def spiral_energy(sites):
        angle = -np.sign(dmi) * 2 * np.pi * np.arange(sites) / sites
        along, across = np.sin(angle), np.zeros(sites)
        plane = [along, across] if kind == "interfacial" else [across, -along]
        line = np.stack([*plane, np.cos(angle)], axis=-1).astype(np.float32)
        return energy(np.broadcast_to(line, (2, sites, 3)), hamiltonian)

    near = 2 * round(hamiltonian.spiral_period / 2)
    waves = np.array([2 * np.pi / (near + change) for change in (-2, 0, 2)])
    square, line, _ = np.polyfit(waves, [spiral_energy(near + change) for change in (-2, 0, 2)], 2)
    assert square > 0
    assert 2 * np.pi / (-line / (2 * square)) == pytest.approx(hamiltonian.spiral_period, rel=2e-3)


@pytest.mark.parametrize("terms", [{}, {"anisotropy": 0.1}, {"external_field": (0, 0, 0.1)}, {"dipole": 0.1}])
def test_spiral_with_competing_terms_or_without_dmi_has_no_known_period(terms):
    assert Hamiltonian(**terms, dmi=0.3 if terms else 0.0).spiral_period is None
