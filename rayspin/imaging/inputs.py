"""Inputs of networks: spins of a file, of three files with one component each, or of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.imaging import raster
from rayspin.imaging.levels import Bools, Levels
from rayspin.imaging.ovf import read_ovf
from rayspin.imaging.tiles import Edges
from rayspin.physics import Hamiltonian
from rayspin.storage import Catalog, Images, Split

_OVF = (".ovf", ".omf", ".ohf")


@dataclass(frozen=True)
class Input:
    """Spins to apply a network to.

    Attributes:
        name: the file or the split of a dataset.
        spins_NYXC: (N, Y, X, 3), or (N, Y, X, 1) for S_z alone, float32; the first row is the lowest of a picture.
        known_NYX: False where a pixel is unknown; its spins are 0.
        edges: how the input continues beyond its edges.
        gray: whether it is an image of gray levels, whose pixels are not sites of a lattice.
        hamiltonian: the Hamiltonian, if the spins are of a dataset; they are fine spins then.
        levels: gray levels of S_z = -1 and +1, averaged over the first image of S_z, if it has gray levels.
    """

    name: str
    spins_NYXC: npt.NDArray[np.float32]
    known_NYX: Bools
    edges: Edges
    gray: bool = False
    hamiltonian: Hamiltonian | None = None
    levels: tuple[float, float] | None = None

    @property
    def one_component(self) -> bool:
        """Whether it is S_z alone."""
        return bool(self.spins_NYXC.shape[-1] == 1)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape and values, in hexadecimal."""
        digest = hashlib.sha256(repr(self.spins_NYXC.shape).encode())
        digest.update(np.ascontiguousarray(self.spins_NYXC, "<f4").data)
        return digest.hexdigest()


def read_input(path: Path, levels: Levels, split: Split = "test", samples: int = 1) -> Input:
    """Read spins.

    Args:
        path: an image (its gray levels are S_z), an OVF file, an array in NetCDF, .npz or .npy, or a dataset's folder.
        levels: conversion of gray levels to S_z.
        split: the split of a dataset.
        samples: the number of samples of a dataset.

    Raises:
        InputError: the path is none of these, or the file is damaged or can't be used.
    """
    if path.is_dir():
        return _dataset(path, split, samples)
    if _is_image(path):
        return _image(path, levels)
    spins = read_ovf(path) if path.suffix.lower() in _OVF else Images.read(path).values_NYXC
    known: Bools = np.asarray(np.isfinite(spins).all(axis=-1))
    return Input(str(path), np.where(known[..., None], spins, np.float32(0)), known, "mirrored")


def read_components(paths: Sequence[Path], levels: Levels) -> Input:
    """Read one input whose components S_x, S_y and S_z are in three files.

    Args:
        paths: three images that were taken under equal conditions, or three files of arrays with one component each.
        levels: conversion of gray levels; S_x and S_y get the contrast of S_z (see `Levels.spins`).

    Raises:
        InputError: as for `read_input`; or there are not three files of one kind with one component and equal size.
    """
    images = [_is_image(path) for path in paths]
    if any(images) and not all(images):
        problem = "some inputs are images, and others arrays of spins"
        raise InputError("--components", problem, "give three images, or three arrays")
    if images and all(images):
        gray, known = zip(*(_gray(path) for path in paths))
        _check_components([one.shape for one in gray])
        gray_NYXC, known_NYX = np.stack(gray, axis=-1), np.logical_and.reduce(known)
        spins_NYXC = levels.spins(gray_NYXC, known_NYX, str(paths[2]))
        means = levels.means(gray[2][0], known_NYX[0], str(paths[2]))
        return Input(", ".join(map(str, paths)), spins_NYXC, known_NYX, "mirrored", gray=True, levels=means)
    inputs = [read_input(path, levels) for path in paths]
    _check_components([one.spins_NYXC.shape[:3] if one.one_component else one.spins_NYXC.shape for one in inputs])
    known_NYX = np.logical_and.reduce([one.known_NYX for one in inputs])
    spins_NYXC = np.concatenate([one.spins_NYXC for one in inputs], axis=-1)
    return replace(
        inputs[0],
        name=", ".join(one.name for one in inputs),
        spins_NYXC=np.where(known_NYX[..., None], spins_NYXC, np.float32(0)),
        known_NYX=known_NYX,
    )


def normalized(spins: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return spins (..., 3) of length 1; those of length 0 stay."""
    length = np.linalg.norm(spins, axis=-1, keepdims=True)
    return (spins / np.where(length > 0, length, 1)).astype(np.float32, copy=False)


def _is_image(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() in raster.SUFFIXES


def _image(path: Path, levels: Levels) -> Input:
    gray, known = _gray(path)
    spins = levels.component(gray, known, str(path))[..., None]
    return Input(str(path), spins, known, "mirrored", gray=True, levels=levels.means(gray[0], known[0], str(path)))


def _gray(path: Path) -> tuple[npt.NDArray[np.float32], Bools]:
    """Return gray levels and known pixels, (N, Y, X), from the lowest row of an image, which its file has last."""
    gray, known = raster.read_raster(path)
    return gray[:, ::-1], known[:, ::-1]


def _check_components(shapes: Sequence[tuple[int, ...]]) -> None:
    """Check that three inputs have one component and equal size; those with more components have more axes."""
    if len(shapes) != 3 or any(shape != shapes[0] or len(shape) != 3 for shape in shapes):
        raise InputError(
            "--components",
            f"the inputs have the shapes {', '.join(map(str, shapes))}",
            "give images of S_x, S_y and S_z of equal size",
        )


def _dataset(path: Path, split: Split, samples: int) -> Input:
    reader = Catalog.open(path).reader(split)
    if not len(reader):
        raise InputError(str(path), f"has no samples in the split {split!r}", "give another --split")
    spins = reader.read(np.arange(min(samples, len(reader))))
    known = np.ones(spins.shape[:3], bool)
    return Input(f"{path} ({split})", spins, known, "periodic", hamiltonian=reader.hamiltonian)
