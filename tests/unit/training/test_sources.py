"""Mixtures of sources: shares, the right samples, and trainings with everything that a sample can undergo."""

import math

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.models import FieldUNetConfig, load_weights
from rayspin.training import FieldObjective, TrainingConfig, fit
from rayspin.training.data import Loader
from rayspin.training.sources import Mixture
from tests.support.training import MemorySource, memory_source

NETWORK = FieldUNetConfig(patch=2, filters=(4, 6))
EVERYTHING = FieldObjective(
    target="deviation", uniform_states=0.1, damage={"noise": 0.2, "rows": 0.2, "square": 0.1, "one_component": 0.1}
)
TRAINING = TrainingConfig(
    epochs=4,
    batch_size=4,
    learning_rate_schedule="one-cycle",
    augmentation="symmetries",
    batch_norm_until=0.6,
    seed=3,
)
CPU = torch.device("cpu")


def _marked(samples, mark):
    """Samples whose spins tell the source and the sample: (mark, sample, 0)."""
    spins = np.zeros((samples, 2, 2, 3), np.float32)
    spins[..., 0], spins[..., 1] = mark, np.arange(samples)[:, None, None]
    return MemorySource(spins, np.arange(samples))


def _curve(lines):
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_second")} for line in lines]


def _addresses(count, epoch=1):
    return tuple((5, epoch, sample) for sample in range(count))


def test_each_source_takes_its_share_and_every_sample_occurs():
    main, few, more = _marked(4000, 0), _marked(7, 1), _marked(50, 2)
    mixture = Mixture(main, ((few, 0.1), (more, 0.25)))
    assert len(mixture) == 4057
    drawn = mixture.drawn(np.arange(4000), _addresses(4000))
    marks, samples = mixture.read(drawn)[:, 0, 0, :2].T.astype(int)
    for mark, share in ((0, 0.65), (1, 0.1), (2, 0.25)):
        assert (marks == mark).mean() == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 4000))
    # What isn't replaced stays in its place.
    assert np.array_equal(samples[marks == 0], np.flatnonzero(marks == 0))
    assert set(samples[marks == 1]) == set(range(7))
    assert set(samples[marks == 2]) == set(range(50))


def test_a_place_draws_the_same_sample_in_any_company_and_another_in_another_epoch():
    mixture = Mixture(_marked(40, 0), ((_marked(30, 1), 0.5),))
    whole = mixture.drawn(np.arange(40), _addresses(40))
    chosen = np.array([31, 2, 17])
    addresses = tuple(_addresses(40)[place] for place in chosen)
    assert np.array_equal(mixture.drawn(chosen, addresses), whole[chosen])
    assert not np.array_equal(mixture.drawn(np.arange(40), _addresses(40, epoch=2)), whole)


@pytest.mark.parametrize("augmentation", ["none", "symmetries"])
def test_batches_of_resident_mixtures_are_those_that_are_read(augmentation):
    """What a GPU with room does, in the memory of a CPU."""
    main, other = memory_source(12, seed=4), memory_source(5, seed=8)
    read, resident = (Loader(main, 5, augmentation, CPU, ((other, 0.5),)) for _ in range(2))
    resident.__dict__["_resident"] = torch.from_numpy(np.concatenate([main.spins_NYXC, other.spins_NYXC]))
    batches = [np.array([3, 0, 7, 1]), np.arange(12)]
    for expected, found in zip(read.batches(batches, epoch=2), resident.batches(batches, epoch=2)):
        assert found.addresses == expected.addresses
        assert torch.equal(found.spins_NCYX, expected.spins_NCYX)


def _fit(folder, train, validation, training=TRAINING, share=0.4, seed=8, **more):
    further = ((memory_source(6, seed=seed), share),)
    return fit(EVERYTHING, NETWORK, training, train, validation, folder, further=further, **more)


class _KilledError(Exception):
    pass


def _die_in_epoch_3(epoch, done, _total):
    if (epoch, done) == (3, 2):
        raise _KilledError


def test_a_training_with_everything_resumes_bit_for_bit(tmp_path, train, validation):
    whole = _fit(tmp_path / "whole", train, validation)
    with pytest.raises(_KilledError):
        _fit(tmp_path / "cut", train, validation, on_batch=_die_in_epoch_3)
    cut = _fit(tmp_path / "cut", train, validation)
    assert _curve(cut.history) == _curve(whole.history)
    ours, theirs = (load_weights(result.weights) for result in (cut, whole))
    assert ours.output == theirs.output
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_a_training_with_other_further_samples_is_another_training(tmp_path, train, validation):
    short = TRAINING.with_updates(epochs=1, schedule_epochs=4)
    _fit(tmp_path, train, validation, short)
    for changed in ({"share": 0.3}, {"seed": 9}):
        with pytest.raises(InputError, match=r"belongs to another training \(data\.further was"):
            _fit(tmp_path, train, validation, short, **changed)
    with pytest.raises(InputError, match=r"data\.further was .* and is now None"):
        fit(EVERYTHING, NETWORK, short, train, validation, tmp_path)


def test_further_samples_on_another_lattice_are_refused(tmp_path, train, validation):
    with pytest.raises(InputError, match="further: lattices of 32 x 32 and 2 x 2 sites can't be mixed"):
        fit(EVERYTHING, NETWORK, TRAINING, train, validation, tmp_path, further=((_marked(3, 1), 0.5),))
    assert not list(tmp_path.iterdir())


def test_batch_norm_is_frozen_after_its_part_of_the_training_and_its_weights_are_not(tmp_path, train, validation):
    # 3 steps an epoch: of 12, those after the middle are frozen.
    training = TRAINING.with_updates(batch_norm_until=0.5)
    assert [training.batch_norm_frozen(step, 3) for step in range(12)] == [False] * 6 + [True] * 6
    results = (_fit(tmp_path, train, validation, training, until=until) for until in (1, 2, 4))
    states = [load_weights(result.weights).state_dict() for result in results]
    running = [name for name in states[0] if "running" in name or "num_batches" in name]
    others = [name for name in states[0] if name not in running]
    assert all(not torch.equal(states[0][name], states[1][name]) for name in running)
    assert all(torch.equal(states[1][name], states[2][name]) for name in running)
    assert all(not torch.equal(states[1][name], states[2][name]) for name in others)


def test_batch_norm_that_is_never_frozen_is_the_default(train, validation, tmp_path):
    assert not any(
        TrainingConfig(epochs=2, schedule_epochs=1, warm_up=0.5).batch_norm_frozen(step, 3) for step in range(6)
    )
    assert "batch_norm_until" not in TrainingConfig().to_table()


def test_a_training_whose_batch_norm_is_frozen_in_the_middle_is_not_made_longer(tmp_path, train, validation):
    constant = TrainingConfig(epochs=2, batch_size=4, batch_norm_until=0.5)
    fit(EVERYTHING, NETWORK, constant, train, validation, tmp_path)
    with pytest.raises(InputError, match="schedule spans 2 epochs, but the new one spans 4"):
        fit(EVERYTHING, NETWORK, constant.with_updates(epochs=4), train, validation, tmp_path)


@pytest.mark.parametrize("until", [0, -0.1, 1.5])
def test_a_fraction_that_is_none_is_refused(until):
    with pytest.raises(InputError, match="batch_norm_until"):
        TrainingConfig(batch_norm_until=until)
