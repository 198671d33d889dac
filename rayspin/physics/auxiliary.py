"""The auxiliary Gaussian field: dipole and anisotropy sampled exactly, without rejection and without local updates.

The quadratic form H_2 = 1/2 S.A.S of dipole and anisotropy, A = dipole T - 2 anisotropy a a^T, is turned into
H_2 = const - 1/2 S.M.S by adding c |S|^2 / 2, a constant, with c the largest eigenvalue of A, so that M = c - A has
none below zero. Then

    exp(1/2 beta S.M.S)  is proportional to  the integral over phi of exp(beta phi.S - 1/2 beta phi.M^-1.phi):

given the spins, phi is normal with mean M S and covariance M / beta; given phi, the spins are those of the
nearest-neighbour model in the site field phi (Hubbard's transformation). Drawing the two in turn keeps the exact
distribution, however seldom phi is drawn; as T -> 0 it becomes a descent, monotone in energy. M S is a convolution.
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
"""Random streams of a sample's noise."""

# c is rounded up to this grid, so that the last bits of an eigenvalue, which differ between CPUs, do not matter: nor do
# they where it lies on the grid, as 0 does, and comes out a little above or below.
_GRID = 2.0**16
_ROUNDING = 1e-3

# The six numbers of a symmetric matrix, column by column from the diagonal down.
_ROW, _COLUMN = np.array([0, 1, 2, 1, 2, 2]), np.array([0, 0, 0, 1, 1, 2])


def local_draw(board: Checkerboard, anisotropy: Array, seed: Seed) -> Draw:
    """Draws phi where there is no dipole term: site by site.

    Args:
        board: the lattice.
        anisotropy: (3, 3), the matrix whose quadratic form -S.(anisotropy S) is the energy of a spin.
        seed: address of the noise.
    """
    parts = local_parts(anisotropy)
    noise, fill = _noise(board.zeros().shape, seed)

    def draw(spins: Spins, site: Spins, external: Spins, temperature: float) -> None:
        fill(temperature)
        draw_local(spins, external, site, noise, *parts, np.float32(np.sqrt(temperature)))

    return draw


def convolved_draw(board: Checkerboard, dipole: Array, anisotropy: Array, seed: Seed) -> Draw:
    """Draws phi with dipole and anisotropy, in Fourier space.

    Args:
        board: the lattice, periodic.
        dipole: (columns, rows // 2 + 1, 3, 3), the spectrum of the dipole term, times its strength.
        anisotropy: as in `local_draw`.
        seed: the same.
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
    """M and L of anisotropy alone, each as six numbers (`_auxiliary_kernels.draw_local`)."""
    matrix = _positive(-2 * anisotropy)
    return matrix[_ROW, _COLUMN].astype(np.float32), _cholesky(matrix).astype(np.float32)


def convolution(board: Checkerboard, dipole: Array, anisotropy: Array) -> Spins:
    """M and L with a dipole term, (columns / 2, 24, lanes) (`_auxiliary_kernels.draw_convolved`)."""
    wanted = board.rows // 2 + 1
    operators = aligned_zeros(board.columns // 2, 24, -(-wanted // LANES) * LANES)
    operators[:, :, :wanted] = _operators(_positive(dipole - 2 * anisotropy), board.rows)
    return operators


def noise_states(seed: Seed) -> npt.NDArray[np.uint32]:
    """The random streams of a sample's noise as they begin, (4, STREAMS)."""
    return seed_words("auxiliary", seed, 4 * STREAMS).reshape(4, STREAMS)


def _operators(matrix: Array, rows: int) -> Array:
    """M and L as `draw_convolved` wants them, (columns / 2, 24, rows // 2 + 1), from M (columns, ., 3, 3).

    The factors: the transforms there and back are unnormalized and `_split` doubles (1 / (2 rows columns)); noise of
    unit variance per site has |g_k|^2 = rows columns, shared by real and imaginary part; and where k_y is its own
    mirror image only the real part is kept, half of the variance.
    """
    columns = matrix.shape[0]
    sites = rows * columns
    means = matrix[..., _ROW, _COLUMN] / (2 * sites)
    spreads = _cholesky(matrix) / np.sqrt(2 * sites)
    spreads[:, [0, rows // 2]] *= np.sqrt(2)
    # k_x and k_x + pi side by side.
    pairs = [part.reshape(2, columns // 2, -1, 6) for part in (means, spreads)]
    planes = [pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]]
    return np.concatenate(planes, axis=-1).transpose(0, 2, 1)


def _positive(form: Array) -> Array:
    """M = c - A for the quadratic form A, (..., 3, 3), with the smallest c on a grid that leaves no eigenvalue < 0."""
    largest = np.linalg.eigvalsh(form).max()
    c = np.ceil(max(largest, 0) * _GRID - _ROUNDING) / _GRID
    positive: Array = c * np.eye(3) - form
    return positive


def _cholesky(matrix: Array) -> Array:
    """L with L L^T = M, by the six numbers of its lower triangle; for M that may be singular, (..., 3, 3)."""
    lower = np.zeros_like(matrix)
    for column in range(3):
        rest = matrix[..., column] - np.einsum("...ij,...j->...i", lower, lower[..., column, :])
        pivot = np.sqrt(np.maximum(rest[..., column], 0))
        lower[..., column] = np.where(pivot[..., None] > 1e-7, rest / np.maximum(pivot, 1e-7)[..., None], 0)
        lower[..., :column, column] = 0
    return lower[..., _ROW, _COLUMN]


def _noise(shape: tuple[int, ...], seed: Seed) -> tuple[Spins, Callable[[float], None]]:
    """An array for normal numbers, and what fills it anew unless the temperature is zero."""
    size = int(np.prod(shape))
    flat = aligned_zeros(-(-size // (2 * STREAMS)) * 2 * STREAMS)
    states = noise_states(seed)

    def fill(temperature: float) -> None:
        if temperature > 0:
            gaussians(states, flat)

    return flat[:size].reshape(shape), fill
