"""Application of a network or a method to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rayspin.application.operations import Operation, operation
from rayspin.application.result import Application
from rayspin.errors import InputError
from rayspin.imaging.inputs import Input, normalized, read_components, read_input
from rayspin.imaging.levels import Levels
from rayspin.imaging.period import resized, texture_period
from rayspin.imaging.raster import read_raster
from rayspin.imaging.tiles import Edges
from rayspin.physics.arguments import number
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.storage import Split

AUTO = "auto"
_LARGEST_RATIO = 100.0


def apply_to(
    source: str | Path | Sequence[str | Path],
    what: str | Path | Operation,
    *,
    iterations: int = 0,
    scale: int | None = None,
    hamiltonian: HamiltonianLike | None = None,
    noise: float | None = 0.0,
    levels: Levels | None = None,
    mask: str | Path | None = None,
    edges: Edges | None = None,
    sites_per_pixel: float | str | None = None,
    normalize: bool = False,
    split: Split = "test",
    samples: int = 1,
) -> Application:
    """Apply a network or a method of reconstruction to an image, to spins in a file, or to samples of a dataset.

    Args:
        source: an image (its gray levels give S_z), an OVF file, an array in NetCDF, .npz or .npy, or the folder of a
            dataset; or three files, whose images are S_x, S_y and S_z.
        what: a network or method by name or file (see `operation`), or an `Operation`.
        iterations: see `operation`.
        scale: see `operation`.
        hamiltonian: see `operation`.
        noise: see `operation`.
        levels: how gray levels become a component; None selects `Levels()`.
        mask: an image whose black pixels are unknown in the input.
        edges: how the input continues beyond its edges; by default "periodic" for datasets and "mirrored" for files,
            because the texture at one edge of a picture doesn't continue at the opposite edge.
        sites_per_pixel: factor by which the image is resized first; "auto" chooses it such that the texture gets the
            period of the network's training data. Default: "auto" for gray images if that period is known, otherwise 1.
        normalize: normalize the spins to length 1.
        split: the split of a dataset.
        samples: number of samples of a dataset.

    Raises:
        InputError: a file or an argument is invalid, or they don't fit together.
    """
    applied = what
    if not isinstance(applied, Operation):
        applied = operation(applied, iterations=iterations, scale=scale, hamiltonian=hamiltonian, noise=noise)
    given = _read(source, levels or Levels(), split, samples)
    truth_NYXC = None
    if given.hamiltonian is not None:
        truth_NYXC, spins_NYXC = applied.truth(given.spins_NYXC, given.hamiltonian), applied.coarse(given.spins_NYXC)
        given = replace(given, spins_NYXC=spins_NYXC, known_NYX=np.ones(spins_NYXC.shape[:3], bool))
    if mask is not None:
        given = _masked(given, Path(mask))
    if edges is not None:
        given = replace(given, edges=edges)
    given, factor = to_sites(given, applied, sites_per_pixel)
    if normalize:
        given = replace(given, spins_NYXC=normalized(given.spins_NYXC))
    return Application(applied, given, applied(given), factor, truth_NYXC)


def to_sites(given: Input, applied: Operation, sites_per_pixel: float | str | None = None) -> tuple[Input, float]:
    """Resize an input such that its pixels are sites (or coarse pixels) of an operation.

    Args:
        given: the input.
        applied: the operation.
        sites_per_pixel: see `apply_to`.

    Returns:
        the input, and the factor by which it is larger along each side.

    Raises:
        InputError: `sites_per_pixel` is "auto" and the period can't be measured, or the number is invalid.
    """
    factor = _factor(given, applied, sites_per_pixel)
    return (given if factor == 1 else _resized(given, factor)), factor


def _read(source: str | Path | Sequence[str | Path], levels: Levels, split: Split, samples: int) -> Input:
    if isinstance(source, str | Path):
        return read_input(Path(source), levels, split, samples)
    return read_components([Path(one) for one in source], levels)


def _masked(given: Input, mask: Path) -> Input:
    gray, known = read_raster(mask)
    known_NYX = np.broadcast_to((gray > 0) & known, (len(gray), *gray.shape[1:]))[:, ::-1]
    if known_NYX.shape[1:] != given.known_NYX.shape[1:] or len(known_NYX) not in (1, len(given.known_NYX)):
        problem = f"has {known_NYX.shape} pixels, and the input has {given.known_NYX.shape}"
        raise InputError(str(mask), problem, "give a mask of the size of the input")
    known_NYX = known_NYX & given.known_NYX
    return replace(
        given, known_NYX=known_NYX, spins_NYXC=np.where(known_NYX[..., None], given.spins_NYXC, np.float32(0))
    )


def _factor(given: Input, applied: Operation, asked: float | str | None) -> float:
    """Return the number of pixels of the input per pixel of the image."""
    period = None if applied.hamiltonian is None else applied.hamiltonian.spiral_period
    if asked is None:
        asked = AUTO if given.gray and period is not None else 1.0
    if asked != AUTO:
        return number("sites_per_pixel", asked, 1 / _LARGEST_RATIO, _LARGEST_RATIO)
    if period is None:
        problem = "the period of the training data isn't known"
        raise InputError("sites_per_pixel", problem, "give a number")
    measured = np.median([texture_period(image) for image in given.spins_NYXC[..., -1]])
    if not measured >= 1:
        raise InputError(given.name, "has no texture whose period could be measured", "give sites_per_pixel")
    return float(np.clip(period / applied.scale / measured, 1 / _LARGEST_RATIO, _LARGEST_RATIO))


def _resized(given: Input, factor: float) -> Input:
    both = np.concatenate([given.spins_NYXC, given.known_NYX[..., None]], axis=-1, dtype=np.float32)
    sized = np.stack([resized(image, factor) for image in both])
    known_NYX = sized[..., -1] > 0.5
    spins_NYXC = np.where(known_NYX[..., None], sized[..., :-1], np.float32(0))
    if not given.known_NYX.all():
        # The average of the known pixels alone: the spins of the others are 0.
        spins_NYXC[known_NYX] /= sized[known_NYX, -1:]
        spins_NYXC.clip(given.spins_NYXC.min(), given.spins_NYXC.max(), out=spins_NYXC)
    return replace(given, spins_NYXC=spins_NYXC, known_NYX=known_NYX)
