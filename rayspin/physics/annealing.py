"""Simulated annealing: from random spins, cooled by Monte Carlo and quenched, to one sample.

A sample is a function of (Hamiltonian, size, schedule, seed) alone, bit for bit: not of threads, batches or CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics.arguments import lattice, whole
from rayspin.physics.checkerboard import Spins
from rayspin.physics.field import energy
from rayspin.physics.hamiltonian import LABYRINTH, Hamiltonian, HamiltonianLike, Vector
from rayspin.physics.sampling import Sampler
from rayspin.physics.schedule import AnnealSchedule, ScheduleLike, measured_schedule
from rayspin.physics.trace import Trace
from rayspin.rng import Seed

if TYPE_CHECKING:
    from rayspin.physics.gpu import BatchSampler

LONGEST_QUENCH = 10**6
"""Sweeps after which a torque tolerance is held to be out of reach."""

# An external field that changes does so in this many steps.
_FIELD_STEPS = 100

_MOST_THREADS = 4096


def anneal(
    hamiltonian: HamiltonianLike,
    size: int | tuple[int, int],
    schedule: ScheduleLike | None = None,
    seed: Seed = 0,
    *,
    start: npt.ArrayLike | None = None,
    trace: Trace | None = None,
) -> Spins:
    """One annealed sample: unit spins (rows, columns, 3), float32.

    Args:
        hamiltonian: the energy that is annealed; or the name of a preset, "labyrinth" or "domain".
        size: sites along each side, or (rows, columns); even where the lattice is periodic.
        schedule: temperatures and sweeps; or the name of a preset; None: the preset for the Hamiltonian, "domain" if
            it has a dipole term, else "labyrinth".
        seed: address of the sample's randomness: (root_seed, sample) for a sample of a dataset; n is (n,).
        start: spins to start from instead of random ones, (rows, columns, 3).
        trace: records observables on the way.

    Raises:
        InputError: an argument that can't be used; the torque tolerance is out of reach.
    """
    hamiltonian, schedule = _resolved(hamiltonian, schedule)
    schedule.check_reachable()

    # Random spins.
    sampler = Sampler(hamiltonian, size, seed, start)

    # Cooling by Monte Carlo.
    records = trace.stops(schedule.sweeps) if trace is not None else frozenset()
    temperatures, accepted, recorded = schedule.temperatures(), 0.0, 0
    for first, last, field in _ramp_parts(hamiltonian, schedule, records):
        if field is not None:
            sampler.set_external_field(field)
        if schedule.update == "heat-bath":
            sampler.heat_bath(temperatures[first:last], schedule.over_relaxation)
            accepted += last - first
        else:
            accepted += sampler.metropolis(temperatures[first:last]) * (last - first)
        if trace is not None and last in records:
            acceptance = accepted / (last - recorded)
            trace.record(last, temperatures[last - 1], sampler.spins, sampler.hamiltonian, acceptance)
            accepted, recorded = 0.0, last

    # Quench: every spin along its field, until the torques vanish.
    _quench(sampler, hamiltonian, schedule)
    if trace is not None and sampler.sweeps > schedule.sweeps:
        trace.record(sampler.sweeps, 0.0, sampler.spins, sampler.hamiltonian, 1.0)
    return sampler.spins


def quench(
    hamiltonian: HamiltonianLike,
    size: int | tuple[int, int],
    seed: Seed = 0,
    *,
    sweeps: int = 100_000,
    torque_tolerance: float = 1e-4,
    overshoot: float = 0.0,
    start: npt.ArrayLike | None = None,
) -> Spins:
    """Spins (rows, columns, 3), float32, that went downhill from random ones at T = 0 and ended in a local minimum.

    The greedy method of the 2021 paper: each spin in turn is set along its effective field. Nothing is cooled, so
    many more defects stay than `anneal` leaves.

    Args:
        hamiltonian: as in `anneal`.
        size: as in `anneal`.
        seed: as in `anneal`.
        sweeps: how many at most.
        torque_tolerance: it ends when no |S x F| exceeds this, in units of the largest coupling of the Hamiltonian; 0
            makes all sweeps.
        overshoot: as `AnnealSchedule.quench_overshoot`; 0 is the greedy method.
        start: as in `anneal`.

    Raises:
        InputError: as in `anneal`.
    """
    schedule = AnnealSchedule(
        sweeps=0, quench_sweeps=sweeps, torque_tolerance=torque_tolerance, quench_overshoot=overshoot
    )
    return anneal(hamiltonian, size, schedule, seed, start=start)


def anneal_many(
    hamiltonian: HamiltonianLike,
    size: int | tuple[int, int],
    schedule: ScheduleLike | None = None,
    seeds: Iterable[Seed] = (),
    threads: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Spins:
    """Annealed samples (N, rows, columns, 3), float32, one for each seed and each the same as `anneal` makes it.

    The same bit for bit, on a GPU as well.

    Args:
        hamiltonian: as in `anneal`.
        size: as in `anneal`.
        schedule: as in `anneal`.
        seeds: address of each sample's randomness, as in `anneal`; at least one.
        threads: samples at work at the same time; unset: one for each core this process may use.
        device: "cuda" for a GPU (`pip install 'rayspin[cuda]'`), which works on as many samples at the same time as
            its memory holds.

    Raises:
        InputError: as in `anneal`; no seeds, threads or device; no GPU that can be used, or a schedule with Metropolis
            updates there.
    """
    hamiltonian, schedule = _resolved(hamiltonian, schedule)
    addresses = _addresses(seeds)
    workers = _cores() if threads is None else whole("threads", threads, 1, _MOST_THREADS)
    if device == "cuda":
        return _annealed_on_gpu(hamiltonian, size, schedule, addresses)
    if device != "cpu":
        raise InputError("device", f"{device!r} is none", 'give "cpu" or "cuda"')
    with ThreadPoolExecutor(workers) as pool:
        samples = pool.map(lambda seed: anneal(hamiltonian, size, schedule, seed), addresses)
        return np.stack(list(samples))


def warm_up(hamiltonian: HamiltonianLike = LABYRINTH) -> None:
    """Compiles the kernels that samples of this Hamiltonian and their energy need, or loads them from Numba's cache."""
    energy(anneal(hamiltonian, size=4, schedule=AnnealSchedule(sweeps=1, quench_sweeps=1), seed=(0,)), hamiltonian)


