"""Comparison of the compiled elementary functions with NumPy in float64."""

from __future__ import annotations

from pathlib import Path

import numba
import numpy as np

from rayspin.physics import warm_up
from rayspin.physics._elementary_kernels import SIGN, circle, exponential, minus_log2_one_minus, one_minus_exp2
from rayspin.physics._numba import _SOURCES, kernel
from rayspin.physics._sweep_kernels import heat_bath_sweeps


@numba.njit
def exponentials(words, out):
    for k in range(words.size):
        out[k] = exponential(words[k])


@numba.njit
def circles(words, cosines, sines):
    for k in range(words.size):
        cosines[k], sines[k] = circle(words[k])


@numba.njit
def round_trip(x, out):
    for k in range(x.size):
        out[k] = minus_log2_one_minus(one_minus_exp2(x[k]))


def sample_words(rng):
    """Random words, and all words that give the largest and smallest uniform numbers."""
    top = np.arange(2**31 - 2**20, 2**31, dtype=np.int64).astype(np.int32)
    random_words = rng.integers(-(2**31), 2**31, 10**6, dtype=np.int64).astype(np.int32)
    return np.concatenate([top, random_words, np.arange(-1000, 1000, dtype=np.int32), np.array([SIGN], np.int32)])


def test_exponential_is_a_non_negative_logarithm():
    """A negative value, however small, would reverse a cold spin."""
    words = sample_words(np.random.default_rng(1))
    result = np.empty(words.size, np.float32)
    exponentials(words, result)
    exact = 31 - np.log2(np.abs((words | 1).astype(np.float64)))
    assert result.min() >= 0
    assert result.max() == 31
    np.testing.assert_allclose(result, exact, rtol=1.5e-7, atol=3e-7)


def test_circle_is_uniform_in_all_quadrants():
    words = sample_words(np.random.default_rng(2))
    cosines, sines = np.empty((2, words.size), np.float32)
    circles(words, cosines, sines)
    half_turns = ((words & (2**23 - 1)) | 2**23) / 2.0**23 - 1.5
    side = np.where(words < 0, -1, 1)
    np.testing.assert_allclose(cosines, 2 * side * np.cos(np.pi * half_turns), rtol=0, atol=4e-7)
    np.testing.assert_allclose(sines, 2 * np.sin(np.pi * half_turns), rtol=0, atol=4e-7)


def test_logarithm_inverts_the_exponential():
    x = -np.logspace(-30, 1, 10001).astype(np.float32)
    result = np.empty_like(x)
    round_trip(x, result)
    # For large |x|, 1 - 2^x loses digits of 2^x, and the slope of the logarithm amplifies this error.
    np.testing.assert_allclose(result, -x, rtol=1e-6 * 2 ** np.abs(x).max())
    np.testing.assert_allclose(result[x > -1], -x[x > -1], rtol=6e-7)


def test_cached_machine_code_is_stamped_with_all_kernel_files():
    """The stamp is set through a private attribute of Numba, which may change in another version."""
    warm_up()
    assert _SOURCES.encode() in Path(heat_bath_sweeps._cache._cache_file._index_path).read_bytes()


def test_kernels_compile_without_a_writable_cache(tmp_path):
    source = tmp_path / "doubled.py"
    source.write_text("def doubled(x):\n    return 2 * x\n")
    with_file, without_file = {}, {}
    exec(compile(source.read_text(), str(source), "exec"), with_file)
    exec(compile(source.read_text(), "<nowhere>", "exec"), without_file)
    doubled = kernel(with_file["doubled"])
    # A broken link is not writable, even for root.
    (tmp_path / "__pycache__").rmdir()
    (tmp_path / "__pycache__").symlink_to(tmp_path / "gone")
    assert doubled(3) == kernel(without_file["doubled"])(3) == 6
