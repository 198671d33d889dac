"""Images of coarse spins in files of users: formats, names of arrays, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rayspin.errors import InputError
from rayspin.storage import Images
from tests.support.damaged_arrays import NPY, NPZ

IMAGES = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 4, 6, 3)).astype(np.float32)
AXES = ("image", "y", "x", "component")


def test_formats_and_shapes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES[:2].astype(np.float64))
    np.savez(tmp_path / "b.npz", coarse=IMAGES[2], mask=np.ones((4, 6)))
    xr.Dataset({"m": (AXES, IMAGES[3:]), "t": ("image", [0.0, 1.0])}).to_netcdf(tmp_path / "c.nc")
    (tmp_path / "notes.txt").write_text("not an image")
    images = Images.read(tmp_path)
    assert [path.name for path in images.files] == ["a.npy", "b.npz", "c.nc"]
    np.testing.assert_array_equal(images.values_NYXC, IMAGES)
    assert len(images) == 5
    assert images.digest == Images(images.files, IMAGES.copy()).digest != Images(images.files, -IMAGES).digest


def test_the_array_is_chosen_by_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", coarse8=IMAGES, spins=IMAGES[:, :2], fitted=IMAGES[:1])
    np.testing.assert_array_equal(Images.read(tmp_path / "a.npz").values_NYXC, IMAGES)
    np.save(tmp_path / "z.npy", IMAGES[..., 2:])
    assert Images.read(tmp_path / "z.npy").values_NYXC.shape == (5, 4, 6, 1)


def _sizes(path: Path) -> None:
    path.mkdir()
    np.save(path / "a.npy", IMAGES)
    np.save(path / "b.npy", IMAGES[:, :2])


BAD = {
    "missing.npy": lambda path: None,
    "images.tif": lambda path: path.write_text("1 2 3"),
    "text.npy": lambda path: path.write_text("1 2 3"),
    "text.nc": lambda path: path.write_text("1 2 3"),
    "text.npz": lambda path: path.write_bytes(b"PK\x03\x04 torn"),
    "empty": lambda path: path.mkdir(),
    "two.npz": lambda path: np.savez(path, a=IMAGES, b=IMAGES),
    "shape.npy": lambda path: np.save(path, IMAGES[..., :2]),
    "none.npy": lambda path: np.save(path, IMAGES[:0]),
    "objects.npy": lambda path: np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True),
    "complex.npy": lambda path: np.save(path, IMAGES * 1j),
    "nan.npy": lambda path: np.save(path, np.where(np.arange(5)[:, None, None, None] == 3, np.nan, IMAGES)),
    "sizes": _sizes,
}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npy", "is missing, or not a regular file"),
        ("images.tif", "is not a file of images"),
        ("text.npy", "can't be read"),
        ("text.nc", "can't be read"),
        ("text.npz", "can't be read"),
        ("empty", "has no file .nc, .npz, .npy"),
        ("two.npz", "has 2 arrays in the shape of spins among a, b"),
        ("shape.npy", r"has an array of shape \(5, 4, 6, 2\)"),
        ("none.npy", "has an empty array"),
        ("objects.npy", "can't be read"),
        ("complex.npy", "has an array of shape .* and dtype complex64"),
        ("nan.npy", "image 3 has values that are not finite"),
        ("sizes", r"b.npy: has images 2 x 6 x 3, and a.npy has 4 x 6 x 3"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path, name: str, message: str) -> None:
    BAD[name](tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        Images.read(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("suffix", "damage"), [*((".npy", name) for name in NPY), *((".npz", name) for name in NPZ)])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"damaged{suffix}"
    if suffix == ".npy":
        np.save(path, IMAGES)
        path.write_bytes(NPY[damage](path.read_bytes()))
    else:
        np.savez_compressed(path, coarse=IMAGES)
        path.write_bytes(NPZ[damage](path.read_bytes()))
    with pytest.raises(InputError, match="can't be read") as caught:
        Images.read(path)
    assert "\n" not in str(caught.value)


def test_an_array_with_the_name_of_an_archive_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(InputError, match="can't be read"):
        Images.read(tmp_path / "a.npz")
