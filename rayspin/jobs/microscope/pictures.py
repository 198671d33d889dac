"""Pictures of a microscope as spins, and the truth if they are synthetic, in a file of the run that made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.config import build
from rayspin.errors import InputError
from rayspin.inputs import DAMAGED_ARRAYS
from rayspin.physics import Degradation, Hamiltonian
from rayspin.rundir import replacing

NAME = "pictures.npz"
"""Name of the file in the folder of a run."""

Spins = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pictures:
    """Pictures of equal size.

    Attributes:
        coarse_NYXC: measured spins, (N, Y, X, 3), or (N, Y, X, 1) for S_z alone.
        known_NYX: whether each pixel is known.
        scale: sites of the fine spins per pixel along each axis.
        held_out: side of the square in the middle of each picture that trainings don't use, pixels.
        degradation: the degradation of the fine spins, as far as it is known.
        hamiltonian: the Hamiltonian of the fine spins, if it is known.
        truth: fine spins "spins", (N, scale Y, scale X, 3), and, at scale 1, their exact effective field "field", J, if
            the pictures are synthetic.
    """

    coarse_NYXC: Spins
    known_NYX: npt.NDArray[np.bool_]
    scale: int
    held_out: int
    degradation: Degradation
    hamiltonian: Hamiltonian | None
    truth: Mapping[str, Spins]

    def __len__(self) -> int:
        return len(self.coarse_NYXC)

    @property
    def bytes(self) -> int:
        """Size in memory and in the file, bytes."""
        return sum(values.nbytes for values in (self.coarse_NYXC, self.known_NYX, *self.truth.values()))

    @property
    def digest(self) -> str:
        """SHA-256 of the measured spins and the square that is held out, in hexadecimal."""
        digest = hashlib.sha256(repr((self.coarse_NYXC.shape, self.held_out)).encode())
        for array in (np.ascontiguousarray(self.coarse_NYXC, "<f4"), self.known_NYX):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def square(self) -> tuple[slice, slice]:
        """Return the rows and columns of the square that is held out, or all if none is."""
        rows, columns = self.coarse_NYXC.shape[1:3]
        side = self.held_out
        if not side:
            return slice(0, rows), slice(0, columns)
        row, column = (rows - side) // 2, (columns - side) // 2
        return slice(row, row + side), slice(column, column + side)

    def fine(self, part: slice) -> slice:
        """Return the fine sites of some pixels along an axis."""
        return slice(part.start * self.scale, part.stop * self.scale)

    def middle(self, side: int) -> Pictures:
        """Return the squares of `side` pixels in the middle of the pictures, of which none is held out."""
        whole = replace(self, held_out=side)
        rows, columns = whole.square()
        truth = {name: values[:, self.fine(rows), self.fine(columns)] for name, values in self.truth.items()}
        return replace(
            self,
            coarse_NYXC=self.coarse_NYXC[:, rows, columns],
            known_NYX=self.known_NYX[:, rows, columns],
            held_out=0,
            truth=truth,
        )

    def trainable(self) -> npt.NDArray[np.bool_]:
        """Return whether each pixel is known and not in a square that is held out, (N, Y, X)."""
        usable_NYX = self.known_NYX.copy()
        if self.held_out:
            usable_NYX[:, *self.square()] = False
        return usable_NYX

    def save(self, folder: Path) -> None:
        """Write the file into the folder of a run.

        Raises:
            MachineError: the system refuses to write.
        """
        facts = {
            "scale": self.scale,
            "held_out": self.held_out,
            "degradation": self.degradation.to_table(),
            "hamiltonian": None if self.hamiltonian is None else self.hamiltonian.to_table(),
        }
        truth: dict[str, Any] = {f"true_{name}": values for name, values in self.truth.items()}
        with replacing(folder / NAME) as temporary, temporary.open("wb") as stream:
            np.savez(stream, coarse=self.coarse_NYXC, known=self.known_NYX, facts=json.dumps(facts), **truth)

    @classmethod
    def load(cls, folder: Path) -> Pictures:
        """Read the file of a run.

        Raises:
            InputError: the folder has no such file, or it is damaged.
        """
        path = folder / NAME
        if not path.is_file():
            remedy = 'give the folder of a finished job of kind "microscope-images"'
            raise InputError(str(folder), "has no pictures of a microscope", remedy)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(str(arrays.pop("facts")))
            hamiltonian = facts["hamiltonian"]
            return cls(
                arrays.pop("coarse"),
                arrays.pop("known"),
                int(facts["scale"]),
                int(facts["held_out"]),
                build(Degradation, facts["degradation"], str(path)),
                None if hamiltonian is None else build(Hamiltonian, hamiltonian, str(path)),
                {name.removeprefix("true_"): values for name, values in arrays.items()},
            )
        except DAMAGED_ARRAYS as error:
            raise InputError(
                str(path), f"is damaged ({error!r})", "run the job that made it again, in a new folder"
            ) from None
