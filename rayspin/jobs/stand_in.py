"""Stand-ins for the samples of a dataset, with which plans measure costs before the dataset exists."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rayspin.physics import AnnealSchedule, Hamiltonian, anneal

_BRIEF = AnnealSchedule(sweeps=50, quench_sweeps=50)
"""Schedule of the texture: far from relaxed, but as smooth as a sample."""

_SIDE = 256
"""Largest side of the lattice that is annealed, which is repeated on larger ones, sites."""

_SHORT_S = 5.0
"""Work below this time is measured a second time, because the first may include the start of libraries and the
compilation of kernels, s."""


class StandIn:
    """One annealed texture in place of every sample of a split.

    Args:
        count: number of samples.
        shape: (rows, columns) of the lattice.
        hamiltonian: Hamiltonian of the samples.
    """

    digest = ""

    def __init__(self, count: int, shape: tuple[int, int], hamiltonian: Hamiltonian) -> None:
        self.samples = np.arange(count)
        self.shape, self.hamiltonian = shape, hamiltonian
        annealed_YXC = anneal(
            hamiltonian, size=(min(shape[0], _SIDE), min(shape[1], _SIDE)), schedule=_BRIEF, seed=(0, 0)
        )
        self._spins_YXC = annealed_YXC[np.ix_(*(np.arange(side) % min(side, _SIDE) for side in shape))]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, positions: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the texture at each of the positions, (N, Y, X, 3)."""
        return np.repeat(self._spins_YXC[None], np.size(positions), axis=0)


def seconds_of(work: Callable[[], object]) -> float:
    """Return the time that a piece of work takes, s."""
    seconds = _seconds(work)
    return _seconds(work) if seconds < _SHORT_S else seconds


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
