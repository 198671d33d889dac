"""Spins and derived quantities are bitwise equal on CPUs with other vector widths, other libraries and without FMA."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.bits import digests
from tests.support.repository import REPOSITORY

# The settings restrict the instructions that Numba, NumPy and glibc use, as another CPU would.
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


@pytest.mark.parametrize("cpu", CPUS)
def test_results_are_bitwise_equal_on_another_cpu(cpu, tmp_path):
    # Machine code for another CPU has its own cache; settings of libraries use the same machine code.
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)} if "NUMBA_CPU_NAME" in CPUS[cpu] else {}
    environment = os.environ | CPUS[cpu] | cache
    command = [sys.executable, "-m", "tests.support.bits"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == digests()
