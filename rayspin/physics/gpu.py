"""Annealing of many samples at the same time on a GPU, through CUDA, with the same bytes as on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics import _cuda, _cuda_kernels
from rayspin.physics._fourier_kernels import twiddles
from rayspin.physics.auxiliary import STREAMS, convolution, local_parts, noise_states
from rayspin.physics.checkerboard import Spins
from rayspin.physics.hamiltonian import Hamiltonian, HamiltonianLike, Vector
from rayspin.physics.sampling import HOT, UPDATES_PER_DRAW, Moves, first_states
from rayspin.rng import Seed

Counts = npt.NDArray[np.int32]
Torques = npt.NDArray[np.float32]


class BatchSampler(Moves):
    """A `Sampler` of many lattices on a GPU. Each lattice goes through the same states as on a CPU, bit for bit.

    Args:
        hamiltonian: a Hamiltonian, the name of a preset, or a table of fields.
        size: sites along each side, or (rows, columns); even for a periodic boundary.
        seeds: addresses of the samples' random streams, root seed first.

    Raises:
        InputError: an argument is invalid, or no GPU is available.
    """

    _draw: Callable[..., None] | None

    def __init__(self, hamiltonian: HamiltonianLike, size: int | tuple[int, int], seeds: Sequence[Seed]) -> None:
        check_available()
        super().__init__(hamiltonian, size)
        self._samples = len(seeds)
        self._lattice = *self._board.key, *self._couplings
        states = np.zeros((len(seeds), 2, 4, self._board.block_size), np.uint32)
        states[:, 0] = [first_states(self._board, seed) for seed in seeds]
        self._states = _cuda.on_gpu_memory(states)
        self._weak_rows = _cuda.zeros((len(seeds), self._board.rows), np.int32)
        self._half_sweeps = 0
        packed = self._board.zeros().shape
        self._spins = _cuda.zeros((len(seeds), *packed))
        self._draw = self._auxiliary(self.hamiltonian, seeds)
        # A field that is the same at all sites is stored as one vector, which the kernels read with a step of 0.
        self._step = 0 if self._draw is None else 1
        self._site = _cuda.zeros((len(seeds), *(packed if self._step else (2, 3, 1))))
        self.set_external_field(self.hamiltonian.external_field)
        self._heat_bath(np.array([1 / HOT], np.float32), 0)

    def set_external_field(self, field: Vector) -> None:
        """Replace the external field of the Hamiltonian.

        Args:
            field: (x, y, z), J.

        Raises:
            InputError: the field is invalid.
        """
        super().set_external_field(field)
        self._external = _cuda.on_gpu_memory(self._external)
        if self._draw is None:
            everywhere = np.broadcast_to(np.asarray(self._external)[:, None], self._site.shape)
            self._site.copy_to_device(np.ascontiguousarray(everywhere))

    def quench(self, sweeps: int, tolerance: float, overshoot: float = 0.0) -> Torques:
        """Quench every sample, as `Sampler.quench` does.

        Args:
            sweeps: maximum number of sweeps.
            tolerance: as in `Sampler.quench`, J.
            overshoot: as in `Sampler.quench`.

        Returns:
            the largest |S x F| of each sample, (N,), J.
        """
        done = np.zeros(self._samples, np.int32)
        largest = np.full(self._samples, np.inf, np.float32)
        while (left := np.where(largest <= tolerance, 0, sweeps - done).astype(np.int32)).any():
            count, met = self._descend(left, tolerance, overshoot)
            done += count
            largest[left > 0] = met[left > 0]
            # These torques were measured before the updates, which changed the fields of other spins.
            settled = (left > 0) & (largest <= tolerance)
            if settled.any():
                largest[settled] = self._torque(settled)[settled]
        return largest

    def synchronize(self) -> None:
        """Wait until all queued moves are done."""
        _cuda.cuda.synchronize()

    @property
    def spins(self) -> Spins:
        """A copy of the current spins, (N, rows, columns, 3)."""
        return np.stack([self._turn_back(self._board.unpack(packed)) for packed in self._spins.copy_to_host()])

    def _heat_bath(self, betas: npt.NDArray[np.float32], over_relaxation: int) -> None:
        self._launch(
            _cuda_kernels.heat_bath_sweeps,
            *(self._spins, self._site, self._states, self._weak_rows, self._half_sweeps, *self._lattice, self._step),
            *(_cuda.on_gpu_memory(betas), over_relaxation),
        )
        self._half_sweeps += 2 * betas.size

    def _descend(self, sweeps: Counts, tolerance: float, overshoot: float) -> tuple[Counts, Torques]:
        """Perform `Sampler._descend` on each sample, with at most (N,) sweeps."""
        if self._draw is None:
            return self._align(sweeps, tolerance, overshoot)
        before = _cuda.copy(self._site)
        active = np.minimum(sweeps, 1).astype(np.int32)
        self._draw(self._spins, self._site, self._external, 0.0, active)
        self._updates_since_draw = 0
        done, largest = self._align(active, tolerance, overshoot)
        arrays = self._site, before, np.float32(overshoot), _cuda.on_gpu_memory(active)
        self._launch(_cuda_kernels.extrapolate, *arrays)
        more, _ = self._align(np.minimum(UPDATES_PER_DRAW, sweeps) - active, 0.0, overshoot)
        return done + more, largest

    def _torque(self, settled: npt.NDArray[np.bool_]) -> Torques:
        """Return the largest |S x F| of the current spins, J; it is valid only for the settled samples."""
        active = settled.astype(np.int32)
        if self._draw is not None:
            self._draw(self._spins, self._site, self._external, 0.0, active)
        return self._align(active, 0.0, -1.0)[1]

    def _align(self, sweeps: Counts, tolerance: float, overshoot: float) -> tuple[Counts, Torques]:
        """Perform at most (N,) sweeps at T = 0; return the number done and the largest torques in the last sweep."""
        done, largest = _cuda.zeros((self._samples,), np.int32), _cuda.zeros((self._samples,))
        limits = _cuda.on_gpu_memory(sweeps.astype(np.int32)), np.float32(tolerance), np.float32(overshoot)
        self._launch(
            _cuda_kernels.quench_sweeps, self._spins, self._site, *self._lattice, self._step, *limits, done, largest
        )
        return done.copy_to_host(), largest.copy_to_host()

    def _launch(self, kernel: Any, *arguments: Any) -> None:
        kernel[self._samples, _cuda.THREADS](*arguments)

    def _auxiliary(self, hamiltonian: Hamiltonian, seeds: Sequence[Seed]) -> Callable[..., None] | None:
        """Return a function that draws the auxiliary field of dipole and anisotropy, or None without these terms.

        Its arguments are those of `auxiliary.Draw` and the active samples, (N,), 1 or 0; by default all are active.
        """
        if not hamiltonian.dipole and not hamiltonian.anisotropy:
            return None
        dipole, anisotropy = self._forms(hamiltonian)
        states = _cuda.on_gpu_memory(np.stack([noise_states(seed) for seed in seeds]))
        everyone = np.ones(self._samples, np.int32)
        if dipole is None:
            kernel, rest = _cuda_kernels.draw_local, [_cuda.on_gpu_memory(part) for part in local_parts(anisotropy)]
            noise = self._noise(int(np.prod(self._board.zeros().shape)))
        else:
            operators = convolution(self._board, dipole, anisotropy)
            half, _, lanes = operators.shape
            rows, columns, padded = self._board.rows, self._board.columns, self._board.padded
            tables = *twiddles(rows), *twiddles(half), *twiddles(columns)[1:]
            kernel = _cuda_kernels.draw_convolved
            rest = [
                _cuda.on_gpu_memory(operators.reshape(half, 24 * lanes)),
                *(rows, padded),
                _cuda.zeros((self._samples, 3, 2, half * 2 * lanes)),
                _cuda.zeros((self._samples, 4, max(rows * padded, half * 2 * lanes))),
                *(_cuda.on_gpu_memory(table) for table in tables),
            ]
            noise = self._noise(half * 12 * lanes)

        def draw(spins: Any, site: Any, external: Any, temperature: float, active: Counts = everyone) -> None:
            deviation = np.float32(np.sqrt(temperature))
            arguments = spins, external, site, states, noise, deviation, _cuda.on_gpu_memory(active)
            self._launch(kernel, *arguments, *rest)

        return draw

    def _noise(self, size: int) -> Any:
        """Allocate `size` normal numbers for each sample, rounded up to whole pairs of each stream."""
        return _cuda.zeros((self._samples, -(-size // (2 * STREAMS)) * 2 * STREAMS))


def available() -> bool:
    """Return whether a GPU is available; Numba's simulator counts as one."""
    return bool(_cuda.cuda.is_available())


def check_available() -> None:
    """Check that a GPU is available.

    Raises:
        InputError: no GPU is available.
    """
    if not available():
        raise InputError(
            "device", "no CUDA device is available", "on a node with a GPU, run: pip install 'rayspin[cuda]'"
        )


def samples_at_once(size: int | tuple[int, int]) -> int:
    """Return how many samples fit into the free memory of the GPU, at most 4096.

    Args:
        size: sites along each side, or (rows, columns).

    Raises:
        InputError: no GPU is available.
    """
    check_available()
    rows, columns = (size, size) if isinstance(size, int) else size
    # Spins, current and previous site fields, noise, spectra and buffers take 30 numbers per site and a third more as
    # padding.
    return max(1, int(min(4096, 0.8 * _cuda.free_memory() / (40 * 4 * rows * (columns + 64)))))
