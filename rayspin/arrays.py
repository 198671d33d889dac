"""Axis orders of spin arrays, and the one place that turns one into the other.

Legend of the shape suffixes used throughout: N sample, Y row, X column, C component (x, y, z).
Physics and storage keep components last (`spins_NYXC`, as the papers write them), torch keeps them first
(`spins_NCYX`).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

Array = TypeVar("Array")


def channel_first(array_YXC: Array) -> Array:
    """The same array with its components before the lattice: (..., Y, X, C) to (..., C, Y, X). A view.

    Takes numpy arrays and torch tensors alike.
    """
    moved: Array = _move_axis(array_YXC, -1, -3)
    return moved


def channel_last(array_CYX: Array) -> Array:
    """The same array with its components after the lattice: (..., C, Y, X) to (..., Y, X, C). A view.

    Takes numpy arrays and torch tensors alike.
    """
    moved: Array = _move_axis(array_CYX, -3, -1)
    return moved


def _move_axis(array: Any, source: int, destination: int) -> Any:
    # Torch is not imported at this level; its tensors bring their own method.
    if hasattr(array, "movedim"):
        return array.movedim(source, destination)
    return np.moveaxis(array, source, destination)
