"""The one door to Numba: a decorator for kernels, and the few operations that Numba's Python subset lacks.

Kernels are compiled without fastmath, so that LLVM neither reassociates nor contracts: with fused operations
written out (`fma`) every CPU and vector width gives the same bits. Loads and stores go through intrinsics
because Numba tests every signed index for wraparound, which keeps loops scalar.
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

# As its users see it: an operation without the typing context.
operation: Any = intrinsic


# Numba's cache looks at the file of a function alone, and these kernels inline functions of other files. There is no
# public way to add to what an entry is stamped with; `_source_stamp` is the stamp. A test fails if it goes.
_SOURCES = hashlib.sha256(
    b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("_*.py")))
).hexdigest()


def kernel(function: Callable[..., Any]) -> Any:
    """A compiled version of `function`, cached on disk until any kernel file changes, that runs without the GIL.

    Where nothing can be written, neither beside this file nor at home, each process compiles for itself.
    """
    compiled: Any = njit(nogil=True, error_model="numpy")(function)
    with suppress(RuntimeError):  # no folder for it
        compiled.enable_caching()
        cache = compiled._cache
        cache._cache_file._source_stamp = _SOURCES
        cache.save_overload = _if_possible(cache.save_overload)
    return compiled


def _if_possible(save: Callable[..., None]) -> Callable[..., None]:
    def attempt(*arguments: Any) -> None:
        with suppress(OSError):  # a full disk, a quota, rights
            save(*arguments)

    return attempt


def inlined(function: Callable[..., Any]) -> Any:
    """A compiled function of scalars that vanishes into the kernel that calls it."""
    return njit(error_model="numpy", forceinline=True)(function)


@operation
def restrict(typing_context: Any) -> Any:
    """Declares that no two pointers among the calling kernel's arguments overlap (C's `restrict`); allows wide vectors.

    Without it LLVM would have to compare all pairs of a dozen arrays at run time, and leaves the loop scalar. On
    Intel's CPUs it takes half the width of AVX-512 unless told otherwise: right for programs with few vectors.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite's own `add` knows attributes without a value only.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), codegen


@operation
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """A float32 a * b + c, rounded once, on CPUs without such an instruction too."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), codegen


@operation
def times(typing_context: Any, a: Any, b: Any) -> Any:
    """A float32 a * b, rounded before anything is added to it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return types.float32(types.float32, types.float32), codegen


@operation
def sqrt(typing_context: Any, value: Any) -> Any:
    """The square root of a float32, correctly rounded."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [ir.FloatType()]), args)

    return types.float32(types.float32), codegen


@operation
def floor(typing_context: Any, value: Any) -> Any:
    """The largest whole number up to a float32, as a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.floor", [ir.FloatType()]), args)

    return types.float32(types.float32), codegen


@operation
def to_bits(typing_context: Any, value: Any) -> Any:
    """The 32 bits of a float32, as an int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@operation
def from_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 that has these 32 bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


def _itself(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return args[0]


@operation
def start(typing_context: Any, array: Any) -> Any:
    """A pointer to the first element of a contiguous array that the caller keeps alive; of a number, the number."""
    if not isinstance(array, types.Array):
        return array(array), _itself

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@operation
def further(typing_context: Any, pointer: Any, elements: Any) -> Any:
    """The pointer so many elements further on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.gep_inbounds(builder, *args)

    return pointer(pointer, types.intp), codegen


@operation
def load(typing_context: Any, pointer: Any, index: Any) -> Any:
    """The element at an index from the pointer; a number in its place is the same at every index."""
    if not isinstance(pointer, types.CPointer):
        return pointer(pointer, types.intp), _itself

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(cgutils.gep_inbounds(builder, *args))

    return pointer.dtype(pointer, types.intp), codegen


@operation
def store(typing_context: Any, pointer: Any, index: Any, value: Any) -> Any:
    """Writes the element at an index from the pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], cgutils.gep_inbounds(builder, *args[:2]))
        return context.get_dummy_value()

    return types.void(pointer, types.intp, pointer.dtype), codegen
