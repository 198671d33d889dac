"""Comparison of energies and fields with Spirit, an independent program, on the same spins.

Spirit's chirality 2 (Neel) is our interfacial DMI with the same sign, and its chirality -1 (Bloch) is our bulk DMI.
"""

from __future__ import annotations

import numpy as np
import pytest
from spirit import geometry, hamiltonian, simulation, state, system

from rayspin.physics import Hamiltonian, effective_field, energy
from tests.support import reference

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
def test_energy_and_field_equal_those_of_spirit(term):
    spins = reference.random_spins(np.random.default_rng(21), 8, 12)
    model, parameters = TERMS[term]
    expected_energy, expected_field = spirit_energy_and_field(spins, **parameters)
    assert energy(spins, model) * 96 == pytest.approx(expected_energy, rel=1e-6)
    # Spirit omits the component of the field along the spin, which exerts no torque.
    field = effective_field(spins, model)
    transverse = field - (field * spins).sum(axis=-1, keepdims=True) * spins
    np.testing.assert_allclose(transverse, expected_field, rtol=0, atol=1e-6 * np.abs(field).max())


def spirit_energy_and_field(spins, exchange=0.0, dmi=0.0, chirality=2, anisotropy=0.0, axis=(0.0, 0.0, 1.0)):
    """Return the total energy and the effective field at each site, computed by Spirit."""
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
        total_energy = system.get_energy(handle)
        # The field is computed when a solver is set up; no step is taken.
        simulation.start(handle, simulation.METHOD_LLG, simulation.SOLVER_DEPONDT, single_shot=True)
        field = np.array(system.get_effective_field(handle)).reshape(spins.shape)
        simulation.stop(handle)
        return total_energy, field
