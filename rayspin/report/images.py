"""Images of a page: spins and pictures of runs as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rayspin.analysis.figures import Floats, every, spin_colors
from rayspin.errors import InputError
from rayspin.inputs import RECORD_BYTES, read_bytes

_SMALL = 64
"""Sides up to which spins are stored without loss, since they are small and shown enlarged."""


@dataclass(frozen=True)
class Detail:
    """How much detail images have; a page with many images has less in each.

    Attributes:
        side: largest number of pixels along a side of spins.
        width: largest number of pixels along a row of a picture.
        quality: quality of JPEG, 1 to 95.
    """

    side: int
    width: int
    quality: int


DETAILS = (Detail(256, 1400, 88), Detail(128, 1000, 80), Detail(96, 700, 70), Detail(64, 480, 55), Detail(32, 240, 40))
"""Details from the finest to the coarsest."""


def spins_uri(spins_YXC: Floats, detail: Detail) -> str:
    """Return a data URI of spins (Y, X, 3), in the colors of `spin_colors`, with +y up.

    Args:
        spins_YXC: the spins; zero vectors are gray.
        detail: the detail.
    """
    colors = spin_colors(np.asarray(spins_YXC[every(spins_YXC.shape[:2], detail.side)], np.float32))[::-1]
    image = Image.fromarray(np.round(colors * 255).astype(np.uint8), "RGB")
    return _uri(image, detail, lossless=max(image.size) <= _SMALL)


def wheel_uri() -> str:
    """Return a data URI of the key of the colors: the sphere of directions seen from +z, with -z at the rim."""
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    radius = np.hypot(x, y)
    polar = np.pi * np.minimum(radius, 1)
    plane = np.sin(polar) / np.maximum(radius, 1e-12)
    colors = spin_colors(np.stack([plane * x, plane * y, np.cos(polar)], axis=-1))
    image = np.concatenate([colors, np.clip((1 - radius) * 80, 0, 1)[..., None]], axis=-1)[::-1]
    return _uri(Image.fromarray(np.round(image * 255).astype(np.uint8), "RGBA"), DETAILS[0], lossless=True)


def picture_uri(path: Path, detail: Detail) -> str:
    """Return a data URI of a PNG file, made smaller if it is large.

    Raises:
        InputError: the file is missing or damaged.
    """
    remedy = "run the job again in a new folder"
    try:
        image = Image.open(io.BytesIO(read_bytes(path, limit=RECORD_BYTES, remedy=remedy)))
        image.thumbnail((detail.width, 4 * detail.width))
        return _uri(image.convert("RGB"), detail, lossless=False)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(str(path), f"is not a picture ({error})", remedy) from None


def _uri(image: Image.Image, detail: Detail, *, lossless: bool) -> str:
    stream = io.BytesIO()
    if lossless:
        image.save(stream, "PNG", optimize=True)
    else:
        # Full resolution of the colors, because the hue has the information. Pillow can't optimize images of noise.
        image.save(stream, "JPEG", quality=detail.quality, subsampling=0)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
