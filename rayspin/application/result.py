"""The result of an application: its figures, and files of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin import __version__, figure_files
from rayspin.application.operations import Operation
from rayspin.errors import InputError
from rayspin.imaging.inputs import Input
from rayspin.imaging.ovf import write_ovf
from rayspin.metrics import correlation, mse
from rayspin.physics import energy
from rayspin.rundir import replacing
from rayspin.storage import write_grid

SUFFIXES = (".nc", ".npz", ".ovf", *figure_files.SUFFIXES)
"""Suffixes of the files of a result."""

_UNITS = {"field": "J", "spins": "1"}
_TITLE = 36
"""Number of characters in a line of a title."""


@dataclass(frozen=True)
class Application:
    """The result of an application.

    Attributes:
        operation: the operation that was applied.
        input: the input of the operation.
        values_NYXC: the field, J, or spins, (N, Y, X, 3), or (N, Y, X, 1) for S_z alone, float32.
        sites_per_pixel: pixels of the input per pixel of the image that was given.
        truth_NYXC: the exact result, if it is known.
    """

    operation: Operation
    input: Input
    values_NYXC: npt.NDArray[np.float32]
    sites_per_pixel: float = 1.0
    truth_NYXC: npt.NDArray[np.float32] | None = None

    def figures(self) -> dict[str, str]:
        """Return a description of the input and of the result, by name."""
        given, values, levels = self.input, self.values_NYXC, self.input.levels
        unknown = int((~given.known_NYX).sum())
        rows = {
            "operation": self.operation.title,
            "input": f"{given.name}, {len(values)} of {size_of(given.spins_NYXC)}, edges {given.edges}",
            **({"gray levels of S_z = -1, +1": f"{levels[0]:.4g}, {levels[1]:.4g}"} if levels else {}),
            **({"unknown pixels": str(unknown)} if unknown else {}),
            **({"sites per pixel": f"{self.sites_per_pixel:.4g}"} if self.sites_per_pixel != 1 else {}),
            "result": f"{self.operation.quantity}, {size_of(values)}",
        }
        hamiltonian = self.operation.hamiltonian
        if self.operation.quantity == "spins" and hamiltonian is not None and values.shape[-1] == 3:
            rows["energy per site"] = f"{energy(values, hamiltonian).mean():.5g} J"
        if self.truth_NYXC is not None:
            error = mse(values, self.truth_NYXC).mean()
            if self.operation.quantity == "field":
                share = error / np.square(self.truth_NYXC, dtype=np.float64).mean()
                rows["mean squared error of a component"] = f"{error:.3g} J^2, {share:.3g} of the mean square"
            else:
                rows["mean squared error of a component"] = f"{error:.3g}"
                rows["correlation"] = f"{correlation(values, self.truth_NYXC).mean():.6g}"
        return rows

    def save(self, path: str | Path) -> None:
        """Write the result to a file, atomically.

        Args:
            path: a NetCDF file (.nc) or .npz with the result and the input; an OVF file (.ovf) of the first image; or
                a picture (.png, .pdf, .svg) of input and result.

        Raises:
            InputError: the suffix is none of these.
            MachineError: the system refuses to write.
        """
        path = Path(path)
        check_suffix(path)
        match path.suffix:
            case ".nc":
                variables = {self.operation.quantity: self.values_NYXC, "input": self.input.spins_NYXC}
                write_grid(
                    path, {}, {name: _named(name, array) for name, array in variables.items()}, self._origin(), {}
                )
            case ".npz":
                arrays: dict[str, Any] = {self.operation.quantity: self.values_NYXC, "input": self.input.spins_NYXC}
                with replacing(path) as temporary, temporary.open("wb") as stream:
                    np.savez(stream, **arrays)
            case ".ovf":
                write_ovf(path, self.values_NYXC[0], self.operation.quantity)
            case _:
                self._draw(path)

    def _origin(self) -> dict[str, str]:
        """Return the provenance of the result."""
        return {
            "title": self.operation.title,
            "source": f"rayspin {__version__}",
            "units": _UNITS[self.operation.quantity],
            "input": self.input.name,
            "input_sha256": self.input.digest,
            "edges": self.input.edges,
            "sites_per_pixel": repr(self.sites_per_pixel),
            "hamiltonian": ""
            if self.operation.hamiltonian is None
            else json.dumps(self.operation.hamiltonian.to_table()),
            **self.operation.origin,
        }

    def _draw(self, path: Path) -> None:
        arrays = {"input": self.input.spins_NYXC, self.operation.title: self.values_NYXC}
        draw(arrays if self.truth_NYXC is None else arrays | {"exact": self.truth_NYXC}, path)


def draw(images: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Draw the first image of each array side by side.

    Args:
        images: spins or fields (N, Y, X, 3), or S_z alone (N, Y, X, 1), by the title of the panel.
        path: the picture to write (.png, .pdf or .svg).

    Raises:
        MachineError: the system refuses to write.
    """
    from rayspin.analysis.figures import draw_application  # importing matplotlib takes a second

    draw_application({fill(title, _TITLE): values[0] for title, values in images.items()}, path)


def check_suffix(path: Path) -> None:
    """Check that a result can be written to a file.

    Raises:
        InputError: its suffix is not in `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(str(path), "is a file of another kind", f"give one of {', '.join(SUFFIXES)}")


def _named(name: str, array: npt.NDArray[np.float32]) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    """Return the names of the axes of an array, those of the input by names of its own, and the array."""
    axes = ("y", "x", "component")
    return ("image", *(f"input_{axis}" if name == "input" else axis for axis in axes)), array


def size_of(values_NYXC: npt.NDArray[np.float32]) -> str:
    """Return rows, columns and components of images as text."""
    rows, columns, components = values_NYXC.shape[1:]
    return f"{rows} x {columns}, {'S_z alone' if components == 1 else 'three components'}"
