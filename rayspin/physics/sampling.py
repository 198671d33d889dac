"""One lattice at work: its spins, its random streams, and the Monte Carlo moves on them."""

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

# At this temperature the spins are random to float32, whatever the field.
HOT = 1e9

# What the kernels and the auxiliary field know.
_TERMS = frozenset({"exchange", "dmi", "dipole", "anisotropy", "external_field"})

# Updates of a spin for one draw of the auxiliary field: with dipole, a draw costs as much as five updates of all.
UPDATES_PER_DRAW = 5


class Moves(ABC):
    """What samplers on CPUs and GPUs share: when the auxiliary field is drawn, and how spins lie in memory.

    Args:
        hamiltonian: the energy; or the name of a preset.
        size: sites along each side, or (rows, columns); even where the lattice is periodic.

    Raises:
        InputError: a Hamiltonian or size that won't do, or a term that no kernel knows.

    Attributes:
        hamiltonian: the energy, with the external field of the moment.
        sweeps: of Monte Carlo, done so far; reflections belong to a heat-bath sweep.
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
        # Bulk DMI is the interfacial one for spins turned by 90 degrees about z: the kernels know these.
        self._turned = hamiltonian.dmi_kind == "bulk"
        self._updates_since_draw = 0

    def heat_bath(self, temperatures: Array, over_relaxation: int = 0) -> None:
        """One heat-bath sweep at each temperature, (sweeps,), and so many sweeps of reflections after each."""
        whole("over_relaxation", over_relaxation, 0, MOST_REFLECTIONS)
        for some in self._between_draws(temperatures, max(1, UPDATES_PER_DRAW // (1 + over_relaxation))):
            self._heat_bath((1 / some).astype(np.float32), over_relaxation)

    @abstractmethod
    def _heat_bath(self, betas: npt.NDArray[np.float32], over_relaxation: int) -> None:
        """Sweeps in the site field as it is."""

    def set_external_field(self, field: Vector) -> None:
        """Replaces the Hamiltonian's external field from here on, in J."""
        self.hamiltonian = self.hamiltonian.with_updates(external_field=field)
        self._external = self._turn(np.array(self.hamiltonian.external_field)).astype(np.float32)
        self._updates_since_draw = 0

    def _between_draws(self, temperatures: Array, interval: int) -> Iterator[Array]:
        """The temperatures in parts, before each of which the auxiliary field is as fresh as it should be."""
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
        """The quadratic forms that the auxiliary field stands for, of spins as they lie here.

        Returns:
            That of the dipole term, if there is one, by its spectrum, (columns, rows // 2 + 1, 3, 3); that of the
            anisotropy, (3, 3).
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
    """A lattice of spins at some temperature, started from random directions.

    What it does next depends on (hamiltonian, size, seed) and the sweeps so far alone, however these were split into
    calls. Temperatures are in J/k_B.

    Args:
        hamiltonian: the energy; or the name of a preset.
        size: sites along each side, or (rows, columns); even where the lattice is periodic.
        seed: address of its randomness, the root seed first.
        start: spins (rows, columns, 3) to start from instead; of unit length.

    Raises:
        InputError: a size, seed or start that won't do, or a term that no kernel knows; likewise from its methods.

    Attributes:
        sweeps: done so far, those of quenches included.
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
        """Replaces the Hamiltonian's external field from here on, in J."""
        super().set_external_field(field)
        if self._draw is None:
            self._site[:] = self._external

    def metropolis(self, temperatures: Array, *, adapt: bool = True) -> float:
        """One Metropolis sweep at each temperature: slower than the heat bath, and a check on it.

        A trial is drawn uniformly from a cap around the spin.

        Args:
            temperatures: (sweeps,).
            adapt: widen or narrow the cap after each sweep, for half of the trials to be accepted; averages are
                exact only while it stays as it is.

        Returns:
            The fraction of trials accepted in these sweeps; 0 if there are none.
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
        """Turns spins into their fields until no |S x F| exceeds the tolerance, in J.

        Args:
            sweeps: how many at most.
            tolerance: 0 makes all sweeps.
            overshoot: how far spins, and the auxiliary field, go beyond where they are drawn to: 0 is the heat bath
                at T = 0, and the energy never rises; 0.95 relaxes soft modes 10 to 30 times faster.

        Returns:
            The largest |S x F| at the end; where the sweeps ran out, the largest that the last of them met.
        """
        whole("sweeps", sweeps, 0)
        number("tolerance", tolerance, 0, np.inf)
        number("overshoot", overshoot, 0, FARTHEST)
        done, largest = 0, np.inf
        while done < sweeps:
            count, largest = self._descend(sweeps - done, tolerance, overshoot)
            done += count
            if largest <= tolerance:
                # That was each spin's before its update, which turned others out of their fields again.
                largest = self._torque()
                if largest <= tolerance:
                    break
        self.sweeps += done
        return largest

    @property
    def spins(self) -> Spins:
        """The spins as they are, (rows, columns, 3), a copy."""
        return self._turn_back(self._board.unpack(self._spins))

    def _heat_bath(self, betas: npt.NDArray[np.float32], over_relaxation: int) -> None:
        arrays = self._spins, self._site, self._states, self._scratch
        heat_bath_sweeps(*arrays, self._board.key, self._couplings, betas, over_relaxation)

    def _descend(self, sweeps: int, tolerance: float, overshoot: float) -> tuple[int, float]:
        """Some sweeps at T = 0, at most so many; the number done, and the largest torque that one of them met."""
        if self._draw is None:
            return self._align(sweeps, tolerance, overshoot)
        before = self._site.copy()
        self._draw(self._spins, self._site, self._external, 0.0)
        self._updates_since_draw = 0
        # Only now are the torques in the site field those of the whole Hamiltonian.
        done, largest = self._align(1, tolerance, overshoot)
        self._site += np.float32(overshoot) * (self._site - before)
        more, _ = self._align(min(UPDATES_PER_DRAW, sweeps) - 1, 0.0, overshoot)
        return done + more, largest

    def _torque(self) -> float:
        """The largest |S x F| of the spins as they are, in J."""
        if self._draw is not None:
            self._draw(self._spins, self._site, self._external, 0.0)
        # An overshoot of -1 leaves spins where they are.
        return self._align(1, 0.0, -1.0)[1]

    def _align(self, sweeps: int, tolerance: float, overshoot: float) -> tuple[int, float]:
        """At most so many sweeps at T = 0; the number done, and the largest torque that the last met."""
        board = self._board
        limits = sweeps, np.float32(tolerance), np.float32(overshoot)
        done, largest = quench_sweeps(self._spins, self._site, board.key, self._couplings, *limits)
        return done, float(largest)

    def _auxiliary(self, hamiltonian: Hamiltonian, seed: Seed) -> Draw | None:
        """What draws the auxiliary field of dipole and anisotropy, if the Hamiltonian has them."""
        if not hamiltonian.dipole and not hamiltonian.anisotropy:
            return None
        dipole, anisotropy = self._forms(hamiltonian)
        if dipole is None:
            return local_draw(self._board, anisotropy, seed)
        return convolved_draw(self._board, dipole, anisotropy, seed)


def first_states(board: Checkerboard, seed: Seed) -> npt.NDArray[np.uint32]:
    """A sample's random streams of Monte Carlo as they begin, (4, board.block_size)."""
    return seed_words("anneal", seed, 4 * board.block_size).reshape(4, board.block_size)
