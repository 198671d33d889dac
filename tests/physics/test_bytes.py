"""Spins, and what is computed of them, are the same bits on any CPU: other vector widths and libraries, no FMA."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from rayspin.physics import (
    DOMAIN,
    LABYRINTH,
    AnnealSchedule,
    Degradation,
    Hamiltonian,
    anneal,
    effective_field,
    energy,
)

SCHEDULE = AnnealSchedule(sweeps=12, quench_sweeps=6, over_relaxation=1, quench_overshoot=0.5)
TURNED = Hamiltonian(dmi=0.2, dmi_kind="bulk", anisotropy=-0.3, anisotropy_axis=(1.0, 2.0, 3.0), dipole=0.1)
SAMPLES = (
    (LABYRINTH, SCHEDULE),
    (DOMAIN, SCHEDULE),
    (TURNED, SCHEDULE),
    (LABYRINTH, SCHEDULE.with_updates(ramp="geometric", sweeps=60)),
    (LABYRINTH, SCHEDULE.with_updates(ramp="geometric", via=((0.3, 0.7), (0.6, 0.1)), sweeps=60)),
    (LABYRINTH, SCHEDULE.with_updates(via=((0.3, 0.7), (0.6, 0.1)))),
    (LABYRINTH, SCHEDULE.with_updates(start_field=(0.1, 0.2, 0.7))),
    (DOMAIN, SCHEDULE.with_updates(start_field=(0.1, 0.2, 0.7), ramp="geometric", over_relaxation=0)),
    (Hamiltonian(anisotropy=0.5), SCHEDULE),
    # The largest eigenvalue of its quadratic form is 0; LAPACK, whose code depends on the CPU, finds 1e-17 or -1e-17.
    (Hamiltonian(anisotropy=0.215, anisotropy_axis=(1.0, 2.0, 3.0)), SCHEDULE),
    (Hamiltonian(anisotropy=-0.7, anisotropy_axis=(3.0, -1.0, 0.5)), SCHEDULE),
    (LABYRINTH, SCHEDULE.with_updates(update="metropolis", over_relaxation=0)),
    (DOMAIN, SCHEDULE.with_updates(update="metropolis", over_relaxation=0, ramp="geometric")),
    (LABYRINTH.with_updates(boundary="open"), SCHEDULE.with_updates(start_temperature=100.0)),
)
DEGRADATIONS = (Degradation(), Degradation(sigma=1.3, sampling="average", coarse_sigma=0.7, mosaic=2))
# Its own NaN and rounding habits aside, a CPU differs in these: which instructions Numba, NumPy and glibc find.
CPUS = {
    "no vectors beyond SSE2, no fma": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
    "old glibc and NumPy paths": {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    },
    "linear algebra for AVX2": {"OPENBLAS_CORETYPE": "Haswell"},
    "linear algebra for SSE3": {"OPENBLAS_CORETYPE": "Prescott"},
}


def digests():
    """Of each sample's spins, energy, field and coarse versions."""
    found = []
    for n, (model, schedule) in enumerate(SAMPLES):
        spins = anneal(model, (16, 40), schedule, seed=(20, n))
        coarse = [degradation.apply(spins, 4) for degradation in DEGRADATIONS]
        values = spins, energy(spins, model), effective_field(spins, model), *coarse
        found.append(hashlib.sha256(b"".join(array.tobytes() for array in values)).hexdigest())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("cpu", CPUS)
def test_bits_are_the_same_on_another_cpu(cpu, tmp_path):
    environment = os.environ | CPUS[cpu] | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.physics.test_bytes"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=250)
    assert done.stdout.split() == digests()


if __name__ == "__main__":
    print(*digests())
