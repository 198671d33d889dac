"""Checks of the arguments of this package's functions: lattice sizes, spins, temperatures and counts.

`Hamiltonian` and `AnnealSchedule` check their own fields, and `rayspin.rng` checks the addresses of random streams.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError, shown

Array = npt.NDArray[np.float64]
Boundary = Literal["periodic", "open"]

COLDEST, HOTTEST = 1e-6, 1e6
"""Lowest and highest temperature, J/k_B. Between them, inverse temperatures times fields are far from the limits of
float32."""

STRONGEST = 1e6
"""Largest strength of a term, J. Beyond it, float32 fields lose the other terms to rounding, or their squares overflow.
"""

MOST_SWEEPS = 10**8
"""Largest number of sweeps."""
MOST_REFLECTIONS = 1000
"""Largest number of reflections after a heat-bath sweep."""

FARTHEST = 0.95
"""Largest overshoot of a quench. At 1, spins would oscillate about their fields indefinitely."""

_LARGEST_SIDE = 2**14


def lattice(size: object, boundary: Boundary) -> tuple[int, int]:
    """Return the rows and columns of a lattice.

    Args:
        size: sites along each side, or (rows, columns).
        boundary: "periodic" requires even sides; "open" does not.

    Raises:
        InputError: the size is invalid.
    """
    plain = size.tolist() if isinstance(size, np.ndarray | np.generic) else size
    sides = (plain, plain) if isinstance(plain, numbers.Number) else plain
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(map(_is_whole, sides)):
        remedy = "give the number of sites along each side, or (rows, columns)"
        raise InputError("size", f"{shown(size)} is not a lattice size", remedy)
    rows, columns = map(int, sides)
    shape = f"{rows} x {columns}"
    if not (1 <= rows <= _LARGEST_SIDE and 1 <= columns <= _LARGEST_SIDE):
        raise InputError("size", f"{shape} is out of range", f"give 1 to {_LARGEST_SIDE} sites per side")
    if boundary == "periodic" and (rows % 2 or columns % 2):
        raise InputError("size", f"{shape} has an odd side", "give even sides, or an open boundary")
    return rows, columns


def periodic(boundary: object) -> bool:
    """Return whether a boundary is periodic.

    Args:
        boundary: "periodic" or "open".

    Raises:
        InputError: the boundary is neither.
    """
    if not isinstance(boundary, str) or boundary not in ("periodic", "open"):
        raise InputError("boundary", f"{shown(boundary)} is invalid", 'give "periodic" or "open"')
    return boundary == "periodic"


def whole(where: str, value: object, least: int, most: int = MOST_SWEEPS) -> int:
    """Return the value of an argument that must be an integer within bounds.

    Args:
        where: name of the argument.
        value: value of the argument.
        least: smallest valid value.
        most: largest valid value.

    Raises:
        InputError: the value is not an integer, or is out of bounds.
    """
    if not _is_whole(value) or not least <= value <= most:  # type: ignore[operator]
        raise InputError(where, f"{shown(value)} is invalid", f"give a whole number from {least} to {most}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def number(where: str, value: object, least: float, most: float) -> float:
    """Return the value of an argument that must be a real number within bounds.

    Args:
        where: name of the argument.
        value: value of the argument.
        least: smallest valid value.
        most: largest valid value.

    Raises:
        InputError: the value is not a real number, is NaN, or is out of bounds.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not least <= value <= most:  # type: ignore[operator]
        raise InputError(where, f"{shown(value)} is invalid", f"give a number from {least:g} to {most:g}")
    return float(value)  # type: ignore[arg-type]


def vector(where: str, value: npt.ArrayLike) -> tuple[float, float, float]:
    """Return the components of an argument that must be a finite vector.

    Args:
        where: name of the argument.
        value: three numbers (x, y, z).

    Raises:
        InputError: the value is not such a vector.
    """
    found = _numbers(where, value)
    if found.shape != (3,) or not np.isfinite(found).all():
        raise InputError(where, f"{shown(value)} is invalid", "give three finite numbers: (x, y, z)")
    x, y, z = found.tolist()
    return x, y, z


