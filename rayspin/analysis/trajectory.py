"""Observables of a batch of spins along a recursion, a descent or an annealing, and chosen states of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from rayspin.errors import InputError, shown
from rayspin.physics import Hamiltonian, energy
from rayspin.physics.arguments import whole
from rayspin.physics.observables import magnetization, topological_charge

Spins = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Row: TypeAlias = dict[str, float | int | str]
"""A row of a table by column."""


@dataclass(frozen=True)
class Trajectory:
    """Observables of N samples at I recorded steps; the axis N is missing if a single field was given.

    Attributes:
        steps: the recorded steps; the first is 0, the state at the start.
        energy_IN: (I, N) energy per site, J.
        magnetization_INC: (I, N, 3) mean spin.
        charge_IN: (I, N) topological charge of the spins' directions.
        overlap_IN: (I, N) mean of S . S' over sites, with S' the spins at the start.
        reference_IN: (I, N) the same with the reference, if there is one.
        frames: (N, Y, X, 3) spins at the steps that were asked for and at the last one, by step.
        seconds_I: (I,) wall time until each recorded step, without the recording, s.
    """

    steps: tuple[int, ...]
    energy_IN: Floats
    magnetization_INC: Floats
    charge_IN: Floats
    overlap_IN: Floats
    reference_IN: Floats | None
    frames: Mapping[int, Spins]
    seconds_I: Floats

    @property
    def last(self) -> Spins:
        """The spins after the last step, (N, Y, X, 3)."""
        return self.frames[self.steps[-1]]

    @classmethod
    def joined(cls, parts: Sequence[Trajectory]) -> Trajectory:
        """Return the trajectory of all samples of several trajectories with the same steps, made at the same time."""

        def side_by_side(name: str) -> Floats:
            return np.concatenate([getattr(part, name) for part in parts], axis=1)

        return cls(
            parts[0].steps,
            side_by_side("energy_IN"),
            side_by_side("magnetization_INC"),
            side_by_side("charge_IN"),
            side_by_side("overlap_IN"),
            None if parts[0].reference_IN is None else side_by_side("reference_IN"),
            {step: np.concatenate([part.frames[step] for part in parts]) for step in parts[0].frames},
            np.max([part.seconds_I for part in parts], axis=0),
        )

    def single(self) -> Trajectory:
        """Return the trajectory of one sample without the axis N."""
        return Trajectory(
            self.steps,
            self.energy_IN[:, 0],
            self.magnetization_INC[:, 0],
            self.charge_IN[:, 0],
            self.overlap_IN[:, 0],
            None if self.reference_IN is None else self.reference_IN[:, 0],
            {step: spins[0] for step, spins in self.frames.items()},
            self.seconds_I,
        )

    def rows(self, estimator: str, first: int = 0) -> list[Row]:
        """Return one row for each sample and step.

        Args:
            estimator: name of the estimator or method, for the column "estimator".
            first: number of the first sample.
        """
        columns: dict[str, Floats] = {"energy": self.energy_IN}
        columns |= {f"m_{name}": self.magnetization_INC[..., index] for index, name in enumerate("xyz")}
        columns |= {"charge": self.charge_IN, "overlap": self.overlap_IN}
        if self.reference_IN is not None:
            columns["overlap_reference"] = self.reference_IN
        rows: list[Row] = []
        for n in range(self.energy_IN.shape[1]):
            for i, step in enumerate(self.steps):
                values = {name: float(column[i, n]) for name, column in columns.items()}
                rows.append({"sample": first + n, "estimator": estimator, "step": step, **values})
        return rows


class Recorder:
    """Records the observables of a batch while it changes.

    Args:
        hamiltonian: the Hamiltonian of the energies.
        start_NYXC: (N, Y, X, 3) spins at the start, which are recorded as step 0 by the first call of `record`.
        reference_NYXC: spins in the same shape whose overlap is recorded too, or None.
        steps: the steps to record; `steps_of` makes them.
        frames: the steps whose spins are kept, besides the last one.

    Attributes:
        kept: the steps whose spins are kept.
    """

    def __init__(
        self,
        hamiltonian: Hamiltonian,
        start_NYXC: Spins,
        reference_NYXC: Spins | None,
        steps: tuple[int, ...],
        frames: Iterable[int],
    ) -> None:
        self._hamiltonian, self._start, self._reference = hamiltonian, start_NYXC, reference_NYXC
        self._steps = steps
        self.kept = {whole("frames", frame, 0, steps[-1]) for frame in frames} | {steps[-1]}
        self._frames: dict[int, Spins] = {}
        self._values: list[Floats] = []
        self._seconds: list[float] = []
        self._elapsed, self._resumed = 0.0, time.perf_counter()

    def record(self, step: int, spins_NYXC: Spins) -> None:
        """Record a step if it is to be recorded. The spins must not be changed afterwards."""
        self._elapsed += time.perf_counter() - self._resumed
        if step in self.kept:
            self._frames[step] = spins_NYXC
        if step in self._steps:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                self._values.append(np.array(list(pool.map(self._observed, range(len(spins_NYXC)), spins_NYXC))))
            self._seconds.append(self._elapsed)
        self._resumed = time.perf_counter()

    def trajectory(self) -> Trajectory:
        """Return the recorded observables and spins."""
        values_INK = np.array(self._values)
        reference = None if self._reference is None else values_INK[..., 6]
        energy_IN, charge_IN, overlap_IN = values_INK[..., 0], values_INK[..., 4], values_INK[..., 5]
        return Trajectory(
            self._steps,
            energy_IN,
            values_INK[..., 1:4],
            charge_IN,
            overlap_IN,
            reference,
            dict(self._frames),
            np.array(self._seconds),
        )

    def _observed(self, n: int, spins_YXC: Spins) -> list[float]:
        closed = self._hamiltonian.boundary
        values = [
            float(energy(spins_YXC, self._hamiltonian)),
            *magnetization(spins_YXC).tolist(),
            float(topological_charge(spins_YXC, closed, any_length=True)),
        ]
        others = [self._start] if self._reference is None else [self._start, self._reference]
        sites = spins_YXC[..., 0].size
        return values + [float(np.vdot(spins_YXC, other[n])) / sites for other in others]


def steps_of(record: int | Iterable[int], last: int) -> tuple[int, ...]:
    """Return the steps to record, with the first and the last one.

    Args:
        record: number of steps between records, or the steps.
        last: the last step.

    Raises:
        InputError: a step is not a whole number from 0 to `last`, or the interval is not at least 1.
    """
    if isinstance(record, Iterable):
        chosen: Iterator[int] = (whole("record", step, 0, last) for step in record)
        return tuple(sorted({0, *chosen, last}))
    return tuple(sorted({*range(0, last, whole("record", record, 1)), last}))


def like(where: str, spins: Spins, others: npt.ArrayLike | None) -> Spins | None:
    """Return reference spins as a float32 batch; None stays None.

    Args:
        where: name of the argument.
        spins: the batch, (N, Y, X, 3).
        others: spins in the same shape, or (Y, X, 3).

    Raises:
        InputError: the shapes differ.
    """
    if others is None:
        return None
    found = np.asarray(others, np.float32)
    if found.shape not in (spins.shape, spins.shape[1:]):
        raise InputError(where, f"has shape {shown(found.shape)}", f"give {spins.shape}, the shape of the spins")
    return np.broadcast_to(found, spins.shape)
