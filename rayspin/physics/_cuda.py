"""The only module that uses CUDA, through Numba: GPU versions of compiled scalar functions, and a kernel decorator.

A GPU rounds as a CPU does if its compiler may not fuse products with sums, so every operation in this module specifies
its rounding. The arithmetic of a spin is compiled for both from the same source and gives the same bits.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import cuda as _cuda_of_numba
from numba.core import config as _config

from rayspin.physics import _numba

cuda: Any = _cuda_of_numba

THREADS = 256
"""Threads per block; one block processes one sample."""


def device(function: Callable[..., Any]) -> Any:
    """Compile a function that GPU kernels call."""
    return cuda.jit(device=True)(function)


def cuda_kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel, to be launched as `function[blocks, THREADS](...)` with one block per sample."""
    return cuda.jit(function)


@functools.cache
def on_gpu(inlined: Any) -> Any:
    """Return the GPU version of a function made by `_numba.inlined`: the same source with this module's operations."""
    python = inlined.py_func
    names = {
        name: _translated(python.__globals__[name]) for name in python.__code__.co_names if name in python.__globals__
    }
    return device(types.FunctionType(python.__code__, {**python.__globals__, **names}, python.__name__))


def _translated(value: Any) -> Any:
    if hasattr(value, "py_func"):
        return on_gpu(value)
    return _OPERATIONS.get(id(value), value)


def on_gpu_memory(array: npt.ArrayLike) -> Any:
    """Copy an array to the memory of the GPU."""
    return cuda.to_device(np.ascontiguousarray(array))


def zeros(shape: tuple[int, ...], dtype: type = np.float32) -> Any:
    """Return zeros in the memory of the GPU."""
    return cuda.to_device(np.zeros(shape, dtype))


def copy(array: Any) -> Any:
    """Copy an array within the memory of the GPU."""
    other = cuda.device_array_like(array)
    other.copy_to_device(array)
    return other


def free_memory() -> float:
    """Return the number of free bytes on the GPU."""
    return float(cuda.current_context().get_memory_info()[0])


@device
def load(array, index):
    """Return the element at a non-negative index; the unsigned type avoids Numba's check for negative indices."""
    return array[np.uint32(index)]


@device
def store(array, index, value):
    """Write the element at a non-negative index."""
    array[np.uint32(index)] = value


config: Any = _config

if config.ENABLE_CUDASIM:
    # The simulator runs kernels in Python, where these device functions don't exist.
    floor, sqrt, times = np.floor, np.sqrt, np.multiply

    def fma(a, b, c):
        """Return the float32 a * b + c, rounded once, except in one case of 2^29 where float64 rounds first."""
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))

    def to_bits(value):
        """Return the bits of a float32 as an int32."""
        return np.float32(value).view(np.int32)

    def from_bits(bits):
        """Return the float32 with these bits."""
        return np.int32(bits).view(np.float32)
else:
    from numba.cuda.libdevice import float_as_int as to_bits
    from numba.cuda.libdevice import floorf as floor  # type: ignore[assignment]
    from numba.cuda.libdevice import fmaf_rn as fma
    from numba.cuda.libdevice import fmul_rn as times  # type: ignore[assignment]
    from numba.cuda.libdevice import fsqrt_rn as sqrt  # type: ignore[assignment]
    from numba.cuda.libdevice import int_as_float as from_bits

_OPERATIONS: dict[int, Any] = {
    id(_numba.fma): fma,
    id(_numba.times): times,
    id(_numba.sqrt): sqrt,
    id(_numba.floor): floor,
    id(_numba.to_bits): to_bits,
    id(_numba.from_bits): from_bits,
    id(_numba.load): load,
    id(_numba.store): store,
}
