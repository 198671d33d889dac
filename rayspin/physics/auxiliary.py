"""The auxiliary Gaussian field: exact sampling of dipole and anisotropy without rejection and without local updates.

The energy of dipole and anisotropy is the quadratic form H_2 = 1/2 S.A.S with A = dipole T - 2 anisotropy a a^T. For
unit spins it equals a constant, c |S|^2 / 2, minus 1/2 S.M.S with M = c - A. If c is the largest eigenvalue of A, no
eigenvalue of M is negative, and

    exp(1/2 beta S.M.S)  is proportional to  the integral over phi of exp(beta phi.S - 1/2 beta phi.M^-1.phi)

(Hubbard's transformation). Given the spins, phi is normally distributed with mean M S and covariance M / beta. Given
phi, the spins are those of the nearest-neighbor model in the site field phi. Drawing the two in turn samples the exact
distribution, however rarely phi is drawn; as T -> 0 it becomes a descent with monotone energy. M S is a convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.physics._auxiliary_kernels import draw_convolved, draw_local, gaussians
from rayspin.physics._fourier_kernels import twiddles
from rayspin.physics._lattice_kernels import LANES
from rayspin.physics.checkerboard import Checkerboard, Spins, aligned_zeros
from rayspin.rng import Seed, seed_words

Array = npt.NDArray[np.float64]

Draw = Callable[[Spins, Spins, Spins, float], None]
"""draw(spins, site, external, temperature) writes external (3,) + phi into `site`, packed; phi = M S at T = 0."""

STREAMS = 256
"""Number of random streams for the noise of a sample."""

# c is rounded up to a multiple of 1 / _GRID, because the last bits of an eigenvalue differ between CPUs. _ROUNDING
# keeps an eigenvalue on the grid, such as 0, from being rounded up to the next multiple if it is computed slightly too
# large.
_GRID = 2.0**16
_ROUNDING = 1e-3

# Rows and columns of the six elements of a lower triangle, column by column.
_ROW, _COLUMN = np.array([0, 1, 2, 1, 2, 2]), np.array([0, 0, 0, 1, 1, 2])


def local_draw(board: Checkerboard, anisotropy: Array, seed: Seed) -> Draw:
    """Return a function that draws phi without a dipole term, site by site.

    Args:
        board: the lattice.
        anisotropy: (3, 3) matrix K of the anisotropy energy -S.(K S) of a spin, J.
        seed: address of the noise.
    """
    parts = local_parts(anisotropy)
    noise, fill = _noise(board.zeros().shape, seed)

    def draw(spins: Spins, site: Spins, external: Spins, temperature: float) -> None:
        fill(temperature)
        draw_local(spins, external, site, noise, *parts, np.float32(np.sqrt(temperature)))

    return draw


def convolved_draw(board: Checkerboard, dipole: Array, anisotropy: Array, seed: Seed) -> Draw:
    """Return a function that draws phi with dipole and anisotropy, in Fourier space.

    Args:
        board: the lattice, periodic.
        dipole: (columns, rows // 2 + 1, 3, 3) spectrum of the dipole tensor times the strength of the dipole term, J.
        anisotropy: as in `local_draw`.
        seed: address of the noise.
    """
    rows, columns = board.rows, board.columns
    operators = convolution(board, dipole, anisotropy)
    half, _, lanes = operators.shape
    noise, fill = _noise((half, 12, lanes), seed)
    spectra = aligned_zeros(3, 2, half * 2 * lanes)
    buffers = aligned_zeros(4, max(rows * board.padded, half * 2 * lanes))
    _, cosines, sines = twiddles(columns)
    tables: tuple[Any, ...] = twiddles(rows), twiddles(half), (cosines, sines)

    def draw(spins: Spins, site: Spins, external: Spins, temperature: float) -> None:
        fill(temperature)
        deviation = np.float32(np.sqrt(temperature))
        lattice = (rows, board.padded)
        draw_convolved(spins, external, site, noise, operators, deviation, lattice, spectra, buffers, *tables)

    return draw


def local_parts(anisotropy: Array) -> tuple[Spins, Spins]:
    """Return M and L (L L^T = M) of the anisotropy alone, six numbers each (`_auxiliary_kernels.draw_local`)."""
    matrix = _positive(-2 * anisotropy)
    return matrix[_ROW, _COLUMN].astype(np.float32), _cholesky(matrix).astype(np.float32)


def convolution(board: Checkerboard, dipole: Array, anisotropy: Array) -> Spins:
    """Return M and L with a dipole term, (columns / 2, 24, lanes) (`_auxiliary_kernels.draw_convolved`).

    Args:
        board: as in `convolved_draw`.
        dipole: as in `convolved_draw`.
        anisotropy: as in `convolved_draw`.
    """
    wanted = board.rows // 2 + 1
    operators = aligned_zeros(board.columns // 2, 24, -(-wanted // LANES) * LANES)
    operators[:, :, :wanted] = _operators(_positive(dipole - 2 * anisotropy), board.rows)
    return operators


def noise_states(seed: Seed) -> npt.NDArray[np.uint32]:
    """Return the initial states of the random streams for a sample's noise, (4, STREAMS)."""
    return seed_words("auxiliary", seed, 4 * STREAMS).reshape(4, STREAMS)


def _operators(matrix: Array, rows: int) -> Array:
    """Return M and L in the layout of `draw_convolved`, (columns / 2, 24, rows // 2 + 1), from M (columns, ., 3, 3).

    Three factors are included. The transforms in both directions are unnormalized and `_split` doubles the spectrum,
    hence 1 / (2 rows columns). Noise of unit variance per site has |g_k|^2 = rows columns, divided between real and
    imaginary part. Where k_y is its own mirror image only the real part is kept, which is half of the variance.
    """
    columns = matrix.shape[0]
    sites = rows * columns
    means = matrix[..., _ROW, _COLUMN] / (2 * sites)
    spreads = _cholesky(matrix) / np.sqrt(2 * sites)
    spreads[:, [0, rows // 2]] *= np.sqrt(2)
    # Place k_x and k_x + pi side by side.
    pairs = [part.reshape(2, columns // 2, -1, 6) for part in (means, spreads)]
    planes = [pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]]
    return np.concatenate(planes, axis=-1).transpose(0, 2, 1)


def _positive(form: Array) -> Array:
    """Return M = c - A, positive semidefinite, for a quadratic form A, (..., 3, 3), with the smallest c on the grid."""
    largest = np.linalg.eigvalsh(form).max()
    c = np.ceil(max(largest, 0) * _GRID - _ROUNDING) / _GRID
    positive: Array = c * np.eye(3) - form
    return positive


def _cholesky(matrix: Array) -> Array:
    """Return L with L L^T = M as the six numbers of its lower triangle; M, (..., 3, 3), may be singular."""
    lower = np.zeros_like(matrix)
    for column in range(3):
        rest = matrix[..., column] - np.einsum("...ij,...j->...i", lower, lower[..., column, :])
        pivot = np.sqrt(np.maximum(rest[..., column], 0))
        lower[..., column] = np.where(pivot[..., None] > 1e-7, rest / np.maximum(pivot, 1e-7)[..., None], 0)
        lower[..., :column, column] = 0
    return lower[..., _ROW, _COLUMN]


def _noise(shape: tuple[int, ...], seed: Seed) -> tuple[Spins, Callable[[float], None]]:
    """Return an array for normal numbers, and a function that refills it unless the temperature is 0."""
    size = int(np.prod(shape))
    flat = aligned_zeros(-(-size // (2 * STREAMS)) * 2 * STREAMS)
    states = noise_states(seed)

    def fill(temperature: float) -> None:
        if temperature > 0:
            gaussians(states, flat)

    return flat[:size].reshape(shape), fill
