"""Images in files of Pillow and tifffile: gray levels of every type, and what is refused."""

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

GRAY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
OTHER = GRAY[::-1].copy()


def in_colors(*bands: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack(bands, axis=-1))


SAVED: dict[str, tuple[Callable[[Path], object], np.ndarray]] = {
    "gray.png": (lambda path: Image.fromarray(GRAY).save(path), GRAY),
    "16-bit.png": (lambda path: Image.fromarray(GRAY.astype(np.uint16) * 250).save(path), GRAY * 250.0),
    "two-levels.png": (lambda path: Image.fromarray(GRAY > 100).save(path), GRAY > 100),
    "equal-colors.png": (lambda path: in_colors(GRAY, GRAY, GRAY).save(path), GRAY),
    "palette.png": (lambda path: Image.fromarray(GRAY).quantize(256).save(path), GRAY),
    "8-bit.tif": (lambda path: tifffile.imwrite(path, GRAY), GRAY),
    "16-bit.tif": (lambda path: tifffile.imwrite(path, GRAY.astype(np.uint16) * 250), GRAY * 250.0),
    "signed.tif": (lambda path: tifffile.imwrite(path, GRAY.astype(np.int16) - 100), GRAY - 100.0),
    "float.tif": (lambda path: tifffile.imwrite(path, (GRAY / 7).astype(np.float32)), GRAY / 7),
    "deflate.tif": (lambda path: tifffile.imwrite(path, GRAY, compression="zlib"), GRAY),
    "lzw.tif": (lambda path: Image.fromarray(GRAY).save(path, compression="tiff_lzw"), GRAY),
    "palette.tif": (lambda path: Image.fromarray(GRAY).quantize(256).save(path), GRAY),
    "equal-colors.tif": (
        lambda path: tifffile.imwrite(path, np.stack([GRAY] * 3, axis=-1), photometric="rgb"), GRAY,
    ),
    "white-is-zero.tif": (lambda path: tifffile.imwrite(path, 255 - GRAY, photometric="miniswhite"), GRAY),
    "white-is-false.tif": (lambda path: tifffile.imwrite(path, GRAY <= 100, photometric="miniswhite"), GRAY > 100),
    "white-is-zero-alpha.tif": (
        lambda path: tifffile.imwrite(
            path, np.stack([255 - GRAY, np.full_like(GRAY, 255)], axis=-1), photometric="miniswhite",
            extrasamples=["unassalpha"],
        ), GRAY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAVED)
def test_gray_levels_are_read(name: str, tmp_path: Path) -> None:
    save, expected = SAVED[name]
    save(tmp_path / name)
    levels, known = read_raster(tmp_path / name)
    assert levels.dtype == np.float32
    np.testing.assert_allclose(levels, expected[None], rtol=1e-6)
    assert known.all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_stack_has_an_image_for_each_page(tmp_path: Path, compression: str | None) -> None:
    pages = {"save_all": True, "append_images": [Image.fromarray(OTHER)], "compression": compression}
    Image.fromarray(GRAY).save(tmp_path / "stack.tif", **pages)
    levels, _ = read_raster(tmp_path / "stack.tif")
    np.testing.assert_array_equal(levels, np.stack([GRAY, OTHER]))


def test_transparent_pixels_and_nan_are_unknown(tmp_path: Path) -> None:
    alpha = np.where(GRAY == 100, 0, 255).astype(np.uint8)
    in_colors(GRAY, alpha).save(tmp_path / "alpha.png")
    Image.fromarray(GRAY).save(tmp_path / "level.png", transparency=100)
    holes = np.where(GRAY == 100, np.nan, GRAY).astype(np.float32)
    tifffile.imwrite(tmp_path / "nan.tif", holes)
    for name in ("alpha.png", "level.png", "nan.tif"):
        levels, known = read_raster(tmp_path / name)
        np.testing.assert_array_equal(known[0], GRAY != 100, err_msg=name)
        np.testing.assert_array_equal(levels[0], np.where(GRAY == 100, 0, GRAY), err_msg=name)


def torn(path: Path, save: Callable[[Path], object]) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:-800])


NOISE = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
ANIMATED = {"save_all": True, "append_images": [Image.fromarray(OTHER)]}
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "colors.png": (lambda path: in_colors(GRAY, GRAY, OTHER).save(path), "has colors"),
    "animation.png": (lambda path: Image.fromarray(GRAY).save(path, **ANIMATED), "is an animation of 2 frames"),
    "torn.png": (lambda path: torn(path, Image.fromarray(NOISE).save), "is damaged, or not an image"),
    "torn.tif": (lambda path: torn(path, lambda file: tifffile.imwrite(file, NOISE)), "is damaged, or not an image"),
    "empty.png": (lambda path: path.write_bytes(b""), "is damaged, or not an image"),
    "empty.tif": (lambda path: path.write_bytes(b""), "is damaged, or not an image"),
    "text.png": (lambda path: path.write_text("hello"), "is damaged, or not an image"),
    "planes.tif": (
        lambda path: tifffile.imwrite(path, np.stack([GRAY] * 3), photometric="rgb", planarconfig="separate"),
        "stores its bands apart",
    ),
    "inks.jpg": (
        lambda path: in_colors(GRAY, GRAY, GRAY, OTHER).convert("CMYK").save(path),
        "has bands of printing inks",
    ),
    "inks.tif": (
        lambda path: tifffile.imwrite(path, np.stack([GRAY] * 4, axis=-1), photometric="separated"),
        "has bands of printing inks",
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
        file.write(GRAY)
        file.write(GRAY[:3])
    with pytest.raises(InputError, match="has images of 2 sizes"):
        read_raster(tmp_path / "sizes.tif")


def test_number_of_pixels_is_limited_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "LARGEST_PIXELS", 40)
    for name in ("gray.png", "8-bit.tif"):
        SAVED[name][0](tmp_path / name)
        with pytest.raises(InputError, match="million pixels"):
            read_raster(tmp_path / name)
