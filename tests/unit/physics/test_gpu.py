"""Samples annealed on a GPU, or in Numba's CUDA simulator, are bitwise equal to those of a CPU."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics import DOMAIN, LABYRINTH, LABYRINTH_SCHEDULE, AnnealSchedule, anneal_many
from rayspin.physics.gpu import available
from tests.support.bits import SAMPLES
from tests.support.simulated_gpu import OPEN, SEEDS, SIMULATED, simulate

needs_gpu = pytest.mark.skipif(not available(), reason="no GPU is available")


def equal_on_both_devices(model, size, schedule):
    cpu, gpu = (anneal_many(model, size, schedule, SEEDS, device=device) for device in ("cpu", "cuda"))
    return np.array_equal(cpu, gpu)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("sample", [k for k, (_, schedule) in enumerate(SAMPLES) if schedule.update == "heat-bath"])
def test_samples_of_every_kind_are_bitwise_equal_to_the_cpu(sample):
    assert equal_on_both_devices(SAMPLES[sample][0], (16, 40), SAMPLES[sample][1])


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(
    ("model", "size", "schedule"),
    [
        (LABYRINTH, 128, LABYRINTH_SCHEDULE),
        (LABYRINTH, (16, 1024), AnnealSchedule(sweeps=20, quench_sweeps=5)),
        (LABYRINTH, 32, AnnealSchedule(sweeps=0, quench_sweeps=5000, quench_overshoot=0.95, torque_tolerance=1e-3)),
        (DOMAIN, 128, AnnealSchedule(sweeps=30, quench_sweeps=40, over_relaxation=6, quench_overshoot=0.9)),
        (DOMAIN, (40, 96), AnnealSchedule(sweeps=30, quench_sweeps=3000, quench_overshoot=0.9, torque_tolerance=1e-2)),
        (OPEN, (23, 37), AnnealSchedule(sweeps=50, over_relaxation=2, quench_sweeps=50, quench_overshoot=0.9)),
    ],
    ids=str,
)
def test_sizes_and_schedules_are_bitwise_equal_to_the_cpu(model, size, schedule):
    assert equal_on_both_devices(model, size, schedule)


@pytest.mark.skipif(available(), reason="a GPU is available")
def test_missing_gpu_is_a_one_line_error():
    with pytest.raises(InputError, match="device: no CUDA device is available; "):
        anneal_many(LABYRINTH, 16, AnnealSchedule(), SEEDS, device="cuda")


def test_metropolis_on_a_gpu_is_refused():
    with pytest.raises(InputError, match="update: Metropolis updates run on CPUs only; "):
        anneal_many(LABYRINTH, 16, AnnealSchedule(update="metropolis"), SEEDS, device="cuda")


@pytest.mark.parametrize("name", SIMULATED)
def test_simulated_kernels_are_bitwise_equal_to_the_cpu(name):
    simulate("samples", name)
