"""Data loading for training: batches are determined by seed, epoch and sample, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rayspin.arrays import channel_first
from rayspin.rng import generator
from rayspin.training.sources import Mixture, Positions, SampleSource
from rayspin.training.symmetry import Motions, symmetries

Augmentation = Literal["none", "translations", "symmetries"]
Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes:
        spins_NCYX: (N, 3, Y, X) spins on the training device.
        addresses: the address of each sample's random streams, (seed, epoch, sample).
    """

    spins_NCYX: Tensor
    addresses: tuple[tuple[int, ...], ...]

    def directions(self, stage: str, shape: tuple[int, int]) -> Tensor:
        """Random unit vectors, uniform on the sphere, (N, 3, *shape); each sample has its own stream.

        Args:
            stage: name of the stream.
            shape: rows and columns.
        """
        return normalize(self.normals(stage, shape), dim=1)

    def normals(self, stage: str, shape: tuple[int, int]) -> Tensor:
        """Random vectors of independent standard normal components, (N, 3, *shape); each sample has its own stream.

        Args:
            stage: name of the stream.
            shape: rows and columns.
        """
        streams = [generator(stage, address) for address in self.addresses]
        normals = np.stack([stream.standard_normal((3, *shape), np.float32) for stream in streams])
        return torch.from_numpy(normals).to(self.spins_NCYX.device)

    def uniforms(self, stage: str, shape: tuple[int, int]) -> Tensor:
        """Random numbers, uniform in [0, 1), (N, 1, *shape); each sample has its own stream.

        Args:
            stage: name of the stream.
            shape: rows and columns.
        """
        streams = [generator(stage, address) for address in self.addresses]
        uniforms = np.stack([stream.random((1, *shape), np.float32) for stream in streams])
        return torch.from_numpy(uniforms).to(self.spins_NCYX.device)


def epoch_positions(
    samples: int, batch_size: int, seed: int, epoch: int, rank: int, world_size: int
) -> list[Positions]:
    """Positions of one rank's share of each batch of an epoch, each (batch_size / world_size,).

    The order of an epoch is a permutation addressed by (seed, epoch). A batch is a slice of it, and a rank's share is a
    slice of the batch, so that the global batches are the same for every world size. The epoch omits the samples that
    remain after the last full batch.

    Args:
        samples: number of training samples.
        batch_size: number of samples per batch, over all ranks.
        seed: root seed.
        epoch: number of the epoch.
        rank: index of the rank.
        world_size: number of ranks.
    """
    order = generator("epoch", (seed, epoch)).permutation(samples)
    share = batch_size // world_size
    starts = [batch * batch_size + rank * share for batch in range(samples // batch_size)]
    return [order[start : start + share] for start in starts]


def validation_positions(samples: int, batch_size: int, rank: int, world_size: int) -> list[Positions]:
    """Positions of one rank's share of a split, ascending, in pieces of at most batch_size / world_size.

    Args:
        samples: number of samples of the split.
        batch_size: number of samples per batch, over all ranks.
        rank: index of the rank.
        world_size: number of ranks.
    """
    mine = np.arange(rank, samples, world_size)
    share = batch_size // world_size
    return [mine[start : start + share] for start in range(0, len(mine), share)]


@dataclass(frozen=True)
class Loader:
    """A loader of batches onto a device.

    Attributes:
        source: the samples.
        seed: root seed of all random streams.
        augmentation: the random transformation of the spins, addressed by (seed, epoch, sample).
        device: the device of the batches.
        further: (source, share) of further samples on the same lattice, which replace a share of each epoch's samples;
            the sample that is replaced addresses the random streams.
    """

    source: SampleSource
    seed: int
    augmentation: Augmentation
    device: torch.device
    further: tuple[tuple[SampleSource, float], ...] = ()

    def batches(self, positions: Iterable[Positions], epoch: int) -> Iterator[Batch]:
        """The batches of an epoch; a thread reads the next batch while the current one is used.

        Args:
            positions: the positions of each batch's samples.
            epoch: number of the epoch.
        """
        return _one_ahead(lambda wanted: self._batch(wanted, epoch), positions)

    def _batch(self, positions: Positions, epoch: int) -> Batch:
        addresses = tuple((self.seed, epoch, int(sample)) for sample in self.source.samples[positions])
        drawn = self._mixture.drawn(positions, addresses)
        if self._resident is not None:
            spins_NYXC = self._resident[torch.from_numpy(drawn).to(self.device)]
            if self._motions is not None:
                spins_NYXC = self._motions.all_moved(spins_NYXC, addresses)
        else:
            read_NYXC = self._mixture.read(drawn)
            if self._motions is not None:
                read_NYXC = np.stack(list(map(self._motions.moved, read_NYXC, addresses)))
            spins_NYXC = torch.from_numpy(read_NYXC).to(self.device)
        # A view: components stay last in memory, the order in which the networks are fastest.
        return Batch(channel_first(spins_NYXC), addresses)

    @cached_property
    def _mixture(self) -> Mixture:
        return Mixture(self.source, self.further)

    @cached_property
    def _resident(self) -> Tensor | None:
        """All spins in GPU memory, which is read 100 times as fast as a disk.

        None on other devices, or if less than twice the size of the spins is free.
        """
        if self.device.type != "cuda":
            return None
        count = len(self._mixture)
        one_NYXC = self._mixture.read(np.arange(1))
        free, _ = torch.cuda.mem_get_info(self.device)
        if 2 * count * one_NYXC.nbytes > free:
            return None
        resident = torch.empty((count, *one_NYXC.shape[1:]), device=self.device)
        for some in np.array_split(np.arange(count), -(-count // 1000)):
            resident[some[0] : some[-1] + 1] = torch.from_numpy(self._mixture.read(some))
        return resident

    @cached_property
    def _motions(self) -> Motions | None:
        """The random transformation of samples, or None."""
        if self.augmentation == "none":
            return None
        operations = symmetries(self.source.hamiltonian, self.source.shape) if self.augmentation == "symmetries" else ()
        return Motions("augmentation", self.source.shape, operations)


def _one_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        ahead: Future[Made] | None = None
        for item in items:
            following = pool.submit(make, item)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        if ahead is not None:
            yield ahead.result()
