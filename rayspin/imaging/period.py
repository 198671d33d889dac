"""The period of a texture in an image, and images at another number of pixels per period."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

_BAND = 2
"""The period is a mean over waves shorter or longer than the strongest by at most this factor."""
_STEPS = 10
_LARGEST = 2048
"""Largest side of the part in the middle of an image in which its period is measured, pixels."""


def texture_period(component_YX: Floats) -> float:
    """Return the period of a texture without a direction, such as a labyrinth, in pixels.

    It is the inverse of the mean wave number of the waves around the strongest, weighted by their power, after a Hann
    window, so that the image need not be periodic. It is measured in the middle of large images. NaN if the image is
    uniform or has fewer than 8 pixels along a side.

    Args:
        component_YX: a component of the spins, (Y, X).
    """
    component_YX = _middle(component_YX)
    rows, columns = component_YX.shape
    if min(rows, columns) < 8:
        return float("nan")
    window = np.hanning(rows)[:, None] * np.hanning(columns)
    centered = component_YX - np.average(component_YX, weights=window)
    power = np.abs(np.fft.rfft2(window * centered)) ** 2
    wave = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns))
    # Rings of the width of the window's line, without the uniform wave.
    width = 2 / min(rows, columns)
    ring = np.rint(wave / width).astype(int)
    strength = np.bincount(ring.ravel(), power.ravel())
    strength[0] = 0
    if not strength.any():
        return float("nan")
    strongest = width * strength.argmax()
    # Move the band to the mean of its waves.
    for _ in range(_STEPS):
        near = (wave > strongest / _BAND) & (wave < strongest * _BAND)
        strongest = (power * wave)[near].sum() / power[near].sum()
    return float(1 / strongest)


def _middle(component_YX: Floats) -> Floats:
    """Return the middle of an image, large enough to measure a period in it."""
    starts = (max((side - _LARGEST) // 2, 0) for side in component_YX.shape)
    rows, columns = (slice(start, start + _LARGEST) for start in starts)
    return component_YX[rows, columns]


def resized(values_YXC: npt.NDArray[np.float32], factor: float) -> npt.NDArray[np.float32]:
    """Return an image with `factor` times as many pixels along each side, rounded, by bicubic interpolation.

    A smaller image is averaged over the pixels it merges. Values are limited to the range of the image, because bicubic
    interpolation overshoots at edges.

    Args:
        values_YXC: the image, (Y, X, C).
        factor: number of pixels of the result per pixel of the image.
    """
    rows, columns = (max(round(factor * side), 1) for side in values_YXC.shape[:2])
    return resized_to(values_YXC, (rows, columns))


def resized_to(values_YXC: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return an image of another size, as `resized` does.

    Args:
        values_YXC: the image, (Y, X, C).
        shape: rows and columns of the result.
    """
    from PIL import Image

    low, high = values_YXC.min(initial=0), values_YXC.max(initial=0)
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(channel)).resize(shape[::-1], Image.Resampling.BICUBIC))
        for channel in np.moveaxis(values_YXC, -1, 0)
    ]
    limited: npt.NDArray[np.float32] = np.clip(np.stack(channels, axis=-1), low, high)
    return limited
