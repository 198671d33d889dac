"""Linear and iterative estimates of fine spins that networks start from, as PyTorch modules.

They are those of `rayspin.reconstruction`, differentiable and batched.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rayspin.models.degradation import Degrade, Restore
from rayspin.models.layers import unit
from rayspin.physics import Degradation
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Problem
from rayspin.reconstruction.spectrum import Isotropy, covariance
from rayspin.reconstruction.wiener import Wiener, WienerEM

StartName = Literal["fourier", "wiener", "wiener-em"]
"""The linear estimates, as in `rayspin.reconstruction`."""

# Wave numbers of a stored spectrum, radians per site: multiples of the smallest one of 512 sites, which include those
# of lattices of 64, 128 and 256 sites, up to the largest on any lattice.
_WAVE_NUMBERS = 2 * np.pi / 512 * np.arange(364)

# Shift of the spins by which the error of a start is estimated, in coarse pixels.
_SHIFT = 0.5

# Below this, an error or a deviation from unit length is rounding.
_SMALLEST = 1e-6


class WienerFilter(nn.Module):
    """The Wiener filter of an isotropic spectrum, (N, 3, Y, X) to (N, 3, scale Y, scale X), on any lattice.

    Args:
        degradation: the degradation of the coarse spins.
        scale: fine sites per coarse pixel along each axis.

    Attributes:
        spectrum: the spectrum as a table over |k|, (wave numbers, 3, 3), in the basis of `reconstruction.Isotropy`.
    """

    spectrum: Tensor

    def __init__(self, degradation: Degradation, scale: int) -> None:
        super().__init__()
        self._degradation, self._scale = degradation, scale
        self._placed: dict[Any, tuple[Tensor, ...]] = {}
        self.register_buffer("spectrum", torch.eye(3).repeat(len(_WAVE_NUMBERS), 1, 1))

    def learn(self, coarse_NCYX: npt.NDArray[np.float32], fine_NCYX: npt.NDArray[np.float32] | None = None) -> None:
        """Take the spectrum from fine spins or, without them, from coarse ones by expectation maximization.

        Args:
            coarse_NCYX: (N, 3, Y, X) coarse spins.
            fine_NCYX: (N, 3, scale Y, scale X) fine spins.
        """
        problem = Problem(coarse_NCYX[:, :, None], self._operator(coarse_NCYX.shape[-2:]))
        isotropy = Isotropy(problem.operator.shape)
        table = isotropy.table(WienerEM().learn(problem)[0] if fine_NCYX is None else covariance(fine_NCYX))
        self.spectrum.copy_(torch.from_numpy(_resampled(table, isotropy.wave_numbers, _WAVE_NUMBERS)))
        self._placed.clear()

    def forward(self, coarse_NCYX: Tensor) -> Tensor:
        """The filtered spins, of any length."""
        analyze_Y, analyze_X, gain, synthesize_Y, synthesize_X = self._on(coarse_NCYX)
        # Fourier transforms as products of real matrices, stacked (real, imaginary): faster than complex ones on these
        # sizes, and exportable to ONNX.
        rows = analyze_Y[:, None] @ coarse_NCYX[:, None]
        real = rows[:, 0] @ analyze_X[0] - rows[:, 1] @ analyze_X[1]
        imaginary = rows[:, 0] @ analyze_X[1] + rows[:, 1] @ analyze_X[0]
        waves = torch.cat([real, imaginary], dim=1)
        filtered = (gain * waves[:, None]).sum(dim=2)
        real, imaginary = filtered[:, :3], filtered[:, 3:]
        rows_real = synthesize_Y[0] @ real - synthesize_Y[1] @ imaginary
        rows_imaginary = synthesize_Y[0] @ imaginary + synthesize_Y[1] @ real
        return rows_real @ synthesize_X[0] - rows_imaginary @ synthesize_X[1]

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        self._placed.clear()
        super()._load_from_state_dict(*arguments, **options)

    def _operator(self, pixels: tuple[int, ...]) -> Operator:
        return Operator(self._degradation, (self._scale * pixels[0], self._scale * pixels[1]), self._scale)

    def _on(self, like: Tensor) -> tuple[Tensor, ...]:
        key = (like.shape[-2:], like.device, like.dtype)
        if key not in self._placed:
            matrices = self._matrices(self._operator(like.shape[-2:]))
            self._placed[key] = tuple(torch.from_numpy(m).to(device=like.device, dtype=like.dtype) for m in matrices)
        return self._placed[key]

    def _matrices(self, operator: Operator) -> tuple[npt.NDArray[np.float64], ...]:
        """Matrices that analyze rows and columns, the gain (6, 6, Y, X / 2 + 1), and matrices that synthesize them."""
        (rows, columns), scale = operator.shape, operator.scale
        isotropy = Isotropy(operator.shape)
        table = _resampled(self.spectrum.detach().cpu().numpy(), _WAVE_NUMBERS, isotropy.wave_numbers)
        # The filter is linear and commutes with shifts by coarse pixels: the responses to three pulses determine it.
        pulses_NCYX = np.zeros((3, 3, *operator.coarse_shape), np.float32)
        pulses_NCYX[[0, 1, 2], [0, 1, 2], 0, 0] = 1
        response = Wiener().solve(Problem(pulses_NCYX[:, :, None], operator, spectrum_YXCC=isotropy.spread(table)))
        factors = np.fft.rfft2(response.astype(np.float64)).swapaxes(0, 1)
        gain = np.concatenate(
            [
                np.concatenate([factors.real, -factors.imag], axis=1),
                np.concatenate([factors.imag, factors.real], axis=1),
            ]
        )
        half = columns // 2 + 1
        # A wave of the half spectrum stands for its conjugate too, unless it is real.
        weight = np.full(half, 2.0)
        weight[0] = 1
        if columns % 2 == 0:
            weight[-1] = 1
        analyze_Y = _waves(rows, rows, np.arange(0, rows, scale), -1)
        analyze_X = _waves(columns, half, np.arange(0, columns, scale), -1).swapaxes(1, 2)
        synthesize_Y = _waves(rows, rows, np.arange(rows), 1).swapaxes(1, 2) / rows
        synthesize_X = _waves(columns, half, np.arange(columns), 1) * weight[:, None] / columns
        return analyze_Y.copy(), analyze_X.copy(), gain, synthesize_Y.copy(), synthesize_X


class Projections(nn.Module):
    """Alternating projections, S <- normalize(S + U (c - D S)), with the Fourier inverse U of the degradation D.

    Args:
        degradation: the degradation D.
        scale: fine sites per coarse pixel along each axis.
        iterations: number of repetitions.
    """

    def __init__(self, degradation: Degradation, scale: int, iterations: int) -> None:
        super().__init__()
        self.degrade, self.restore = Degrade(degradation, scale), Restore(degradation, scale)
        self.iterations = iterations

    def forward(self, fine_NCYX: Tensor, coarse_NCYX: Tensor) -> Tensor:
        """The last spins that agree with the coarse ones, before they are normalized.

        Args:
            fine_NCYX: (N, 3, scale Y, scale X) spins to start from.
            coarse_NCYX: (N, 3, Y, X) coarse spins c.
        """
        for _ in range(self.iterations):
            spins_NCYX = unit(fine_NCYX)
            fine_NCYX = spins_NCYX + self.restore(coarse_NCYX - self.degrade(spins_NCYX))
        return fine_NCYX


class Start(nn.Module):
    """An estimate of fine spins, and of its errors, from coarse spins.

    Args:
        name: the linear estimate.
        projections: number of alternating projections after it.
        degradation: the degradation of the coarse spins.
        scale: fine sites per coarse pixel along each axis.

    Attributes:
        deviation: root mean square of a component of the deviation from unit length, over the training data.
        error: root mean square of a component of the error on spins that the start itself estimated, shifted by half a
            coarse pixel and degraded again.
    """

    deviation: Tensor
    error: Tensor

    def __init__(self, name: StartName, projections: int, degradation: Degradation, scale: int) -> None:
        super().__init__()
        self.name = name
        self.linear = (Restore if name == "fourier" else WienerFilter)(degradation, scale)
        self.projections = Projections(degradation, scale, projections)
        self.register_buffer("deviation", torch.ones(()))
        self.register_buffer("error", torch.ones(()))

    @torch.no_grad()
    def learn(self, coarse_NCYX: Tensor, fine_NCYX: Tensor) -> None:
        """Learn from training spins what the estimate needs, and its errors.

        Args:
            coarse_NCYX: (N, 3, Y, X) coarse spins.
            fine_NCYX: (N, 3, scale Y, scale X) fine spins; only "wiener" uses them.
        """
        if isinstance(self.linear, WienerFilter):
            self.linear.learn(coarse_NCYX.numpy(), fine_NCYX.numpy() if self.name == "wiener" else None)
        deviations, errors = [], []
        degrade = self.projections.degrade
        for some_NCYX in torch.split(coarse_NCYX[:_MEASURED], _PIECE):
            fine_NCYX = self(some_NCYX)
            unit_NCYX = unit(fine_NCYX)
            shift = max(1, int(_SHIFT * degrade.scale))
            moved_NCYX = unit_NCYX.roll((shift, shift), dims=(2, 3))
            again_NCYX = unit(self(degrade(moved_NCYX)))
            deviations.append((fine_NCYX - unit_NCYX).square().mean())
            errors.append((again_NCYX - moved_NCYX).square().mean())
        self.deviation.copy_(_root_mean(deviations))
        self.error.copy_(_root_mean(errors))

    def forward(self, coarse_NCYX: Tensor) -> Tensor:
        """Fine spins (N, 3, scale Y, scale X) of any length for coarse ones (N, 3, Y, X)."""
        fine_NCYX: Tensor = self.projections(self.linear(coarse_NCYX), coarse_NCYX)
        return fine_NCYX


# Number of fields that errors are measured on, and in one piece.
_MEASURED, _PIECE = 32, 8


def _root_mean(squares: list[Tensor]) -> Tensor:
    root = torch.stack(squares).mean().sqrt()
    return torch.where(root > _SMALLEST, root, torch.ones_like(root))


def _waves(sites: int, count: int, places: npt.NDArray[np.int64], sign: int) -> npt.NDArray[np.float64]:
    """Real and imaginary parts of exp(sign 2 pi i k x / sites) for waves k < count at places x, (2, count, places)."""
    phases = 2 * np.pi / sites * (np.outer(np.arange(count), places) % sites)
    return np.stack([np.cos(phases), sign * np.sin(phases)])


def _resampled(
    table: npt.NDArray[np.float32], given: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """Interpolate a table (wave numbers, 3, 3) linearly; beyond its end its last entry continues."""
    columns = [np.interp(wanted, given, column) for column in table.reshape(len(given), 9).T]
    return np.stack(columns, axis=-1).reshape(len(wanted), 3, 3).astype(np.float32)
