"""Batches depend on (seed, epoch, sample) and on nothing else."""

import numpy as np
import pytest
import torch

from rayspin.physics import LABYRINTH, energy
from rayspin.training.data import Batch, Loader, epoch_positions, validation_positions
from tests.support.training import memory_source


def test_an_epoch_takes_every_sample_once_in_an_order_of_its_own():
    first, second = (np.concatenate(epoch_positions(60, 12, 7, epoch, 0, 1)) for epoch in (1, 2))
    assert sorted(first) == sorted(second) == list(range(60))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, np.concatenate(epoch_positions(60, 12, 7, 1, 0, 1)))


def test_global_batches_are_the_same_for_every_world_size():
    alone = epoch_positions(50, 12, 7, 3, 0, 1)
    assert len(alone) == 4
    for world_size in (2, 3, 4):
        shares = [epoch_positions(50, 12, 7, 3, rank, world_size) for rank in range(world_size)]
        assert [np.concatenate(parts).tolist() for parts in zip(*shares)] == [batch.tolist() for batch in alone]


def test_validation_takes_every_sample_once_over_the_ranks():
    shares = [np.concatenate(validation_positions(11, 6, rank, 3)) for rank in range(3)]
    assert sorted(np.concatenate(shares)) == list(range(11))
    assert max(map(len, validation_positions(11, 6, 0, 3))) == 2


def test_translations_move_whole_samples_by_addressed_vectors():
    source = memory_source(6, seed=3)
    loader = Loader(source, seed=5, augmentation="translations", device=torch.device("cpu"))
    [batch] = loader.batches([np.arange(6)], epoch=1)
    shifts = []
    for index, spins in enumerate(batch.spins_NCYX.numpy()):
        original = np.moveaxis(source.spins_NYXC[index], -1, 0)
        found = [
            (y, x) for y in range(32) for x in range(32) if np.array_equal(np.roll(original, (y, x), (1, 2)), spins)
        ]
        assert len(found) == 1
        shifts += found
    assert len(set(shifts)) == 6
    # The same samples in other company, read later: the same content; another epoch: another one.
    [other] = loader.batches([np.array([4, 2])], epoch=1)
    assert torch.equal(other.spins_NCYX, batch.spins_NCYX[[4, 2]])
    [later] = loader.batches([np.arange(6)], epoch=2)
    assert not torch.equal(later.spins_NCYX, batch.spins_NCYX)


def test_noise_directions_are_unit_vectors_addressed_by_sample():
    spins = torch.zeros(2, 3, 8, 8)
    batch = Batch(spins, ((1, 1, 10), (1, 1, 11)))
    swapped = Batch(spins, ((1, 1, 11), (1, 1, 10)))
    directions = batch.directions("noise", (64, 32))
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(2, 64, 32))
    assert torch.equal(directions.flip(0), swapped.directions("noise", (64, 32)))
    # Uniform on the sphere: each component has mean 0 and variance 1/3 (4096 samples, 5 standard errors).
    assert directions.mean(dim=(0, 2, 3)).abs().max() < 5 * (1 / 3 / 4096) ** 0.5
    assert (directions.square().mean(dim=(0, 2, 3)) - 1 / 3).abs().max() < 5 * (4 / 45 / 4096) ** 0.5


def test_a_reading_error_reaches_the_caller():
    class Broken:
        samples = np.arange(4)

        def read(self, positions):
            raise OSError(5, "bad disk")

    loader = Loader(Broken(), seed=0, augmentation="none", device=torch.device("cpu"))
    with pytest.raises(OSError, match="bad disk"):
        list(loader.batches([np.arange(2), np.arange(2)], epoch=1))


def test_symmetries_keep_the_energy_and_use_the_whole_group():
    source = memory_source(40, seed=4)
    loader = Loader(source, seed=5, augmentation="symmetries", device=torch.device("cpu"))
    [batch] = loader.batches([np.arange(40)], epoch=1)
    spins = np.moveaxis(batch.spins_NCYX.numpy(), 1, -1)
    np.testing.assert_allclose(energy(spins, LABYRINTH), energy(source.spins_NYXC, LABYRINTH), rtol=1e-4)
    # Reversals and reflections change the sign of the mean of S_z; both happen about half the time (40 samples).
    same = np.sign(spins[..., 2].mean(axis=(1, 2))) == np.sign(source.spins_NYXC[..., 2].mean(axis=(1, 2)))
    assert 8 < same.sum() < 32


@pytest.mark.parametrize("augmentation", ["none", "translations", "symmetries"])
def test_batches_of_resident_samples_are_those_that_are_read(augmentation):
    """What a GPU with room does, in the memory of a CPU."""
    source = memory_source(12, seed=4)
    read, resident = (Loader(source, seed=5, augmentation=augmentation, device=torch.device("cpu")) for _ in range(2))
    resident.__dict__["_resident"] = torch.from_numpy(source.spins_NYXC)
    batches = [np.array([3, 0, 7, 1]), np.arange(12)]
    for expected, found in zip(read.batches(batches, epoch=2), resident.batches(batches, epoch=2)):
        assert found.addresses == expected.addresses
        assert torch.equal(found.spins_NCYX, expected.spins_NCYX)
