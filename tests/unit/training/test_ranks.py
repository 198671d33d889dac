"""Two ranks over gloo against one process with the same global batch."""

import gc

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from rayspin.errors import InputError
from rayspin.models import EffectiveFieldNetConfig, FieldUNetConfig, SuperResolutionUNetConfig
from rayspin.models.layers import BatchNorm
from rayspin.training import FieldObjective, SuperResolutionObjective, TrainingConfig, fit
from tests.support.training import memory_source

NETWORK = EffectiveFieldNetConfig(encoder_filters=(6, 8), decoder_filters=(6, 4))
TRAINING = TrainingConfig(epochs=3, batch_size=4, learning_rate=0.003, augmentation="translations")


def _fit(folder, training, **ranks):
    return fit(
        FieldObjective(),
        NETWORK,
        training,
        memory_source(12, seed=1),
        memory_source(5, seed=2),
        folder,
        **ranks,
    )


def _fit_with_everything(folder, **ranks):
    """Altered samples, a further source, symmetries, and batch norm that is frozen in the second epoch."""
    objective = FieldObjective(target="deviation", uniform_states=0.2, damage={"noise": 0.3, "rows": 0.3})
    training = TRAINING.with_updates(epochs=2, augmentation="symmetries", batch_norm_until=0.6)
    train, validation = memory_source(12, seed=1), memory_source(5, seed=2)
    further = ((memory_source(6, seed=3), 0.4),)
    return fit(
        objective,
        FieldUNetConfig(patch=2, filters=(4, 6)),
        training,
        train,
        validation,
        folder,
        further=further,
        **ranks,
    )


def _fit_super_resolution(folder, **ranks):
    """A network that is called twice for each loss, with a strength that is learned beside its weights."""
    objective = SuperResolutionObjective(
        equivariance=1.0, motions="symmetries", torque_weight=0.1, torque_strengths={"dmi": 0.1}
    )
    network = SuperResolutionUNetConfig(scale=4, start="fourier", normalized_output=True, patch=2, filters=(4, 6))
    training = TRAINING.with_updates(epochs=2, learning_rate=0.01)
    return fit(objective, network, training, memory_source(8, seed=1), memory_source(5, seed=2), folder, **ranks)


def _batch_norm_of_two_halves(rank):
    generator = torch.Generator().manual_seed(5)
    maps = 3 + torch.randn(4, 6, 8, 8, generator=generator)
    slope = torch.randn(4, 6, 8, 8, generator=generator)
    results = []
    for layer, part in ((nn.BatchNorm2d(6), slice(None)), (BatchNorm(6), slice(2 * rank, 2 * rank + 2))):
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(0.5, 2, 6))
            layer.bias.copy_(torch.linspace(-1, 1, 6))
        inputs = maps[part].clone().requires_grad_()
        outputs = layer(inputs)
        (outputs * slope[part]).sum().backward()
        gain = layer.weight.grad.clone()
        if part != slice(None):
            dist.all_reduce(gain)
        half = slice(2 * rank, 2 * rank + 2) if part == slice(None) else slice(None)
        results.append((outputs[half], inputs.grad[half], gain, layer.running_mean, layer.running_var))
    for whole, halved in zip(*results):
        torch.testing.assert_close(halved, whole, rtol=1e-4, atol=1e-5)


def _rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        _batch_norm_of_two_halves(rank)
        short = TRAINING.with_updates(epochs=1)
        _fit(folder / "two", short, rank=rank, world_size=2)
        _fit(folder / "two", TRAINING, rank=rank, world_size=2)
        _fit_with_everything(folder / "all_of_two", rank=rank, world_size=2)
        _fit_super_resolution(folder / "fine_of_two", rank=rank, world_size=2)
        mixed = short.with_updates(precision="bfloat16", accumulation=2)
        assert _fit(folder / "mixed", mixed, rank=rank, world_size=2).history[0]["training_loss"] < 10
        # What rank 0 finds wrong in the folder, every rank raises.
        with pytest.raises(InputError, match="learning_rate"):
            _fit(folder / "two", TRAINING.with_updates(learning_rate=1.0), rank=rank, world_size=2)
    finally:
        # DDP is a cycle that holds the group's threads; at the end of the interpreter they would be torn down too late.
        gc.collect()
        dist.destroy_process_group()


def test_two_ranks_train_as_one_process_does(tmp_path):
    mp.spawn(_rank, args=(tmp_path,), nprocs=2)
    one = _fit(tmp_path / "one", TRAINING)
    # The folder of two is resumed by one process: the world size is no part of the training.
    two = _fit(tmp_path / "two", TRAINING)
    for a, b in zip(one.history, two.history, strict=True):
        for name in ("training_loss", "validation_loss", "energy_ratio"):
            assert b[name] == pytest.approx(a[name], rel=2e-3)
    ones, twos = (_fit_with_everything(tmp_path / f"all_of_{ranks}").history for ranks in ("one", "two"))
    for a, b in zip(ones, twos, strict=True):
        for name in ("training_loss", "validation_loss", "deviation_correlation"):
            assert b[name] == pytest.approx(a[name], rel=2e-3)
    ones, twos = (_fit_super_resolution(tmp_path / f"fine_of_{ranks}").history for ranks in ("one", "two"))
    assert ones[-1]["strength_dmi"] != pytest.approx(0.1, rel=1e-2)
    for a, b in zip(ones, twos, strict=True):
        for name in ("training_loss", "validation_loss", "strength_dmi"):
            assert b[name] == pytest.approx(a[name], rel=2e-3)
