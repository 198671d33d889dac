"""What may be given to the functions of this package, checked in one place: lattices, spins, temperatures, counts.

`Hamiltonian` and `AnnealSchedule` check their own values, `rayspin.rng` the addresses of random streams.
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
"""Temperatures, J/k_B, between which inverse temperatures times fields are far from the ends of float32."""

STRONGEST = 1e6
"""Strength of a term, J, beyond which float32 fields lose the others to rounding, or overflow in squares."""

MOST_SWEEPS = 10**8
MOST_REFLECTIONS = 1000

FARTHEST = 0.95
"""Overshoot of a quench. At 1 spins would swing about their fields for ever."""

_LARGEST_SIDE = 2**14


def lattice(size: object, boundary: Boundary) -> tuple[int, int]:
    """Rows and columns of `size`: one whole number for a square, or two; even on a periodic lattice.

    Raises:
        InputError: a size that is none.
    """
    plain = size.tolist() if isinstance(size, np.ndarray | np.generic) else size
    sides = (plain, plain) if isinstance(plain, numbers.Number) else plain
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(map(_is_whole, sides)):
        raise InputError("size", f"{shown(size)} is no lattice", "give sites a side, or (rows, columns)")
    rows, columns = map(int, sides)
    shape = f"{rows} x {columns}"
    if not (1 <= rows <= _LARGEST_SIDE and 1 <= columns <= _LARGEST_SIDE):
        raise InputError("size", f"{shape} is out of range", f"give 1 to {_LARGEST_SIDE} sites a side")
    if boundary == "periodic" and (rows % 2 or columns % 2):
        raise InputError("size", f"{shape} is odd", "give even sides, or an open boundary")
    return rows, columns


def periodic(boundary: object) -> bool:
    """Whether a boundary is periodic; one that is neither "periodic" nor "open" is refused."""
    if not isinstance(boundary, str) or boundary not in ("periodic", "open"):
        raise InputError("boundary", f"{shown(boundary)} is none", 'give "periodic" or "open"')
    return boundary == "periodic"


def whole(where: str, value: object, least: int, most: int = MOST_SWEEPS) -> int:
    """The value of an argument that counts something."""
    if not _is_whole(value) or not least <= value <= most:  # type: ignore[operator]
        raise InputError(where, f"{shown(value)} won't do", f"give a whole number from {least} to {most}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def number(where: str, value: object, least: float, most: float) -> float:
    """The value of an argument that measures something; neither NaN nor beyond its bounds."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not least <= value <= most:  # type: ignore[operator]
        raise InputError(where, f"{shown(value)} won't do", f"give a number from {least:g} to {most:g}")
    return float(value)  # type: ignore[arg-type]


def vector(where: str, value: npt.ArrayLike) -> tuple[float, float, float]:
    """The three components of an argument that is a vector, finite."""
    found = _numbers(where, value)
    if found.shape != (3,) or not np.isfinite(found).all():
        raise InputError(where, f"{shown(value)} won't do", "give three numbers: (x, y, z)")
    x, y, z = found.tolist()
    return x, y, z


def sweep_temperatures(values: npt.ArrayLike) -> Array:
    """Temperatures of sweeps, (n,), J/k_B."""
    found = _numbers("temperatures", values)
    if found.ndim != 1:
        raise InputError("temperatures", f"have shape {found.shape}", "give (sweeps,): one for each")
    bad = found[~((found >= COLDEST) & (found <= HOTTEST))]
    if bad.size:
        raise InputError("temperatures", f"{bad[0]:g} is out of range", f"give {COLDEST:g} to {HOTTEST:g}, in J/k_B")
    return found


def spin_field(values: npt.ArrayLike, where: str = "spins") -> npt.NDArray[np.floating]:
    """Spins (rows, columns, 3), or a batch of them (N, rows, columns, 3): finite, of any length.

    float32 stays what it is, and all other real numbers are taken as float64.
    """
    spins = vectors(where, values)
    if spins.ndim not in (3, 4):
        raise InputError(where, f"have shape {spins.shape}", "give (rows, columns, 3), or a batch of them")
    if not np.isfinite(spins).all():
        raise InputError(where, "are not all finite", "look for NaN and infinity in them")
    return spins


def vectors(where: str, values: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """A vector at each site of lattices, (..., rows, columns, 3), at least one: float32, or else float64."""
    found = _array(where, values)
    if found.ndim < 3 or found.shape[-1] != 3 or found.size == 0:
        raise InputError(where, f"have shape {found.shape}", "give (rows, columns, 3), or a batch of them")
    _check_real(where, found)
    single = found.dtype.kind == "f" and found.dtype.itemsize == 4
    return found.astype(np.float32 if single else np.float64, copy=False)


def unit_spins(values: npt.ArrayLike, where: str = "spins", shape: tuple[int, ...] | None = None) -> Array:
    """Spins as `spin_field` takes them, but of unit length within 0.001; normalized, in float64."""
    spins = spin_field(values, where).astype(np.float64)
    if shape is not None and spins.shape != shape:
        raise InputError(where, f"have shape {spins.shape}", f"give {shape}")
    length = np.linalg.norm(spins, axis=-1, keepdims=True)
    if not np.all(np.abs(length - 1) < 1e-3):
        raise InputError(where, "are not all of unit length", "normalize them")
    unit: Array = spins / length
    return unit


def series(where: str, values: npt.ArrayLike, *components: int) -> Array:
    """Measurements (n, *components), at least one, all finite."""
    found = _numbers(where, values)
    if not found.size or found.ndim != 1 + len(components) or found.shape[1:] != components:
        remedy = f"give (n, {components[0]}), n at least 1" if components else "give (n,), n at least 1"
        raise InputError(where, f"have shape {found.shape}", remedy)
    if not np.isfinite(found).all():
        raise InputError(where, "are not all finite", "look for NaN and infinity in them")
    return found


def series_of_integers(where: str, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Whole numbers (n,), of whatever type of integer; there may be none."""
    found = _array(where, values)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        problem = f"have shape {found.shape} and dtype {found.dtype}"
        raise InputError(where, problem, "give (n,) integers; np.flatnonzero makes them of a mask")
    return found.astype(np.int64, copy=False)


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _array(where: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    # Tensors of torch refuse in errors of their own.
    except (TypeError, ValueError, RuntimeError):
        raise InputError(where, "are no array", "give numbers, as many in each row") from None


def _numbers(where: str, values: npt.ArrayLike) -> Array:
    found = _array(where, values)
    _check_real(where, found)
    return found.astype(np.float64)


def _check_real(where: str, found: npt.NDArray[Any]) -> None:
    if found.dtype.kind not in "iuf":
        raise InputError(where, f"have dtype {found.dtype}", "give real numbers")
