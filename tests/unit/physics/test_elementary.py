"""The compiled elementary functions against NumPy's in float64."""

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


def words_of(rng):
    """Random ones, and all that give the largest and the smallest uniforms."""
    top = np.arange(2**31 - 2**20, 2**31, dtype=np.int64).astype(np.int32)
    some = rng.integers(-(2**31), 2**31, 10**6, dtype=np.int64).astype(np.int32)
    return np.concatenate([top, some, np.arange(-1000, 1000, dtype=np.int32), np.array([SIGN], np.int32)])


def test_exponential_is_a_logarithm_and_never_negative():
    """A negative one, however small, would turn a cold spin upside down."""
    words = words_of(np.random.default_rng(1))
    result = np.empty(words.size, np.float32)
    exponentials(words, result)
    exact = 31 - np.log2(np.abs((words | 1).astype(np.float64)))
    assert result.min() >= 0
    assert result.max() == 31
    np.testing.assert_allclose(result, exact, rtol=1.5e-7, atol=3e-7)


def test_circle_is_round_and_whole():
    words = words_of(np.random.default_rng(2))
    cosines, sines = np.empty((2, words.size), np.float32)
    circles(words, cosines, sines)
    half_turns = ((words & (2**23 - 1)) | 2**23) / 2.0**23 - 1.5
    side = np.where(words < 0, -1, 1)
    np.testing.assert_allclose(cosines, 2 * side * np.cos(np.pi * half_turns), rtol=0, atol=4e-7)
    np.testing.assert_allclose(sines, 2 * np.sin(np.pi * half_turns), rtol=0, atol=4e-7)


def test_the_exponential_and_the_logarithm_beside_one_undo_each_other():
    x = -np.logspace(-30, 1, 10001).astype(np.float32)
    result = np.empty_like(x)
    round_trip(x, result)
    # Above, 1 - 2^x has lost digits of 2^x: the logarithm's slope gives them back to the error.
    np.testing.assert_allclose(result, -x, rtol=1e-6 * 2 ** np.abs(x).max())
    np.testing.assert_allclose(result[x > -1], -x[x > -1], rtol=6e-7)


def test_machine_code_on_disk_is_stamped_with_all_kernel_files():
    """Through an attribute of Numba's that is not public: this notices when it has become another."""
    warm_up()
    assert _SOURCES.encode() in Path(heat_bath_sweeps._cache._cache_file._index_path).read_bytes()


def test_where_no_machine_code_can_be_kept_it_is_made_again(tmp_path):
    source = tmp_path / "doubled.py"
    source.write_text("def doubled(x):\n    return 2 * x\n")
    of_a_file, of_none = {}, {}
    exec(compile(source.read_text(), str(source), "exec"), of_a_file)
    exec(compile(source.read_text(), "<nowhere>", "exec"), of_none)
    kept = kernel(of_a_file["doubled"])
    # Root may write anywhere, but not into a folder that its name leads to in vain.
    (tmp_path / "__pycache__").rmdir()
    (tmp_path / "__pycache__").symlink_to(tmp_path / "gone")
    assert kept(3) == kernel(of_none["doubled"])(3) == 6
