"""Energies beside those of Spirit (`pip install spirit`), an independent program, on the same spins.

Spirit's energies in single precision agree to 1e-6. Its handedness: chirality 2 (Neel) is our interfacial DMI with
the same sign, chirality -1 (Bloch) our bulk DMI.
"""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics import Hamiltonian, energy
from tests import reference

pytest.importorskip("spirit")
from spirit import geometry, hamiltonian, state, system

TERMS = {
    "exchange": (Hamiltonian(exchange=1.3), {"exchange": 1.3}),
    "interfacial": (Hamiltonian(exchange=0.0, dmi=0.3), {"dmi": 0.3, "chirality": 2}),
    "bulk": (Hamiltonian(exchange=0.0, dmi=0.3, dmi_kind="bulk"), {"dmi": 0.3, "chirality": -1}),
    "anisotropy": (
        Hamiltonian(exchange=0.0, anisotropy=0.2, anisotropy_axis=(1.0, 2.0, 2.0)),
        {"anisotropy": 0.2, "axis": (1.0, 2.0, 2.0)},
    ),
}


@pytest.mark.parametrize("term", TERMS)
def test_energy_is_spirits(term):
    spins = reference.random_spins(np.random.default_rng(21), 8, 12)
    model, theirs = TERMS[term]
    assert energy(spins, model) * 96 == pytest.approx(spirit_energy(spins, **theirs), rel=1e-6)


def spirit_energy(spins, exchange=0.0, dmi=0.0, chirality=2, anisotropy=0.0, axis=(0.0, 0.0, 1.0)):
    rows, columns, _ = spins.shape
    with state.State("", quiet=True) as handle:
        geometry.set_n_cells(handle, [columns, rows, 1])
        geometry.set_mu_s(handle, 1.0)
        hamiltonian.set_boundary_conditions(handle, [True, True, False])
        hamiltonian.set_field(handle, 0.0, [0.0, 0.0, 1.0])
        hamiltonian.set_ddi(handle, 0)
        hamiltonian.set_exchange(handle, 1, [exchange])
        hamiltonian.set_dmi(handle, 1, [dmi], chirality=chirality)
        hamiltonian.set_anisotropy(handle, anisotropy, list(axis))
        system.get_spin_directions(handle)[:] = spins.reshape(-1, 3)
        system.update_data(handle)
        return system.get_energy(handle)
