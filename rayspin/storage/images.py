"""Images of coarse spins in files of users: NetCDF, .npz and .npy, one file or all files of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.inputs import DAMAGED_ARRAYS
from rayspin.storage.hdf5 import netCDF4

_SUFFIXES = (".nc", ".npz", ".npy")
_NAMES = ("coarse", "spins", "image")
"""Beginnings of the name of the array of spins, in order of preference, in files with several arrays."""
_COMPONENTS = (1, 3)


@dataclass(frozen=True)
class Images:
    """Images of a file or of a folder, in the order of file names.

    Attributes:
        files: the files.
        values_NYXC: coarse spins, (N, Y, X, 3), or (N, Y, X, 1) for S_z alone, float32.
    """

    files: tuple[Path, ...]
    values_NYXC: npt.NDArray[np.float32]

    @classmethod
    def read(cls, path: str | Path) -> Images:
        """Read images.

        Args:
            path: a file, or a folder of files, each with an array (N, Y, X, 3) or (Y, X, 3) of any real type, or with
                1 in place of 3 for S_z alone. Of several arrays in a file, the one is read whose name starts with
                "coarse", "spins" or "image".

        Raises:
            InputError: there is no such file, an array is not as described or not finite, or the files differ in the
                size of images.
        """
        path = Path(path)
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise InputError(str(path), f"has no file {', '.join(_SUFFIXES)}", "give a folder of images, or a file")
        parts = [_checked(file, _array(file)) for file in files]
        for file, part in zip(files, parts):
            if part.shape[1:] != parts[0].shape[1:]:
                problem = f"has images {_size(part)}, and {files[0].name} has {_size(parts[0])}"
                raise InputError(str(file), problem, "put images of other sizes into another folder")
        return cls(tuple(files), np.concatenate(parts))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape and values, in hexadecimal."""
        digest = hashlib.sha256(repr(self.values_NYXC.shape).encode())
        digest.update(np.ascontiguousarray(self.values_NYXC, "<f4").data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.values_NYXC)


def _array(path: Path) -> npt.NDArray[Any]:
    """Return the array of spins in a file."""
    if path.suffix not in _SUFFIXES:
        raise InputError(
            str(path), "is not a file of images", f"give one of {', '.join(_SUFFIXES)}, or a folder of them"
        )
    if not path.is_file():
        raise InputError(str(path), "is missing, or not a regular file", "give a file or a folder")
    try:
        if path.suffix == ".nc":
            with netCDF4.Dataset(path) as file:
                file.set_auto_mask(False)
                name = _chosen(path, {name: variable.shape for name, variable in file.variables.items()})
                values: npt.NDArray[Any] = file[name][...]
                return values
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if path.suffix == ".npy":
                return np.asarray(loaded)
            return np.asarray(loaded[_chosen(path, {name: loaded[name].shape for name in loaded.files})])
    except InputError:
        raise
    except DAMAGED_ARRAYS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        problem = f"can't be read ({reason})"
        raise InputError(str(path), problem, "give a file of arrays of real numbers") from None


def _chosen(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the name of the array of spins."""
    like = [name for name, shape in shapes.items() if len(shape) in (3, 4) and shape[-1] in _COMPONENTS]
    for beginning in _NAMES:
        if len(named := [name for name in like if name.startswith(beginning)]) == 1:
            return named[0]
    if len(like) != 1:
        problem = f"has {len(like)} arrays in the shape of spins among {', '.join(shapes) or 'none'}"
        raise InputError(str(path), problem, f"give the array of the spins the name {_NAMES[0]!r}")
    return like[0]


def _checked(path: Path, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if values.dtype.kind not in "iuf" or values.ndim not in (3, 4) or values.shape[-1] not in _COMPONENTS:
        problem = f"has an array of shape {values.shape} and dtype {values.dtype}"
        raise InputError(str(path), problem, "give real numbers (N, Y, X, 3), or (N, Y, X, 1) for S_z alone")
    images = values.astype(np.float32, copy=False).reshape(-1, *values.shape[-3:])
    if not images.size:
        raise InputError(str(path), f"has an empty array of shape {values.shape}", "give at least one image")
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if bad.size:
        raise InputError(str(path), f"image {bad[0]} has values that are not finite", "omit it, or fill its gaps")
    return images


def _size(images: npt.NDArray[np.float32]) -> str:
    return " x ".join(str(side) for side in images.shape[1:])
