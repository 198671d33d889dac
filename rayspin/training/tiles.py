"""Tiles of coarse pictures as training samples of networks that reconstruct fine spins."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics import Hamiltonian
from rayspin.rng import generator
from rayspin.training.sources import Positions

Spins = npt.NDArray[np.float32]


class TilesConfig(Config):
    """Tiles of pictures as the samples of a training, which then uses these coarse pictures alone."""

    size: Annotated[int, Field(ge=2, le=2**10)] = 16
    """Side of a tile, pixels."""
    count: Annotated[int, Field(ge=1)] = 24000
    """Number of training tiles, at random positions; they overlap."""
    validation: Annotated[int, Field(ge=1)] = 64
    """Number of validation tiles, from the last columns of each picture, where no training tile is."""
    edge: Annotated[int, Field(ge=0)] = 2
    """Pixels at each edge of a tile that the loss doesn't compare: the network continues a tile periodically, and a
    tile isn't periodic."""

    @model_validator(mode="after")
    def _something_is_compared(self) -> Self:
        if 2 * self.edge >= self.size:
            raise InputError("edge", f"{self.edge} pixels at each edge leave nothing of {self.size}", "reduce it")
        return self

    def cut(
        self, coarse_NYXC: Spins, usable_NYX: npt.NDArray[np.bool_], scale: int, seed: int, pictures: str
    ) -> tuple[Tiles, Tiles]:
        """Return the training and the validation tiles of pictures.

        Args:
            coarse_NYXC: the pictures, (N, Y, X, 3), or (N, Y, X, 1) for S_z alone.
            usable_NYX: False where tiles may not have pixels.
            scale: fine sites per pixel along each axis.
            seed: root seed of the positions.
            pictures: digest of the pictures.

        Raises:
            InputError: there are too few positions.
        """
        places_NYX = _complete(usable_NYX, self.size)
        last = places_NYX.shape[2] - 1
        validation = np.argwhere(places_NYX & (np.arange(last + 1) == last))
        training = np.argwhere(places_NYX & (np.arange(last + 1) <= last - self.size))
        made = []
        for name, places, count in (("count", training, self.count), ("validation", validation, self.validation)):
            if len(places) < count:
                problem = f"{count} tiles requested, and there are {len(places)} places for them"
                raise InputError(
                    f"tiles.{name}", problem, "reduce it or the size of the tiles, or give larger pictures"
                )
            chosen = generator(f"tiles-{name}", (seed,)).permutation(len(places))[:count]
            made.append(Tiles(coarse_NYXC, places[chosen], self, scale, pictures))
        return made[0], made[1]


@dataclass(frozen=True)
class Tiles:
    """Tiles of pictures, as a `SampleSource` of coarse spins.

    Attributes:
        coarse_NYXC: the pictures, (N, Y, X, 3), or (N, Y, X, 1) for S_z alone.
        corners: (n, 3) picture, first row and first column of each tile.
        config: size of the tiles.
        scale: fine sites per pixel along each axis.
        pictures: digest of the pictures.
    """

    coarse_NYXC: Spins
    corners: Positions
    config: TilesConfig
    scale: int
    pictures: str

    @property
    def samples(self) -> Positions:
        """(n,) numbers of the tiles."""
        return np.arange(len(self.corners))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the fine lattice of a tile."""
        side = self.config.size * self.scale
        return side, side

    @property
    def one_component(self) -> bool:
        """Whether S_z alone was measured."""
        return bool(self.coarse_NYXC.shape[-1] == 1)

    @property
    def hamiltonian(self) -> Hamiltonian:
        """Raise an InputError: pictures don't tell the Hamiltonian."""
        raise InputError("tiles", "the Hamiltonian of pictures isn't known", "use an objective without it")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the pictures and the places of the tiles, in hexadecimal."""
        digest = hashlib.sha256(f"{self.pictures} {self.config}".encode())
        digest.update(np.ascontiguousarray(self.corners, "<i8").data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.corners)

    def read(self, positions: Positions) -> Spins:
        """Read tiles, (n, size, size, 3); components that were not measured are 0."""
        side, measured = self.config.size, self.coarse_NYXC.shape[-1]
        tiles_NYXC = np.zeros((len(positions), side, side, 3), np.float32)
        for tile_YXC, (picture, row, column) in zip(tiles_NYXC, self.corners[positions]):
            tile_YXC[..., 3 - measured :] = self.coarse_NYXC[picture, row : row + side, column : column + side]
        return tiles_NYXC


def _complete(usable_NYX: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.bool_]:
    """Return whether the square of a side that starts at a pixel is usable, (N, Y - side + 1, X - side + 1)."""
    if min(usable_NYX.shape[1:]) < side:
        raise InputError("tiles.size", f"{side} pixels are more than a picture has", "give a smaller size")
    sums = np.pad((~usable_NYX).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    inside: npt.NDArray[np.bool_] = (
        sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side] == 0
    )
    return inside
