"""Monte Carlo sampling of one lattice: its spins, its random streams, and the moves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.physics._sweep_kernels import heat_bath_sweeps, metropolis_sweeps, quench_sweeps
from rayspin.physics.arguments import FARTHEST, MOST_REFLECTIONS, lattice, number, sweep_temperatures, unit_spins, whole
from rayspin.physics.auxiliary import Draw, convolved_draw, local_draw
from rayspin.physics.checkerboard import Checkerboard, Spins, aligned_zeros
from rayspin.physics.dipole import dipole_spectrum
from rayspin.physics.field import require_known
from rayspin.physics.hamiltonian import Hamiltonian, HamiltonianLike, Vector
from rayspin.rng import Seed, seed_words

Array = npt.NDArray[np.float64]

# Temperature, J/k_B, at which spins are random within float32 in any valid field.
HOT = 1e9

# Terms that the kernels and the auxiliary field implement.
_TERMS = frozenset({"exchange", "dmi", "dipole", "anisotropy", "external_field"})

# Updates of every spin per draw of the auxiliary field. With a dipole term, a draw costs as much as five updates.
UPDATES_PER_DRAW = 5


class Moves(ABC):
    """Base of the samplers on CPUs and GPUs: when the auxiliary field is drawn, and how spins are stored.

    Args:
        hamiltonian: a Hamiltonian, the name of a preset, or a table of fields.
        size: sites along each side, or (rows, columns); even for a periodic boundary.

    Raises:
        InputError: an argument is invalid, or the Hamiltonian has a term that the kernels don't implement.

    Attributes:
        hamiltonian: the Hamiltonian, with the current external field.
        sweeps: Monte Carlo sweeps done; the reflections after a heat-bath sweep belong to it.
    """

    _draw: Draw | None
    _spins: Any
    _site: Any

    def __init__(self, hamiltonian: HamiltonianLike, size: int | tuple[int, int]) -> None:
        hamiltonian = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
        require_known(hamiltonian, _TERMS, "the sampler")
        self.hamiltonian = hamiltonian
        self.sweeps = 0
        rows, columns = lattice(size, hamiltonian.boundary)
        self._board = Checkerboard(rows, columns, hamiltonian.boundary == "periodic")
        self._couplings = np.float32(hamiltonian.exchange), np.float32(hamiltonian.dmi)
        # The kernels implement interfacial DMI; bulk DMI is the same for spins rotated by 90 degrees about z.
        self._turned = hamiltonian.dmi_kind == "bulk"
        self._updates_since_draw = 0

    def heat_bath(self, temperatures: Array, over_relaxation: int = 0) -> None:
        """Perform one heat-bath sweep at each temperature.

        Args:
            temperatures: (sweeps,), J/k_B.
            over_relaxation: reflections of every spin about its field after each sweep.

        Raises:
            InputError: an argument is invalid.
        """
        whole("over_relaxation", over_relaxation, 0, MOST_REFLECTIONS)
        for some in self._between_draws(temperatures, max(1, UPDATES_PER_DRAW // (1 + over_relaxation))):
            self._heat_bath((1 / some).astype(np.float32), over_relaxation)

    @abstractmethod
    def _heat_bath(self, betas: npt.NDArray[np.float32], over_relaxation: int) -> None:
        """Perform sweeps in the current site field."""

    def set_external_field(self, field: Vector) -> None:
        """Replace the external field of the Hamiltonian.

        Args:
            field: (x, y, z), J.

        Raises:
            InputError: the field is invalid.
        """
        self.hamiltonian = self.hamiltonian.with_updates(external_field=field)
        self._external = self._turn(np.array(self.hamiltonian.external_field)).astype(np.float32)
        self._updates_since_draw = 0

    def _between_draws(self, temperatures: Array, interval: int) -> Iterator[Array]:
        """Yield the temperatures in parts, drawing the auxiliary field before a part if a draw is due."""
        temperatures = sweep_temperatures(temperatures)
        self.sweeps += temperatures.size
        if self._draw is None:
            yield temperatures
            return
        done = 0
        while done < temperatures.size:
            if self._updates_since_draw == 0 or self._updates_since_draw >= interval:
                self._draw(self._spins, self._site, self._external, temperatures[done])
                self._updates_since_draw = 0
            part = temperatures[done : done + interval - self._updates_since_draw]
            yield part
            self._updates_since_draw += part.size
            done += part.size

    def _forms(self, hamiltonian: Hamiltonian) -> tuple[Array | None, Array]:
        """Return the quadratic forms that the auxiliary field replaces, in the frame of the stored spins.

        Returns:
            the spectrum of the dipole form, (columns, rows // 2 + 1, 3, 3), or None without a dipole term; and the form
                of the anisotropy, (3, 3).
        """
        axis = self._turn(hamiltonian.unit_axis)
        anisotropy = hamiltonian.anisotropy * np.outer(axis, axis)
        if not hamiltonian.dipole:
            return None, anisotropy
        xx, xy, yy, zz = hamiltonian.dipole * dipole_spectrum(self._board.rows, self._board.columns)
        if self._turned:
            xx, xy, yy = yy, -xy, xx
        none = np.zeros_like(xx)
        dipole = np.stack([xx, xy, none, xy, yy, none, none, none, zz], axis=-1).reshape(*xx.shape, 3, 3)
        return dipole, anisotropy

    def _turn(self, vectors: Array) -> Array:
        x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
        return np.stack([-y, x, z], axis=-1) if self._turned else vectors

    def _turn_back(self, vectors: Spins) -> Spins:
        x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
        return np.stack([y, -x, z], axis=-1) if self._turned else vectors


class Sampler(Moves):
    """Monte Carlo sampler of one lattice on a CPU.

    Its states depend only on (hamiltonian, size, seed, start) and the sequence of sweeps, not on how the sweeps are
    split into calls.

    Args:
        hamiltonian: a Hamiltonian, the name of a preset, or a table of fields.
        size: sites along each side, or (rows, columns); even for a periodic boundary.
        seed: address of the random streams, root seed first.
        start: initial unit spins (rows, columns, 3); None starts from random spins.

    Raises:
        InputError: an argument is invalid, or the Hamiltonian has a term that the kernels don't implement.

    Attributes:
        hamiltonian: the Hamiltonian, with the current external field.
        sweeps: sweeps done, including those of quenches.
    """

    def __init__(
        self,
        hamiltonian: HamiltonianLike,
        size: int | tuple[int, int],
        seed: Seed,
        start: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__(hamiltonian, size)
        streams = self._board.block_size
        self._states = aligned_zeros(4, streams).view(np.uint32)
        self._states[:] = first_states(self._board, seed)
        self._scratch = aligned_zeros(5, streams)
        self._draw = self._auxiliary(self.hamiltonian, seed)
        self._spins = self._board.zeros()
        self._site = aligned_zeros(2, 3) if self._draw is None else self._board.zeros()
        self._cap = np.float32(1)
        self.set_external_field(self.hamiltonian.external_field)
        if start is None:
            self._heat_bath(np.array([1 / HOT], np.float32), 0)
        else:
            shape = self._board.rows, self._board.columns, 3
            self._board.pack(self._turn(unit_spins(start, "start", shape)), self._spins)
            self._board.close(self._spins)

    def set_external_field(self, field: Vector) -> None:
        """Replace the external field of the Hamiltonian.

        Args:
            field: (x, y, z), J.

        Raises:
            InputError: the field is invalid.
        """
        super().set_external_field(field)
        if self._draw is None:
            self._site[:] = self._external

    def metropolis(self, temperatures: Array, *, adapt: bool = True) -> float:
        """Perform one Metropolis sweep at each temperature; it is slower than the heat bath and serves to check it.

        Trial spins are drawn uniformly from a cap around the spin.

        Args:
            temperatures: (sweeps,), J/k_B.
            adapt: adapt the size of the cap after each sweep so that half of the trials are accepted. Averages are
                exact only while it is fixed.

        Returns:
            the fraction of trials accepted in these sweeps; 0 without sweeps.

        Raises:
            InputError: a temperature is invalid.
        """
        before, accepted = self.sweeps, 0
        for some in self._between_draws(temperatures, UPDATES_PER_DRAW):
            betas = (1 / some).astype(np.float32)
            count, cap = metropolis_sweeps(
                self._spins, self._site, self._states, self._board.key, self._couplings, betas, self._cap, adapt
            )
            accepted += count
            self._cap = np.float32(cap)
        return accepted / max(1, self._board.rows * self._board.columns * (self.sweeps - before))

    def quench(self, sweeps: int, tolerance: float, overshoot: float = 0.0) -> float:
        """Align spins with their fields until no |S x F| exceeds the tolerance.

        Args:
            sweeps: maximum number of sweeps.
            tolerance: J; 0 performs all sweeps.
            overshoot: how far spins and the auxiliary field go beyond the values they approach. 0 is the heat bath at
                T = 0, and the energy never rises; 0.95 relaxes soft modes 10 to 30 times faster.

        Returns:
            the largest |S x F| at the end, J; if the sweeps are exhausted, the largest that the last of them measured.

        Raises:
            InputError: an argument is invalid.
        """
        whole("sweeps", sweeps, 0)
        number("tolerance", tolerance, 0, np.inf)
        number("overshoot", overshoot, 0, FARTHEST)
        done, largest = 0, np.inf
        while done < sweeps:
            count, largest = self._descend(sweeps - done, tolerance, overshoot)
            done += count
            if largest <= tolerance:
                # Each torque was measured before the update of its spin, which changed the fields of others.
                largest = self._torque()
                if largest <= tolerance:
                    break
        self.sweeps += done
        return largest

    @property
    def spins(self) -> Spins:
        """A copy of the current spins, (rows, columns, 3)."""
        return self._turn_back(self._board.unpack(self._spins))

    def _heat_bath(self, betas: npt.NDArray[np.float32], over_relaxation: int) -> None:
        arrays = self._spins, self._site, self._states, self._scratch
        heat_bath_sweeps(*arrays, self._board.key, self._couplings, betas, over_relaxation)

    def _descend(self, sweeps: int, tolerance: float, overshoot: float) -> tuple[int, float]:
        """Perform up to `sweeps` sweeps at T = 0; return the number done and the largest torque in one of them."""
        if self._draw is None:
            return self._align(sweeps, tolerance, overshoot)
        before = self._site.copy()
        self._draw(self._spins, self._site, self._external, 0.0)
        self._updates_since_draw = 0
        # Only in a newly drawn site field are the torques those of the whole Hamiltonian.
        done, largest = self._align(1, tolerance, overshoot)
        self._site += np.float32(overshoot) * (self._site - before)
        more, _ = self._align(min(UPDATES_PER_DRAW, sweeps) - 1, 0.0, overshoot)
        return done + more, largest

    def _torque(self) -> float:
        """Return the largest |S x F| of the current spins, J."""
        if self._draw is not None:
            self._draw(self._spins, self._site, self._external, 0.0)
        # An overshoot of -1 leaves the spins unchanged.
        return self._align(1, 0.0, -1.0)[1]

    def _align(self, sweeps: int, tolerance: float, overshoot: float) -> tuple[int, float]:
        """Perform up to `sweeps` sweeps at T = 0; return the number done and the largest torque in the last."""
        board = self._board
        limits = sweeps, np.float32(tolerance), np.float32(overshoot)
        done, largest = quench_sweeps(self._spins, self._site, board.key, self._couplings, *limits)
        return done, float(largest)

    def _auxiliary(self, hamiltonian: Hamiltonian, seed: Seed) -> Draw | None:
        """Return a function that draws the auxiliary field of dipole and anisotropy, or None without these terms."""
        if not hamiltonian.dipole and not hamiltonian.anisotropy:
            return None
        dipole, anisotropy = self._forms(hamiltonian)
        if dipole is None:
            return local_draw(self._board, anisotropy, seed)
        return convolved_draw(self._board, dipole, anisotropy, seed)


def first_states(board: Checkerboard, seed: Seed) -> npt.NDArray[np.uint32]:
    """Return the initial states of a sample's Monte Carlo streams, (4, board.block_size)."""
    return seed_words("anneal", seed, 4 * board.block_size).reshape(4, board.block_size)
