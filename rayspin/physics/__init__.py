"""Spins on a square lattice: Hamiltonians, fields, energies, annealing, corruption, degradation and observables."""

from rayspin.physics.annealing import anneal, anneal_many, quench, warm_up
from rayspin.physics.degradation import Degradation
from rayspin.physics.field import effective_field, energy, energy_terms, torque
from rayspin.physics.hamiltonian import DOMAIN, LABYRINTH, PRESETS, Hamiltonian
from rayspin.physics.microscope import Microscope
from rayspin.physics.sampling import Sampler
from rayspin.physics.schedule import DOMAIN_SCHEDULE, LABYRINTH_SCHEDULE, SCHEDULES, AnnealSchedule
from rayspin.physics.trace import Trace

__all__ = [
    "DOMAIN",
    "DOMAIN_SCHEDULE",
    "LABYRINTH",
    "LABYRINTH_SCHEDULE",
    "PRESETS",
    "SCHEDULES",
    "AnnealSchedule",
    "Degradation",
    "Hamiltonian",
    "Microscope",
    "Sampler",
    "Trace",
    "anneal",
    "anneal_many",
    "effective_field",
    "energy",
    "energy_terms",
    "quench",
    "torque",
    "warm_up",
]
