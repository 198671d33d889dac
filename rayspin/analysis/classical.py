"""The classical comparisons of the recursive process: exact descent at T = 0, and annealing, as trajectories."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from rayspin.analysis.trajectory import Recorder, Spins, Trajectory, like, steps_of
from rayspin.errors import InputError
from rayspin.physics import AnnealSchedule, Sampler
from rayspin.physics.arguments import spin_field, whole
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.physics.schedule import ScheduleLike
from rayspin.rng import Seed, address_of, generator


def descend(
    spins_NYXC: npt.ArrayLike,
    hamiltonian: HamiltonianLike,
    sweeps: int,
    *,
    seed: Seed = 0,
    first: int = 0,
    reference: npt.ArrayLike | None = None,
    record: int | Iterable[int] = 1,
    frames: Iterable[int] = (),
) -> Trajectory:
    """Return the exact descent at T = 0 from given spins: in each sweep, each spin in turn is aligned with its field.

    It differs from a recursion with the exact field, which aligns all spins at once: the energy never rises.

    Args:
        spins_NYXC: (N, Y, X, 3) initial spins, or a single field (Y, X, 3). They are normalized; a spin of length zero
            gets a random direction.
        hamiltonian: the Hamiltonian of the descent and of the energies.
        sweeps: number of sweeps.
        seed: address of those directions, the root seed first; the number of the sample is appended.
        first: number of the first sample of the batch.
        reference: as in `recurse`.
        record: as in `recurse`, in sweeps.
        frames: as in `recurse`, in sweeps.

    Raises:
        InputError: an argument is invalid.
    """
    start = spin_field(spins_NYXC).astype(np.float32, copy=False)
    batch = start.reshape(-1, *start.shape[-3:])
    address = address_of(seed)
    compared = like("reference", batch, reference)
    steps = steps_of(record, whole("sweeps", sweeps, 0))
    frames = tuple(frames)
    greedy = AnnealSchedule(sweeps=0, quench_sweeps=sweeps, torque_tolerance=0.0, quench_overshoot=0.0)

    def one(n: int) -> Trajectory:
        stream = (*address, first + n)
        sampler = Sampler(hamiltonian, batch.shape[1:3], stream, _directed(batch[n], stream))
        recorder = Recorder(
            sampler.hamiltonian, batch[n : n + 1], None if compared is None else compared[n : n + 1], steps, frames
        )
        recorder.record(0, batch[n : n + 1])
        return _sampled(sampler, greedy, recorder, steps)

    trajectory = Trajectory.joined(_in_threads(one, len(batch)))
    return trajectory.single() if start.ndim == 3 else trajectory


def cool(
    hamiltonian: HamiltonianLike,
    size: int | tuple[int, int],
    schedule: ScheduleLike,
    seeds: Sequence[Seed],
    *,
    record: int | Iterable[int] = 1,
    frames: Iterable[int] = (),
) -> Trajectory:
    """Return the annealing of samples from random spins as a trajectory; the last spins are those of `anneal`.

    A step is a Monte Carlo sweep of the schedule's ramp, or a sweep of its quench, which is not ended early. Schedules
    with a varying field or Metropolis updates are not supported.

    Args:
        hamiltonian: the Hamiltonian.
        size: sites along each side, or (rows, columns).
        schedule: the schedule, with `quench_sweeps`.
        seeds: address of each sample's random streams.
        record: as in `recurse`, in sweeps.
        frames: as in `recurse`, in sweeps.

    Raises:
        InputError: an argument is invalid.
    """
    chosen = AnnealSchedule.from_argument(schedule, "schedule")
    if chosen.quench_sweeps is None or chosen.start_field is not None or chosen.update != "heat-bath":
        problem = "a trajectory needs quench_sweeps, a constant field and the heat bath"
        raise InputError("schedule", problem, 'give quench_sweeps, and neither start_field nor update = "metropolis"')
    steps, frames = steps_of(record, chosen.sweeps + chosen.quench_sweeps), tuple(frames)

    def one(n: int) -> Trajectory:
        sampler = Sampler(hamiltonian, size, seeds[n])
        start_NYXC = sampler.spins[None]
        recorder = Recorder(sampler.hamiltonian, start_NYXC, None, steps, frames)
        recorder.record(0, start_NYXC)
        return _sampled(sampler, chosen, recorder, steps)

    return Trajectory.joined(_in_threads(one, len(seeds)))


def _sampled(sampler: Sampler, schedule: AnnealSchedule, recorder: Recorder, steps: tuple[int, ...]) -> Trajectory:
    """Return the trajectory of one sample through the ramp and the quench of a schedule."""
    temperatures = schedule.temperatures()
    stops = sorted({*steps, *recorder.kept, schedule.sweeps})
    for done, step in itertools.pairwise(stops):
        if step <= schedule.sweeps:
            sampler.heat_bath(temperatures[done:step], schedule.over_relaxation)
        else:
            sampler.quench(step - done, 0.0, schedule.quench_overshoot)
        recorder.record(step, sampler.spins[None])
    return recorder.trajectory()


def _directed(spins_YXC: Spins, seed: tuple[int, ...]) -> Spins:
    """Return the directions of spins, (Y, X, 3); those of spins of length zero are random."""
    length = np.linalg.norm(spins_YXC, axis=-1, keepdims=True)
    if not (length > 0).all():
        random = generator("directions", seed).standard_normal(spins_YXC.shape, np.float32)
        spins_YXC = np.where(length > 0, spins_YXC, random)
        length = np.linalg.norm(spins_YXC, axis=-1, keepdims=True)
    directions: Spins = spins_YXC / length
    return directions


def _in_threads(work: Callable[[int], Trajectory], count: int) -> list[Trajectory]:
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(work, range(count)))
