"""The only module that imports Numba for CPUs: a kernel decorator, and operations missing in Numba's Python subset.

Kernels are compiled without fastmath, so LLVM neither reassociates nor contracts operations: with fused operations
written out (`fma`), every CPU and vector width gives the same bits. Loads and stores use intrinsics because Numba
checks every signed index for wraparound, which prevents vectorization.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# Typed as Any because callers omit the typing context.
operation: Any = intrinsic


# Numba's cache only checks the file of a function for changes, but these kernels inline functions of other files. The
# stamp of a cache entry, `_source_stamp`, has no public interface; a test fails if Numba removes it.
_SOURCES = hashlib.sha256(
    b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("_*.py")))
).hexdigest()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that runs without the GIL, cached on disk until any kernel file changes.

    If neither the folder of this file nor the user's cache folder is writable, each process compiles for itself.
    """
    compiled: Any = njit(nogil=True, error_model="numpy")(function)
    with suppress(RuntimeError):  # no writable folder
        compiled.enable_caching()
        cache = compiled._cache
        cache._cache_file._source_stamp = _SOURCES
        cache.save_overload = _if_possible(cache.save_overload)
    return compiled


def _if_possible(save: Callable[..., None]) -> Callable[..., None]:
    def attempt(*arguments: Any) -> None:
        with suppress(OSError):  # full disk, exceeded quota, missing permissions
            save(*arguments)

    return attempt


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function of scalars that is inlined into the kernels that call it."""
    return njit(error_model="numpy", forceinline=True)(function)


@operation
def restrict(typing_context: Any) -> Any:
    """Declare that no two pointer arguments of the calling kernel overlap (C's `restrict`), and allow wide vectors.

    Without it LLVM would have to compare all pairs of a dozen arrays at run time, and leaves the loop scalar. The
    vector width is set to 512 bits, because for Intel CPUs LLVM defaults to half the width of AVX-512, which suits
    programs with few vectors.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite's own `add` accepts only attributes without a value.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), codegen


@operation
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return the float32 a * b + c, rounded once, even on CPUs without such an instruction."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), codegen


@operation
def times(typing_context: Any, a: Any, b: Any) -> Any:
    """Return the float32 a * b, rounded before anything is added to it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return types.float32(types.float32, types.float32), codegen


@operation
def sqrt(typing_context: Any, value: Any) -> Any:
    """Return the square root of a float32, correctly rounded."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [ir.FloatType()]), args)

    return types.float32(types.float32), codegen


@operation
def floor(typing_context: Any, value: Any) -> Any:
    """Return the largest integer not above a float32, as a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.floor", [ir.FloatType()]), args)

    return types.float32(types.float32), codegen


@operation
def to_bits(typing_context: Any, value: Any) -> Any:
    """Return the 32 bits of a float32 as an int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@operation
def from_bits(typing_context: Any, bits: Any) -> Any:
    """Return the float32 with these 32 bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


def _itself(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return args[0]


@operation
def start(typing_context: Any, array: Any) -> Any:
    """Return a pointer to the first element of a contiguous array, which must be kept alive; return a number as is."""
    if not isinstance(array, types.Array):
        return array(array), _itself

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@operation
def further(typing_context: Any, pointer: Any, elements: Any) -> Any:
    """Return the pointer advanced by a number of elements."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.gep_inbounds(builder, *args)

    return pointer(pointer, types.intp), codegen


@operation
def load(typing_context: Any, pointer: Any, index: Any) -> Any:
    """Return the element at an index from a pointer; return a number as is."""
    if not isinstance(pointer, types.CPointer):
        return pointer(pointer, types.intp), _itself

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(cgutils.gep_inbounds(builder, *args))

    return pointer.dtype(pointer, types.intp), codegen


@operation
def store(typing_context: Any, pointer: Any, index: Any, value: Any) -> Any:
    """Write the element at an index from a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], cgutils.gep_inbounds(builder, *args[:2]))
        return context.get_dummy_value()

    return types.void(pointer, types.intp, pointer.dtype), codegen
