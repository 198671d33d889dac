"""Reading of raster images: TIFF with tifffile, PNG and other formats with Pillow."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".pgm")
"""Suffixes of the files that `read_raster` reads."""

LARGEST_PIXELS = 2**30
"""Largest number of pixels of an image, or of all images of a stack."""

_TIFF = (".tif", ".tiff")
_REMEDY = "save it as a gray PNG or TIFF"

# Exceptions of the libraries for damaged files.
_DAMAGE = (
    ArithmeticError, AttributeError, AssertionError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip


def read_raster(path: Path) -> tuple[Floats, Bools]:
    """Read the gray levels of an image or of a stack of images.

    Args:
        path: an image in a format of Pillow, or a TIFF file of integers or floats with one image or a stack.

    Returns:
        Gray levels (N, Y, X), float32, the topmost row first, and whether each pixel is known, (N, Y, X). Transparent
        pixels and pixels that are not finite are unknown; their level is 0.

    Raises:
        InputError: the file is not an intact image; or it has colors, several frames without being a TIFF stack, or
            more than `LARGEST_PIXELS` pixels.
    """
    if not path.is_file():
        raise InputError(str(path), "is missing, or not a regular file", "give an image")
    try:
        levels, known = _tiff(path) if path.suffix.lower() in _TIFF else _pillow(path)
    except InputError:
        raise
    except MemoryError:
        raise InputError(str(path), "doesn't fit into memory", "cut it into smaller images") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(str(path), f"is damaged, or not an image ({reason})", "copy it again, or " + _REMEDY) from None
    values = levels.astype(np.float32, copy=False)
    known &= np.isfinite(values)
    return np.where(known, values, np.float32(0)), known


def _tiff(path: Path) -> tuple[npt.NDArray[Any], Bools]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if len(file.series) != 1:
            problem = f"has images of {len(file.series)} sizes or types"
            raise InputError(str(path), problem, "save each in a file of its own")
        series, page = file.series[0], file.pages.first
        _check_pixels(path, int(np.prod(series.shape)))
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            return _pillow(path)
        if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
            raise _inks(path)
        try:
            pixels = series.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            # tifffile reads this compression only with the package imagecodecs.
            return _pillow(path)
        bands = pixels.shape[-1] if series.axes.endswith("S") else 1
        if series.axes.endswith("S") or "S" not in series.axes:
            pixels = pixels.reshape(-1, *page.shape[:2], bands)
        else:
            raise InputError(str(path), f"stores its bands apart (axes {series.axes})", _REMEDY)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            white, alpha = pixels[..., :1], pixels[..., 1:]
            black = np.invert(white) if pixels.dtype.kind in "bui" else -white
            pixels = np.concatenate([black, alpha], axis=-1)
    return _gray(path, pixels)


def _pillow(path: Path) -> tuple[npt.NDArray[Any], Bools]:
    from PIL import Image, ImageSequence

    with _any_size(Image), Image.open(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "TIFF":
            raise InputError(str(path), f"is an animation of {frames} frames", "save one frame, or a TIFF stack")
        if image.mode == "CMYK":
            raise _inks(path)
        _check_pixels(path, image.width * image.height * frames)
        transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
        indexed = image.mode in ("P", "PA")
        pages = []
        for frame in ImageSequence.Iterator(image):
            page = frame.convert("RGBA" if transparent else "RGB") if indexed or transparent else frame
            pages.append(np.asarray(page))
    pixels = np.stack(pages)
    return _gray(path, pixels if pixels.ndim == 4 else pixels[..., None])


def _inks(path: Path) -> InputError:
    return InputError(str(path), "has bands of printing inks (CMYK), not gray levels", _REMEDY)


@contextmanager
def _any_size(module: Any) -> Iterator[None]:
    """Replace Pillow's limit of the number of pixels by that of this module."""
    limit, module.MAX_IMAGE_PIXELS = module.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        module.MAX_IMAGE_PIXELS = limit


def _check_pixels(path: Path, pixels: int) -> None:
    if pixels > LARGEST_PIXELS:
        problem = f"has {pixels / 1e6:.0f} million pixels, more than {LARGEST_PIXELS / 1e6:.0f}"
        raise InputError(str(path), problem, "cut it into smaller images")


def _gray(path: Path, pixels_NYXB: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Bools]:
    """Return the gray levels of pixels of one band (gray), two (with alpha), three (colors) or four (with alpha)."""
    bands = pixels_NYXB.shape[-1]
    if bands not in (1, 2, 3, 4) or pixels_NYXB.dtype.kind not in "buif":
        raise InputError(str(path), f"has {bands} bands of {pixels_NYXB.dtype}", _REMEDY)
    colors = pixels_NYXB[..., : bands - (bands in (2, 4))]
    if colors.shape[-1] > 1 and (colors != colors[..., :1]).any():
        raise InputError(str(path), "has colors, and a component of the spins is a gray level", _REMEDY)
    known = pixels_NYXB[..., -1] > 0 if bands in (2, 4) else np.ones(pixels_NYXB.shape[:-1], bool)
    return colors[..., 0], known
