"""Sources of training samples, and mixtures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rayspin.physics import Hamiltonian
from rayspin.rng import generator

Positions = npt.NDArray[np.int64]


class SampleSource(Protocol):
    """The interface of spins that can be read by position, such as a split of a dataset (`storage.SpinReader`)."""

    @property
    def samples(self) -> Positions:
        """(n,) sample numbers in the dataset; each addresses the random streams of its sample."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the lattice."""

    @property
    def hamiltonian(self) -> Hamiltonian:
        """The Hamiltonian that the samples were annealed under."""

    @property
    def digest(self) -> str:
        """A digest of the dataset; a training can be resumed only with the same dataset."""

    def __len__(self) -> int:
        """Number of samples."""

    def read(self, positions: Positions) -> npt.NDArray[np.float32]:
        """Read the spins of the samples at `positions`, (n, Y, X, 3), in the given order."""


@dataclass(frozen=True)
class Mixture:
    """A main source of samples, and further sources that replace a share of them.

    The samples of all sources are numbered together: first those of the main source, then those of each further one.

    Attributes:
        main: the main source.
        further: (source, share of the samples that come from it) for each further source.
    """

    main: SampleSource
    further: tuple[tuple[SampleSource, float], ...] = ()

    def __len__(self) -> int:
        """Number of samples of all sources together."""
        return sum(len(source) for source in self._sources)

    def drawn(self, positions: Positions, addresses: Sequence[tuple[int, ...]]) -> Positions:
        """Draw the samples that take the places of samples of the main source.

        Args:
            positions: (n,) positions in the main source.
            addresses: the address of each one's random stream, (seed, epoch, sample).

        Returns:
            (n,) positions among the samples of all sources.
        """
        if not self.further:
            return positions
        starts = np.cumsum([len(source) for source in self._sources])
        bounds = np.cumsum([share for _, share in self.further])
        drawn = positions.copy()
        for index, address in enumerate(addresses):
            stream = generator("mixture", address)
            which = int(np.searchsorted(bounds, stream.random(), side="right"))
            if which < len(self.further):
                drawn[index] = starts[which] + stream.integers(len(self.further[which][0]))
        return drawn

    def read(self, positions: Positions) -> npt.NDArray[np.float32]:
        """Read the spins at positions among the samples of all sources, (n, Y, X, 3)."""
        if not self.further:
            return self.main.read(positions)
        spins_NYXC = np.empty((len(positions), *self.main.shape, 3), np.float32)
        start = 0
        for source in self._sources:
            here = np.flatnonzero((start <= positions) & (positions < start + len(source)))
            if len(here):
                spins_NYXC[here] = source.read(positions[here] - start)
            start += len(source)
        return spins_NYXC

    @property
    def _sources(self) -> list[SampleSource]:
        return [self.main, *(source for source, _ in self.further)]
