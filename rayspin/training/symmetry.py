"""Symmetries of a Hamiltonian, and random motions of fields by them and by translations.

A symmetry is a combined rotation or reflection of lattice and spins, with or without the reversal of all spins.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rayspin.physics import Hamiltonian, effective_field
from rayspin.rng import generator

Spins = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Symmetry:
    """An operation on spin fields: a reflection, followed by a rotation and the reversal of all spins.

    Spins are axial vectors: a reflection preserves their component along the normal of the mirror and reverses the
    other components.

    Attributes:
        mirror: reflect x to -x.
        turns: number of quarter turns, from x towards y.
        reversal: map S to -S.
    """

    mirror: bool
    turns: int
    reversal: bool

    @property
    def matrix(self) -> Spins:
        """The matrix that acts on each spin, (3, 3)."""
        mirrored = np.diag([1, -1, -1]) if self.mirror else np.eye(3)
        quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
        sign = -1 if self.reversal else 1
        matrix: Spins = (sign * np.linalg.matrix_power(quarter, self.turns) @ mirrored).astype(np.float32)
        return matrix

    def __call__(self, spins_YXC: Spins) -> Spins:
        """Apply the operation to a field (Y, X, 3); an odd number of turns exchanges rows and columns."""
        placed = spins_YXC[:, ::-1] if self.mirror else spins_YXC
        turned: Spins = np.rot90(placed, self.turns, axes=(1, 0)) @ self.matrix.T
        return turned

    def turned(self, spins_NYXC: Tensor) -> Tensor:
        """Apply the operation to fields (N, Y, X, 3), on their device."""
        placed = spins_NYXC.flip(2) if self.mirror else spins_NYXC
        return torch.rot90(placed, self.turns, dims=(2, 1)) @ torch.from_numpy(self.matrix.T.copy()).to(placed.device)


def symmetries(hamiltonian: Hamiltonian, shape: tuple[int, int]) -> tuple[Symmetry, ...]:
    """The rotations and reflections of the square, with or without spin reversal, that leave a Hamiltonian invariant.

    They are determined numerically: for random spins, the effective field of the transformed spins must equal the
    transformed effective field. All 16 operations are symmetries of exchange with interfacial DMI. Bulk DMI breaks the
    reflections; an external field along z breaks reversal and reflections, but not their product.

    Args:
        hamiltonian: the Hamiltonian, with periodic boundaries.
        shape: rows and columns of the lattice; quarter turns are excluded if they differ.
    """
    spins = np.random.default_rng(0).normal(size=(8, 8, 3)).astype(np.float32)
    field = effective_field(spins, hamiltonian)
    tolerance = 1e-4 * float(np.abs(field).max())
    candidates = itertools.starmap(Symmetry, itertools.product((False, True), range(4), (False, True)))
    return tuple(
        operation
        for operation in candidates
        if (shape[0] == shape[1] or operation.turns % 2 == 0)
        and np.allclose(effective_field(operation(spins), hamiltonian), operation(field), rtol=0, atol=tolerance)
    )


@dataclass(frozen=True)
class Motions:
    """Random motions of fields: a periodic translation by whole sites, and then a symmetry operation.

    Attributes:
        stage: name of the random streams.
        shape: rows and columns of the lattice.
        symmetries: the operations, one of which is drawn; if there are none, fields are translated only.
    """

    stage: str
    shape: tuple[int, int]
    symmetries: tuple[Symmetry, ...] = ()

    def moved(self, spins_YXC: Spins, address: tuple[int, ...]) -> Spins:
        """Return a field (Y, X, 3) after the motion of an address."""
        move, symmetry = self._drawn(address)
        moved = np.roll(spins_YXC, move, axis=(0, 1))
        return moved if symmetry is None else symmetry(moved)

    def all_moved(self, spins_NYXC: Tensor, addresses: Sequence[tuple[int, ...]]) -> Tensor:
        """Return fields (N, Y, X, 3) after the motions of their addresses, computed on their device."""
        moves, symmetries = zip(*map(self._drawn, addresses))
        size = torch.tensor(self.shape, device=spins_NYXC.device)
        origins_N2 = torch.from_numpy(np.stack(moves)).to(spins_NYXC.device)
        rows, columns = (
            (torch.arange(side, device=spins_NYXC.device) - origins_N2[:, axis, None]) % size[axis]
            for axis, side in enumerate(self.shape)
        )
        samples = torch.arange(len(addresses), device=spins_NYXC.device)
        moved_NYXC = spins_NYXC[samples[:, None, None], rows[:, :, None], columns[:, None, :]]
        for symmetry in set(symmetries) - {None}:
            chosen = torch.tensor([other == symmetry for other in symmetries], device=spins_NYXC.device)
            moved_NYXC[chosen] = symmetry.turned(moved_NYXC[chosen])
        return moved_NYXC

    def _drawn(self, address: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], Symmetry | None]:
        """Return the translation of an address, (2,), rows first, and its symmetry operation."""
        stream = generator(self.stage, address)
        move = stream.integers(self.shape)
        return move, self.symmetries[stream.integers(len(self.symmetries))] if self.symmetries else None
