"""The packed checkerboard that the kernels work on, and conversion to and from it (layout: `_lattice_kernels`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayspin.physics._lattice_kernels import LANES, START, close_rows
from rayspin.physics._sweep_kernels import BLOCK
from rayspin.physics.arguments import lattice

Spins = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Checkerboard:
    """A lattice whose two colors are packed into separate arrays.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        periodic: whether the boundary is periodic.

    Raises:
        InputError: a side is out of range, or is odd on a periodic lattice, which two colors can't cover.
    """

    rows: int
    columns: int
    periodic: bool

    def __post_init__(self) -> None:
        lattice((self.rows, self.columns), "periodic" if self.periodic else "open")

    @property
    def padded(self) -> int:
        """Sites of one color per row, rounded up to whole vectors."""
        return -(-self.columns // (2 * LANES)) * LANES

    @property
    def key(self) -> tuple[int, int, bool]:
        """The lattice as the kernels take it: (rows, columns, periodic)."""
        return self.rows, self.columns, self.periodic

    def zeros(self) -> Spins:
        """Return a packed vector field of zeros, (2, 3, n): color, component, packed site."""
        # One row more than the lattice has, for the sites beyond an open edge.
        return aligned_zeros(2, 3, START + (self.rows + 1) * (self.padded + LANES))

    @property
    def block_size(self) -> int:
        """Packed sites in the rows that `heat_bath_sweeps` processes together, with one random stream each."""
        return max(1, BLOCK // self.padded) * self.padded

    def pack(self, field: npt.ArrayLike, packed: Spins) -> None:
        """Write a field (rows, columns, 3), or an array that broadcasts to it, into a packed field."""
        source = np.broadcast_to(np.asarray(field, np.float32), (self.rows, self.columns, 3))
        for plain, view in self._parts(source, packed):
            view[:] = plain

    def close(self, packed: Spins) -> None:
        """Continue the rows of a packed field across the boundary, as sweeps require after `pack`."""
        close_rows(packed, self.key)

    def unpack(self, packed: Spins) -> Spins:
        """Return a packed field as an array (rows, columns, 3)."""
        field = np.empty((self.rows, self.columns, 3), np.float32)
        for plain, view in self._parts(field, packed):
            plain[:] = view
        return field

    def _parts(self, field: Spins, packed: Spins) -> Iterator[tuple[Spins, Spins]]:
        """Yield views of the same sites in both layouts, for each color and each parity of the row."""
        stride = self.padded + LANES
        rowwise = packed[:, :, START : START + self.rows * stride].reshape(2, 3, self.rows, stride)
        for color in range(2):
            for row in range(2):
                parity = (row + color) % 2
                count = (self.columns + 1 - parity) // 2
                yield field[row::2, parity::2], np.moveaxis(rowwise[color, :, row::2, :count], 0, -1)


def aligned_zeros(*shape: int) -> Spins:
    """Return float32 zeros that start at a cache line, because unaligned vectors would straddle two lines."""
    size = int(np.prod(shape))
    line = 64
    memory = np.zeros(4 * size + line, np.uint8)
    offset = -memory.ctypes.data % line
    return memory[offset : offset + 4 * size].view(np.float32).reshape(shape)
