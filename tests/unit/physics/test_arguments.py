"""Invalid arguments are reported in one line, and arguments at the limits work."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics import (
    DOMAIN,
    LABYRINTH,
    AnnealSchedule,
    Hamiltonian,
    Sampler,
    Trace,
    anneal,
    anneal_many,
    effective_field,
    energy,
    energy_terms,
    quench,
    torque,
)
from rayspin.physics.observables import (
    magnetization,
    structure_factor,
    structure_factor_peak,
    topological_charge,
    wall_length,
)
from rayspin.physics.trace import specific_heat, susceptibility

NAN, INF = float("nan"), float("inf")
SHORT = AnnealSchedule(sweeps=2, quench_sweeps=2)
UP = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (4, 4, 3))


def annealed(size=4, seed=(1, 0), **changes):
    return anneal(LABYRINTH, size, SHORT, seed, **changes)


def many(seeds=((1, 0),), **changes):
    return anneal_many(LABYRINTH, 4, SHORT, seeds, **changes)


def sampler(**changes):
    return Sampler(**{"hamiltonian": LABYRINTH, "size": 4, "seed": (1,)} | changes)


def with_one_spin(value):
    spins = UP.copy()
    spins[1, 2] = value
    return spins


CASES = {
    # Lattices.
    "odd size": (lambda: annealed(31), "size: 31 x 31 has an odd side; give even sides, or an open boundary"),
    "one odd side": (lambda: annealed((32, 31)), "size: 32 x 31 has an odd side"),
    "no sites": (lambda: annealed((32, 0)), "size: 32 x 0 is out of range; give 1 to 16384"),
    "negative size": (lambda: annealed(-4), "size: -4 x -4 is out of range"),
    "huge size": (lambda: annealed(2**40), "size: .* is out of range"),
    "size as a real number": (lambda: annealed(4.0), "size: 4.0 is not a lattice size"),
    "size as a boolean": (lambda: annealed(True), "size: True is not a lattice size"),
    "size as a string": (lambda: annealed("16"), "size: '16' is not a lattice size"),
    "three sides": (lambda: annealed((4, 4, 4)), "size: .* is not a lattice size"),
    "no size": (lambda: annealed(None), "size: None is not a lattice size"),
    "odd size of a sampler": (lambda: sampler(size=(3, 4)), "size: 3 x 4 has an odd side"),
    "odd size of a quench": (lambda: quench(DOMAIN, 5, (1,)), "size: 5 x 5 has an odd side"),
    "odd size of many": (lambda: anneal_many(LABYRINTH, 5, SHORT, [(1,)]), "size: 5 x 5 has an odd side"),
    # Seeds.
    "negative seed": (lambda: annealed(seed=(-1,)), "seed: .* is not a valid address; give integers from 0 to 2"),
    "negative sample": (lambda: annealed(seed=(1, -1)), "seed: .* is not a valid address"),
    "seed of 64 bits": (lambda: annealed(seed=(2**63,)), "seed: .* is not a valid address"),
    "seed as a real number": (lambda: annealed(seed=(1.5,)), "seed: .* is not a valid address"),
    "seed as a boolean": (lambda: annealed(seed=(True,)), "seed: .* is not a valid address"),
    "seed as a string": (lambda: annealed(seed="15"), "seed: '15' is not a valid address"),
    "empty seed": (lambda: annealed(seed=()), "seed: .* is not a valid address"),
    "seed of real numbers in an array": (lambda: annealed(seed=np.array([1.0])), "seed: .* is not a valid address"),
    "one invalid seed of many": (lambda: many([(1,), (-1,)]), "seed: .* is not a valid address"),
    "no seeds": (lambda: many([]), "seeds: are missing; give one per sample"),
    # Threads.
    "no threads": (lambda: many(threads=0), "threads: 0 is invalid; give a whole number from 1"),
    "negative threads": (lambda: many(threads=-2), "threads: -2 is invalid"),
    "fractional threads": (lambda: many(threads=1.5), "threads: 1.5 is invalid"),
    "unknown device": (lambda: many(device="gpu"), "device: 'gpu' is invalid; give"),
    # Temperatures and counts.
    "NaN temperature": (lambda: sampler().heat_bath(np.array([1.0, NAN])), "temperatures: nan is out of range"),
    "zero temperature": (lambda: sampler().heat_bath(np.zeros(3)), "temperatures: 0 is out of range"),
    "negative temperature": (lambda: sampler().metropolis(np.array([-1.0])), "temperatures: -1 is out of range"),
    "infinite temperature": (lambda: sampler().metropolis(np.array([INF])), "temperatures: inf is out of range"),
    "one temperature": (lambda: sampler().heat_bath(1.0), r"temperatures: have shape \(\); give \(sweeps,\)"),
    "temperatures as a string": (lambda: sampler().heat_bath(["hot"]), "temperatures: have dtype"),
    "negative reflections": (lambda: sampler().heat_bath(np.ones(1), -1), "over_relaxation: -1 is invalid"),
    "too many reflections": (lambda: sampler().heat_bath(np.ones(1), 10**9), "over_relaxation: .* is invalid"),
    "negative sweeps": (lambda: sampler().quench(-1, 0.0), "sweeps: -1 is invalid"),
    "fractional sweeps": (lambda: sampler().quench(1.5, 0.0), "sweeps: 1.5 is invalid"),
    "NaN tolerance": (lambda: sampler().quench(1, NAN), "tolerance: nan is invalid; give a number from 0"),
    "overshoot of one": (
        lambda: sampler().quench(1, 0.0, 1.0),
        "overshoot: 1.0 is invalid; give a number from 0 to 0.95",
    ),
    "negative sweeps of a quench": (lambda: quench(LABYRINTH, 4, (1,), sweeps=-1), "quench_sweeps: -1 is invalid"),
    "NaN tolerance of a quench": (lambda: quench(LABYRINTH, 4, (1,), torque_tolerance=NAN), "torque_tolerance: nan"),
    # Spins.
    "start of zeros": (lambda: annealed(start=np.zeros((4, 4, 3))), "start: are not all of unit length; normalize"),
    "one zero in the start": (lambda: annealed(start=with_one_spin(0.0)), "start: are not all of unit length"),
    "NaN in the start": (lambda: annealed(start=with_one_spin(NAN)), "start: are not all finite"),
    "start of another shape": (lambda: annealed(6, start=UP), r"start: have shape \(4, 4, 3\); give \(6, 6, 3\)"),
    "ragged start": (lambda: annealed(start=[[1.0], [1.0, 2.0]]), "start: are not an array"),
    "NaN spins": (lambda: effective_field(with_one_spin(NAN), LABYRINTH), "spins: are not all finite"),
    "infinite spins": (lambda: energy(with_one_spin(INF), LABYRINTH), "spins: are not all finite"),
    "spins without components": (lambda: torque(UP[..., 0], LABYRINTH), "spins: have shape"),
    "spins of two components": (lambda: energy_terms(UP[..., :2], LABYRINTH), "spins: have shape"),
    "empty batch": (lambda: energy(np.zeros((0, 4, 4, 3)), LABYRINTH), "spins: have shape"),
    "spins as strings": (lambda: energy(UP.astype(str), LABYRINTH), "spins: have dtype"),
    "no spins": (lambda: energy(None, LABYRINTH), "spins: have shape"),
    # Observables.
    "NaN magnetization": (lambda: magnetization(with_one_spin(NAN)), "spins: are not all finite"),
    "NaN charge": (lambda: topological_charge(with_one_spin(NAN)), "spins: are not all finite"),
    "charge of zeros": (lambda: topological_charge(with_one_spin(0.0)), "spins: are not all of unit length"),
    "NaN structure factor": (lambda: structure_factor(with_one_spin(NAN)), "spins: are not all finite"),
    "peak of another shape": (lambda: structure_factor_peak(UP[0]), "spins: have shape"),
    "NaN walls": (lambda: wall_length(with_one_spin(NAN)), "spins: are not all finite"),
    "unknown boundary": (lambda: wall_length(UP, "closed"), "boundary: 'closed' is invalid; give"),
    "no energies": (lambda: specific_heat([], 1.0, 4), r"energies: have shape \(0,\)"),
    "energies of another shape": (lambda: specific_heat(1.0, 1.0, 4), r"energies: have shape \(\)"),
    "NaN energies": (lambda: specific_heat([0.0, NAN], 1.0, 4), "energies: are not all finite"),
    "specific heat at T = 0": (lambda: specific_heat([0.0, 1.0], 0.0, 4), "temperature: 0.0 is invalid"),
    "no sites for a specific heat": (lambda: specific_heat([0.0, 1.0], 1.0, 0), "sites: 0 is invalid"),
    "plain magnetizations": (lambda: susceptibility([0.0, 1.0], 1.0, 4), "magnetizations: have shape"),
    "susceptibility at NaN": (lambda: susceptibility(UP[0], NAN, 4), "temperature: nan is invalid"),
    # Traces.
    "trace at every 0": (lambda: Trace(every=0), "every: 0 is invalid"),
    "trace at sweep 0": (lambda: Trace(at=[0, 1]), "at: 0 is invalid"),
    "trace beyond the ramp": (lambda: annealed(trace=Trace(at=[1, 3])), "at: 3 is beyond the ramp; give .* 1 to 2"),
    # Hamiltonians and schedules.
    "strength as a string": (lambda: Hamiltonian(dmi="x"), "dmi: 'x' is invalid; write a number"),
    "NaN strength": (lambda: Hamiltonian(exchange=NAN), "exchange: nan is invalid"),
    "unknown strength": (lambda: Hamiltonian(dmmi=0.3), "dmmi: unknown key; did you mean 'dmi'?"),
    "too large K": (lambda: Hamiltonian(anisotropy=1e30), r"anisotropy: 1e\+30 is out of range; give at most"),
    "too large D": (lambda: Hamiltonian(dmi=-1e30), r"dmi: 1e\+30 is out of range; give at most"),
    "too large dipole": (lambda: LABYRINTH.with_updates(dipole=1e7), r"dipole: 1e\+07 is out of range"),
    "too large field": (lambda: sampler().set_external_field((0.0, 1e9, 0.0)), "external_field: .* out of range"),
    "NaN field": (lambda: sampler().set_external_field((0.0, NAN, 0.0)), "external_field.* is invalid"),
    "no axis": (lambda: Hamiltonian(anisotropy_axis=(0.0, 0.0, 0.0)), "anisotropy_axis: .* is not a direction"),
    "axis that overflows": (lambda: Hamiltonian(anisotropy_axis=(1.7e308,) * 3), "anisotropy_axis: .* not a direction"),
    "axis that underflows": (lambda: Hamiltonian(anisotropy_axis=(1e-320,) * 3), "anisotropy_axis: .* not a direction"),
    "too large start field": (lambda: AnnealSchedule(start_field=(0.0, 0.0, 1e9)), "start_field: .* out of range"),
    "too many sweeps": (lambda: AnnealSchedule(sweeps=10**12), "sweeps: 1000000000000 is invalid; .*100000000"),
    "too large quench": (lambda: AnnealSchedule(quench_sweeps=10**12), "quench_sweeps: .* is invalid"),
    "too many reflections of a schedule": (
        lambda: AnnealSchedule(over_relaxation=10**6),
        "over_relaxation: .* is invalid",
    ),
    "increasing temperatures": (
        lambda: AnnealSchedule(end_temperature=2.0),
        "end_temperature: 2 is higher than the previous temperature, 1.2",
    ),
    "negative temperature of a schedule": (lambda: AnnealSchedule(start_temperature=-1.0), "start_temperature: -1.0"),
    "unknown key of a schedule": (lambda: AnnealSchedule(sweep=3), "sweep: unknown key; did you mean 'sweeps'?"),
}


@pytest.mark.parametrize("case", CASES)
def test_invalid_argument_is_a_one_line_error(case):
    call, message = CASES[case]
    with pytest.raises(InputError, match=f"^{message}") as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [np.int64(8), (np.int32(8), 8), [8, 8], np.array([8, 8])])
def test_size_accepts_any_integer_type(size):
    seed = (np.int64(2**63 - 1), 0)
    assert anneal(LABYRINTH, size, SHORT, seed).tobytes() == anneal(LABYRINTH, 8, SHORT, (2**63 - 1, 0)).tobytes()


EXTREMES = {
    "weak": Hamiltonian(exchange=0.0),
    "strong": Hamiltonian(exchange=1e6, dmi=-1e6, anisotropy=-1e6, dipole=1e6, external_field=(1e6, -1e6, 1e6)),
    "bulk": Hamiltonian(exchange=-1e6, dmi=1e6, dmi_kind="bulk", anisotropy=1e6, anisotropy_axis=(1e6, 1e-6, 0.0)),
    "tiny": Hamiltonian(exchange=1e-30, dmi=1e-30, anisotropy=1e-30, dipole=1e-30),
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("update", ["heat-bath", "metropolis"])
@pytest.mark.parametrize("temperatures", [(1e6, 1e-6), (1e6, 1e6), (1e-6, 1e-6)])
def test_extreme_parameters_give_unit_spins(name, update, temperatures):
    hot, cold = temperatures
    schedule = AnnealSchedule(start_temperature=hot, end_temperature=cold, sweeps=20, update=update, quench_sweeps=20)
    spins = anneal(EXTREMES[name], (6, 34), schedule, seed=(1,))
    assert np.abs(np.linalg.norm(spins, axis=-1) - 1).max() < 1e-5
    assert np.isfinite(energy(spins, EXTREMES[name]))
