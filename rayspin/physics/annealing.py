"""Simulated annealing: random spins are cooled by Monte Carlo and then quenched.

A sample depends only on (Hamiltonian, size, schedule, seed), bit for bit, not on threads, batches or CPUs.
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
"""Number of sweeps after which a quench that must reach a torque tolerance fails."""

# Largest number of steps in which the external field changes during the ramp.
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
    """Anneal one sample.

    Args:
        hamiltonian: a Hamiltonian, the name of a preset ("labyrinth" or "domain"), or a table of fields.
        size: sites along each side, or (rows, columns); even for a periodic boundary.
        schedule: a schedule, the name of a preset, or a table of fields. None selects "domain" if the Hamiltonian has a
            dipole term, else "labyrinth".
        seed: address of the sample's random streams, (root_seed, sample) for a sample of a dataset; n stands for (n,).
        start: initial unit spins (rows, columns, 3); None starts from random spins.
        trace: records observables during the annealing.

    Returns:
        unit spins (rows, columns, 3), float32.

    Raises:
        InputError: an argument is invalid, or the quench does not reach the torque tolerance.
    """
    hamiltonian, schedule = _resolved(hamiltonian, schedule)
    schedule.check_reachable()

    sampler = Sampler(hamiltonian, size, seed, start)

    # Cool by Monte Carlo.
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

    # Quench: align every spin with its field until the torques vanish.
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
    """Quench random spins at T = 0 to a local minimum of the energy.

    This is the greedy method of the 2021 paper: each spin in turn is aligned with its effective field. Without cooling,
    many more defects remain than after `anneal`.

    Args:
        hamiltonian: as in `anneal`.
        size: as in `anneal`.
        seed: as in `anneal`.
        sweeps: maximum number of sweeps.
        torque_tolerance: the quench ends when no |S x F| exceeds this, in units of the largest coupling of the
            Hamiltonian; 0 performs all sweeps.
        overshoot: as `AnnealSchedule.quench_overshoot`; 0 is the greedy method.
        start: as in `anneal`.

    Returns:
        unit spins (rows, columns, 3), float32.

    Raises:
        InputError: an argument is invalid.
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
    """Anneal one sample for each seed, bit for bit as `anneal` does, on CPUs or a GPU.

    Args:
        hamiltonian: as in `anneal`.
        size: as in `anneal`.
        schedule: as in `anneal`.
        seeds: addresses of the samples' random streams, as in `anneal`; at least one.
        threads: number of samples to anneal at the same time on CPUs; None means one per core of this process.
        device: "cpu", or "cuda" for a GPU (`pip install 'rayspin[cuda]'`), which anneals as many samples at the same
            time as fit into its memory.

    Returns:
        unit spins (N, rows, columns, 3), float32, in the order of the seeds.

    Raises:
        InputError: as in `anneal`; or no GPU is available, or the schedule has Metropolis updates, which GPUs lack.
    """
    hamiltonian, schedule = _resolved(hamiltonian, schedule)
    addresses = _addresses(seeds)
    workers = _cores() if threads is None else whole("threads", threads, 1, _MOST_THREADS)
    if device == "cuda":
        return _annealed_on_gpu(hamiltonian, size, schedule, addresses)
    if device != "cpu":
        raise InputError("device", f"{device!r} is invalid", 'give "cpu" or "cuda"')
    with ThreadPoolExecutor(workers) as pool:
        samples = pool.map(lambda seed: anneal(hamiltonian, size, schedule, seed), addresses)
        return np.stack(list(samples))


def warm_up(hamiltonian: HamiltonianLike = LABYRINTH) -> None:
    """Compile the kernels for samples of a Hamiltonian and their energy, or load them from Numba's cache.

    Args:
        hamiltonian: as in `anneal`.

    Raises:
        InputError: the Hamiltonian is invalid.
    """
    energy(anneal(hamiltonian, size=4, schedule=AnnealSchedule(sweeps=1, quench_sweeps=1), seed=(0,)), hamiltonian)


def _resolved(hamiltonian: HamiltonianLike, schedule: ScheduleLike | None) -> tuple[Hamiltonian, AnnealSchedule]:
    """Return the Hamiltonian and the schedule that the arguments stand for."""
    energy_of = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    cooling = measured_schedule(energy_of) if schedule is None else AnnealSchedule.from_argument(schedule, "schedule")
    return energy_of, cooling


def _addresses(seeds: Iterable[Seed]) -> list[Seed]:
    try:
        found = list(seeds)
    except TypeError:
        found = []
    if not found:
        raise InputError("seeds", "are missing", "give one per sample")
    return found


def _annealed_on_gpu(
    hamiltonian: Hamiltonian,
    size: int | tuple[int, int],
    schedule: AnnealSchedule,
    seeds: Sequence[Seed],
) -> Spins:
    # Imported here because CUDA is not needed on CPUs.
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
    """Quench until no torque exceeds the tolerance, or for at most `quench_sweeps` sweeps.

    Raises:
        InputError: `quench_sweeps` is unset, and the tolerance is not reached.
    """
    limit = LONGEST_QUENCH if schedule.quench_sweeps is None else schedule.quench_sweeps
    tolerance = schedule.largest_torque(hamiltonian)
    torque = np.max(sampler.quench(limit, tolerance, schedule.quench_overshoot))
    if schedule.quench_sweeps is None and torque > tolerance:
        problem = f"{tolerance:g} J is not reached in {limit} sweeps, torques of {torque:.2g} J remain"
        raise InputError("torque_tolerance", problem, "give a larger one, or set quench_sweeps")


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ramp_parts(
    hamiltonian: Hamiltonian, schedule: AnnealSchedule, records: Set[int]
) -> Iterator[tuple[int, int, Vector | None]]:
    """Split the ramp at the records of the trace and at the steps of the external field.

    Yields:
        first sweep, last sweep (exclusive) and external field of each part; the field is None if it does not change.
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
