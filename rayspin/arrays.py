"""Axis orders of spin arrays, and conversion between them.

Suffixes of array names give the axes: N sample, Y row, X column, C component (x, y, z). Physics and storage put the
components last, as the papers do (`spins_NYXC`); PyTorch puts them first (`spins_NCYX`).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

Array = TypeVar("Array")


def channel_first(array_YXC: Array) -> Array:
    """Return a view with the components before the lattice axes: (..., Y, X, C) to (..., C, Y, X).

    The array may be a NumPy array or a PyTorch tensor.
    """
    moved: Array = _move_axis(array_YXC, -1, -3)
    return moved


def channel_last(array_CYX: Array) -> Array:
    """Return a view with the components after the lattice axes: (..., C, Y, X) to (..., Y, X, C).

    The array may be a NumPy array or a PyTorch tensor.
    """
    moved: Array = _move_axis(array_CYX, -3, -1)
    return moved


def _move_axis(array: Any, source: int, destination: int) -> Any:
    # This module does not import torch, so tensors are recognized by their method.
    if hasattr(array, "movedim"):
        return array.movedim(source, destination)
    return np.moveaxis(array, source, destination)