def sweep_temperatures(values: npt.ArrayLike) -> Array:
    """Return the temperatures of sweeps as a float64 array (sweeps,).

    Args:
        values: temperatures, J/k_B.

    Raises:
        InputError: the array is not one-dimensional, or a temperature is out of range.
    """
    found = _numbers("temperatures", values)
    if found.ndim != 1:
        raise InputError("temperatures", f"have shape {found.shape}", "give (sweeps,), one per sweep")
    bad = found[~((found >= COLDEST) & (found <= HOTTEST))]
    if bad.size:
        raise InputError("temperatures", f"{bad[0]:g} is out of range", f"give {COLDEST:g} to {HOTTEST:g}, in J/k_B")
    return found


def spin_field(values: npt.ArrayLike, where: str = "spins") -> npt.NDArray[np.floating]:
    """Return spins as a float32 or float64 array.

    float32 is preserved; other real numbers are converted to float64.

    Args:
        values: finite spins of any length, (rows, columns, 3), or (N, rows, columns, 3) for a batch.
        where: name of the argument.

    Raises:
        InputError: the shape or type is wrong, or a value is not finite.
    """
    spins = vectors(where, values)
    if spins.ndim not in (3, 4):
        raise InputError(where, f"have shape {spins.shape}", "give (rows, columns, 3) or (N, rows, columns, 3)")
    if not np.isfinite(spins).all():
        raise InputError(where, "are not all finite", "check them for NaN and infinity")
    return spins


def vectors(where: str, values: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Return a field of vectors as a float32 or float64 array.

    float32 is preserved; other real numbers are converted to float64. The vectors need not be finite.

    Args:
        where: name of the argument.
        values: vectors, (..., rows, columns, 3), not empty.

    Raises:
        InputError: the shape or type is wrong.
    """
    found = _array(where, values)
    if found.ndim < 3 or found.shape[-1] != 3 or found.size == 0:
        raise InputError(where, f"have shape {found.shape}", "give (..., rows, columns, 3), not empty")
    _check_real(where, found)
    single = found.dtype.kind == "f" and found.dtype.itemsize == 4
    return found.astype(np.float32 if single else np.float64, copy=False)


def unit_spins(values: npt.ArrayLike, where: str = "spins", shape: tuple[int, ...] | None = None) -> Array:
    """Return unit spins as a float64 array, normalized.

    Args:
        values: spins as in `spin_field`, of unit length within 0.001.
        where: name of the argument.
        shape: required shape; None accepts any.

    Raises:
        InputError: as in `spin_field`; or the shape is another one, or a spin is not of unit length.
    """
    spins = spin_field(values, where).astype(np.float64)
    if shape is not None and spins.shape != shape:
        raise InputError(where, f"have shape {spins.shape}", f"give {shape}")
    length = np.linalg.norm(spins, axis=-1, keepdims=True)
    if not np.all(np.abs(length - 1) < 1e-3):
        raise InputError(where, "are not all of unit length", "normalize them")
    unit: Array = spins / length
    return unit


def series(where: str, values: npt.ArrayLike, *components: int) -> Array:
    """Return measurements as a float64 array (n, *components).

    Args:
        where: name of the argument.
        values: finite numbers, n at least 1.
        components: shape of one measurement; none for numbers.

    Raises:
        InputError: the shape or type is wrong, or a value is not finite.
    """
    found = _numbers(where, values)
    if not found.size or found.ndim != 1 + len(components) or found.shape[1:] != components:
        remedy = f"give (n, {components[0]}), n at least 1" if components else "give (n,), n at least 1"
        raise InputError(where, f"have shape {found.shape}", remedy)
    if not np.isfinite(found).all():
        raise InputError(where, "are not all finite", "check them for NaN and infinity")
    return found


def series_of_integers(where: str, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return integers of any type as an int64 array (n,), which may be empty.

    Args:
        where: name of the argument.
        values: integers, (n,).

    Raises:
        InputError: the shape or type is wrong.
    """
    found = _array(where, values)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        problem = f"have shape {found.shape} and dtype {found.dtype}"
        raise InputError(where, problem, "give (n,) integers; np.flatnonzero converts a mask")
    return found.astype(np.int64, copy=False)


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _array(where: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    # A torch tensor that can't be converted raises TypeError or RuntimeError.
    except (TypeError, ValueError, RuntimeError):
        raise InputError(where, "are not an array", "give numbers in rows of equal length") from None


def _numbers(where: str, values: npt.ArrayLike) -> Array:
    found = _array(where, values)
    _check_real(where, found)
    return found.astype(np.float64)


def _check_real(where: str, found: npt.NDArray[Any]) -> None:
    if found.dtype.kind not in "iuf":
        raise InputError(where, f"have dtype {found.dtype}", "give real numbers")
