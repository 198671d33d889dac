"""Spin fields on a square lattice: Hamiltonians, fields and energies, annealing, damage, observables."""

from rayspin.physics.annealing import AnnealSchedule, anneal, warm_up
from rayspin.physics.field import effective_field, energy, energy_terms, torque
from rayspin.physics.hamiltonian import DOMAIN, LABYRINTH, PRESETS, Hamiltonian

__all__ = [
    "DOMAIN",
    "LABYRINTH",
    "PRESETS",
    "AnnealSchedule",
    "Hamiltonian",
    "anneal",
    "effective_field",
    "energy",
    "energy_terms",
    "torque",
    "warm_up",
]
