"""Images in files of Pillow and tifffile: grey levels of every type, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from rayspin.errors import InputError
from rayspin.imaging import raster
from rayspin.imaging.raster import read_raster

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
OTHER = GREY[::-1].copy()


def in_colours(*bands: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack(bands, axis=-1))


SAVED: dict[str, tuple[Callable[[Path], object], np.ndarray]] = {
    "grey.png": (lambda path: Image.fromarray(GREY).save(path), GREY),
    "16-bit.png": (lambda path: Image.fromarray(GREY.astype(np.uint16) * 250).save(path), GREY * 250.0),
    "two-levels.png": (lambda path: Image.fromarray(GREY > 100).save(path), GREY > 100),
    "equal-colours.png": (lambda path: in_colours(GREY, GREY, GREY).save(path), GREY),
    "palette.png": (lambda path: Image.fromarray(GREY).quantize(256).save(path), GREY),
    "8-bit.tif": (lambda path: tifffile.imwrite(path, GREY), GREY),
    "16-bit.tif": (lambda path: tifffile.imwrite(path, GREY.astype(np.uint16) * 250), GREY * 250.0),
    "signed.tif": (lambda path: tifffile.imwrite(path, GREY.astype(np.int16) - 100), GREY - 100.0),
    "float.tif": (lambda path: tifffile.imwrite(path, (GREY / 7).astype(np.float32)), GREY / 7),
    "deflate.tif": (lambda path: tifffile.imwrite(path, GREY, compression="zlib"), GREY),
    "lzw.tif": (lambda path: Image.fromarray(GREY).save(path, compression="tiff_lzw"), GREY),
    "palette.tif": (lambda path: Image.fromarray(GREY).quantize(256).save(path), GREY),
    "equal-colours.tif": (
        lambda path: tifffile.imwrite(path, np.stack([GREY] * 3, axis=-1), photometric="rgb"), GREY,
    ),
    "white-is-zero.tif": (lambda path: tifffile.imwrite(path, 255 - GREY, photometric="miniswhite"), GREY),
}  # fmt: skip


@pytest.mark.parametrize("name", SAVED)
def test_grey_levels_are_read(name: str, tmp_path: Path) -> None:
    save, expected = SAVED[name]
    save(tmp_path / name)
    levels, known = read_raster(tmp_path / name)
    assert levels.dtype == np.float32
    np.testing.assert_allclose(levels, expected[None], rtol=1e-6)
    assert known.all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_stack_has_an_image_for_each_page(tmp_path: Path, compression: str | None) -> None:
    pages = {"save_all": True, "append_images": [Image.fromarray(OTHER)], "compression": compression}
    Image.fromarray(GREY).save(tmp_path / "stack.tif", **pages)
    levels, _ = read_raster(tmp_path / "stack.tif")
    np.testing.assert_array_equal(levels, np.stack([GREY, OTHER]))


def test_transparent_pixels_and_nan_are_unknown(tmp_path: Path) -> None:
    alpha = np.where(GREY == 100, 0, 255).astype(np.uint8)
    in_colours(GREY, alpha).save(tmp_path / "alpha.png")
    Image.fromarray(GREY).save(tmp_path / "level.png", transparency=100)
    holes = np.where(GREY == 100, np.nan, GREY).astype(np.float32)
    tifffile.imwrite(tmp_path / "nan.tif", holes)
    for name in ("alpha.png", "level.png", "nan.tif"):
        levels, known = read_raster(tmp_path / name)
        np.testing.assert_array_equal(known[0], GREY != 100, err_msg=name)
        np.testing.assert_array_equal(levels[0], np.where(GREY == 100, 0, GREY), err_msg=name)


def torn(path: Path, save: Callable[[Path], object]) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:-800])


NOISE = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
ANIMATED = {"save_all": True, "append_images": [Image.fromarray(OTHER)]}
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "colours.png": (lambda path: in_colours(GREY, GREY, OTHER).save(path), "has colors"),
    "animation.png": (lambda path: Image.fromarray(GREY).save(path, **ANIMATED), "is an animation of 2 frames"),
    "torn.png": (lambda path: torn(path, Image.fromarray(NOISE).save), "is damaged, or not an image"),
    "torn.tif": (lambda path: torn(path, lambda file: tifffile.imwrite(file, NOISE)), "is damaged, or not an image"),
    "empty.png": (lambda path: path.write_bytes(b""), "is damaged, or not an image"),
    "empty.tif": (lambda path: path.write_bytes(b""), "is damaged, or not an image"),
    "text.png": (lambda path: path.write_text("hello"), "is damaged, or not an image"),
    "planes.tif": (
        lambda path: tifffile.imwrite(path, np.stack([GREY] * 3), photometric="rgb", planarconfig="separate"),
        "stores its bands apart",
    ),
    "folder.png": (lambda path: path.mkdir(), "is missing, or not a regular file"),
    "missing.png": (lambda path: None, "is missing, or not a regular file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    save, problem = REFUSED[name]
    save(tmp_path / name)
    with pytest.raises(InputError, match=problem) as error:
        read_raster(tmp_path / name)
    assert error.value.where == str(tmp_path / name)
    assert "\n" not in str(error.value)


def test_images_of_several_sizes_in_a_file_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "sizes.tif") as file:
        file.write(GREY)
        file.write(GREY[:3])
    with pytest.raises(InputError, match="has images of 2 sizes"):
        read_raster(tmp_path / "sizes.tif")


def test_number_of_pixels_is_limited_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "LARGEST_PIXELS", 40)
    for name in ("grey.png", "8-bit.tif"):
        SAVED[name][0](tmp_path / name)
        with pytest.raises(InputError, match="million pixels"):
            read_raster(tmp_path / name)