def _resolved(hamiltonian: HamiltonianLike, schedule: ScheduleLike | None) -> tuple[Hamiltonian, AnnealSchedule]:
    """What the arguments of these names stand for."""
    energy_of = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    cooling = measured_schedule(energy_of) if schedule is None else AnnealSchedule.from_argument(schedule, "schedule")
    return energy_of, cooling


def _addresses(seeds: Iterable[Seed]) -> list[Seed]:
    try:
        found = list(seeds)
    except TypeError:
        found = []
    if not found:
        raise InputError("seeds", "are none", "give one for each sample")
    return found


def _annealed_on_gpu(
    hamiltonian: Hamiltonian,
    size: int | tuple[int, int],
    schedule: AnnealSchedule,
    seeds: Sequence[Seed],
) -> Spins:
    # Who works on a CPU never loads what CUDA needs.
    from rayspin.physics.gpu import BatchSampler, samples_at_once

    if schedule.update != "heat-bath":
        raise InputError("update", "Metropolis updates run on CPUs only", 'write update = "heat-bath"')
    schedule.check_reachable()
    at_once = samples_at_once(lattice(size, hamiltonian.boundary))
    parts = []
    for first in range(0, len(seeds), at_once):
        sampler = BatchSampler(hamiltonian, size, seeds[first : first + at_once])
        temperatures = schedule.temperatures()
        for begin, end, field in _ramp_parts(hamiltonian, schedule, frozenset()):
            if field is not None:
                sampler.set_external_field(field)
            sampler.heat_bath(temperatures[begin:end], schedule.over_relaxation)
        _quench(sampler, hamiltonian, schedule)
        parts.append(sampler.spins)
    return np.concatenate(parts)


def _quench(sampler: Sampler | BatchSampler, hamiltonian: Hamiltonian, schedule: AnnealSchedule) -> None:
    """The end of every sample: as many sweeps as its schedule names, or as it takes to keep its promise."""
    limit = LONGEST_QUENCH if schedule.quench_sweeps is None else schedule.quench_sweeps
    tolerance = schedule.largest_torque(hamiltonian)
    torque = np.max(sampler.quench(limit, tolerance, schedule.quench_overshoot))
    if schedule.quench_sweeps is None and torque > tolerance:
        problem = f"{tolerance:g} J is not reached in {limit} sweeps, torques of {torque:.2g} J remain"
        raise InputError("torque_tolerance", problem, "give a larger one, or a number of quench_sweeps")


def _cores() -> int:
    """The cores this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ramp_parts(
    hamiltonian: Hamiltonian, schedule: AnnealSchedule, records: Set[int]
) -> Iterator[tuple[int, int, Vector | None]]:
    """The ramp as parts between records of the trace and steps of the external field: first and last sweep, field.

    The field is None where it stays as it is.
    """
    stops = {schedule.sweeps, *records}
    steps: dict[int, Vector] = {}
    if schedule.start_field is not None and schedule.sweeps:
        fields = np.linspace(schedule.start_field, hamiltonian.external_field, min(_FIELD_STEPS, schedule.sweeps))
        begins = np.arange(len(fields)) * schedule.sweeps // len(fields)
        steps = {int(begin): (float(x), float(y), float(z)) for begin, (x, y, z) in zip(begins, fields)}
        stops.update(steps)
    first = 0
    for last in sorted(stops - {0}):
        yield first, last, steps.get(first)
        first = last
