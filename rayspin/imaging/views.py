"""Rotated and magnified views of periodic fields, as a microscope shows a part of a sample."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]


def view(field_YXC: npt.ArrayLike, shape: tuple[int, int], angle: float = 0.0, pitch: float = 1.0) -> Vectors:
    """Return the middle of a periodic field of vectors, in the axes of a rotated picture.

    The picture's x axis makes an angle with that of the lattice. The field is interpolated by cubic polynomials: where
    it varies with a period of 21.6 sites, to 2e-4. (The bicubic rotation of Pillow is wrong by 0.04.) Its in-plane
    components become those along the axes of the picture.

    Args:
        field_YXC: the field, (Y, X, 3).
        shape: rows and columns of the view.
        angle: angle from the lattice's x axis to that of the picture, towards y, degrees.
        pitch: distance of the points of the view, sites.

    Returns:
        (rows, columns, 3), float32.

    Raises:
        InputError: the field doesn't contain the view without repetition.
    """
    field = np.asarray(field_YXC, np.float32)
    check_fits(shape, field.shape, angle, pitch)
    rows, columns = shape
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    v = pitch * (np.arange(rows) - (rows - 1) / 2)[:, None]
    u = pitch * (np.arange(columns) - (columns - 1) / 2)
    middle_y, middle_x = ((side - 1) / 2 for side in field.shape[:2])
    found = _interpolated(field, middle_y + sine * u + cosine * v, middle_x + cosine * u - sine * v)
    x, y, z = np.moveaxis(found, -1, 0)
    return np.stack([cosine * x + sine * y, cosine * y - sine * x, z], axis=-1).astype(np.float32)


def check_fits(shape: tuple[int, int], field: tuple[int, ...], angle: float, pitch: float) -> None:
    """Check that a field contains a view without repetition; arguments as for `view`, but the shape of the field.

    Raises:
        InputError: it doesn't.
    """
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    needed = [pitch * (cosine * along + sine * across) for along, across in (shape, shape[::-1])]
    if any(side > available + 1e-6 for side, available in zip(needed, field)):
        problem = f"a view of {needed[0]:.0f} x {needed[1]:.0f} sites is larger than the field, {field[0]} x {field[1]}"
        raise InputError("size", problem, "reduce size or angle, or generate larger fields")


def _interpolated(field_YXC: Vectors, y_YX: Floats, x_YX: Floats) -> Vectors:
    """Return a periodic field at points, by cubic polynomials through the four nearest sites along each axis."""
    rows, row_weights = _neighbors(y_YX, field_YXC.shape[0])
    columns, column_weights = _neighbors(x_YX, field_YXC.shape[1])
    found = np.zeros((*y_YX.shape, 3), np.float32)
    for row, row_weight in zip(rows, row_weights):
        for column, column_weight in zip(columns, column_weights):
            found += (row_weight * column_weight)[..., None].astype(np.float32) * field_YXC[row, column]
    return found


def _neighbors(position_YX: Floats, sites: int) -> tuple[list[npt.NDArray[np.intp]], list[npt.NDArray[np.float64]]]:
    """Return the four nearest sites of each point, and their weights (Lagrange polynomials)."""
    first = np.floor(position_YX).astype(np.intp)
    t = position_YX - first
    weights = [
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    ]
    return [(first + offset) % sites for offset in (-1, 0, 1, 2)], weights
