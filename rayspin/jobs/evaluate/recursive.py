"""Run the recursive process of the 2021 paper on damaged spin configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.analysis.figures import draw_recursion
from rayspin.analysis.recursive import Recursion, external_field, recurse
from rayspin.jobs.evaluate.job import Case, Evaluation, Row, Spins
from rayspin.jobs.tables import as_csv
from rayspin.models import FieldNetConfig
from rayspin.physics import Hamiltonian, energy
from rayspin.physics.corruption import defect_rows, defect_square, noisy, out_of_plane_only
from rayspin.rundir import Summary, write_text

SHOWN_ITERATIONS = (0, 1, 3)
"""Iterations shown in the picture of a recursive process, in addition to the last one."""


class Recursive(Evaluation):
    """The recursive process of the 2021 paper on damaged spin configurations (Figs. 3, 4a, 5, 6)."""

    kind: Literal["recursive"] = "recursive"
    start: Literal["sample", "noise", "defect-rows", "defect-square", "out-of-plane", "random"] = "noise"
    """Initial spins: a sample of the dataset, unchanged ("sample"), damaged, or replaced by random spins ("random")."""
    noise_amplitude: float = pydantic.Field(default=2.5, ge=0)
    """Amplitude alpha of the noise, for `start = "noise"`: S' = (S + alpha R) / |S + alpha R|."""
    defect_width: int = pydantic.Field(default=32, gt=0)
    """Number of rows ("defect-rows") or side of the square ("defect-square")."""
    iterations: int = pydantic.Field(default=10, gt=0)
    """Number of iterations."""
    field: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """External field (x, y, z) that is added to the estimated field in every iteration, J."""

    def expects(self) -> type[FieldNetConfig]:
        """Return the config class of effective-field networks."""
        return FieldNetConfig

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Return the energies per site of each sample at every iteration and of the annealed sample, J."""
        clean_NYXC = case.read(first, count)
        recursion = self._recursion(case, clean_NYXC, first)
        annealed = np.asarray(energy(clean_NYXC, case.reader.hamiltonian))
        names = [f"energy_{index}" for index in range(len(recursion.energies_IN))]
        return [
            dict(zip(names, energies.tolist())) | {"annealed": float(own)}
            for energies, own in zip(recursion.energies_IN.T, annealed)
        ]

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write the energies of every sample at every iteration, and pictures of the first sample."""
        iterations = range(self.iterations + 1)
        table = [{f"energy_{n}": row[f"energy_{index}"] for n, row in enumerate(rows)} for index in iterations]
        write_text(folder / "energies.csv", as_csv(table))
        clean_NYXC = case.read(0, 1)
        recursion = self._recursion(case, clean_NYXC, 0)
        steps = [("sample", clean_NYXC[0]), *steps_shown(recursion, self.start)]
        energies = energies_shown(recursion, clean_NYXC[0], case.reader.hamiltonian)
        draw_recursion(steps, energies, folder / "recursion.png")
        means = np.array([np.mean(list(row.values())) for row in table])
        annealed = float(np.mean([row["annealed"] for row in rows]))
        return Summary(
            "recursive process",
            {"start": self.start, **energy_rows(means, annealed)},
            ("recursion.png",),
        )

    def _recursion(self, case: Case, clean_NYXC: Spins, first: int) -> Recursion:
        started_NYXC = np.stack([self._damaged(spins, first + index) for index, spins in enumerate(clean_NYXC)])
        modify = external_field(self.field) if any(self.field) else None
        return recurse(case.network, started_NYXC, self.iterations, case.reader.hamiltonian, modify=modify)

    def _damaged(self, spins_YXC: Spins, index: int) -> Spins:
        seed = (self.seed, index)
        match self.start:
            case "noise":
                return noisy(spins_YXC, self.noise_amplitude, seed)
            case "defect-rows":
                return defect_rows(spins_YXC, self.defect_width, seed)
            case "defect-square":
                return defect_square(spins_YXC, self.defect_width)
            case "out-of-plane":
                return out_of_plane_only(spins_YXC)
            case "random":
                return defect_rows(spins_YXC, len(spins_YXC), seed)
            case "sample":
                return spins_YXC


def steps_shown(recursion: Recursion, start: str) -> list[tuple[str, Spins]]:
    """Return (title, spins) of the first sample of a batch at some iterations; `start` is the title of iteration 0."""
    last = len(recursion.spins_INYXC) - 1
    shown = [*(index for index in SHOWN_ITERATIONS if index < last), last]
    titles = [f"after {index}" if index else start for index in shown]
    return [(title, recursion.spins_INYXC[index, 0]) for title, index in zip(titles, shown)]


def energies_shown(recursion: Recursion, clean_YXC: Spins, hamiltonian: Hamiltonian) -> dict[str, list[float]]:
    """Return curves of energies per site of the first sample of a batch.

    Args:
        recursion: recursive process of the batch.
        clean_YXC: annealed spins of the first sample, (Y, X, 3).
        hamiltonian: Hamiltonian of the energies.

    Returns:
        By name, the energy per site after each iteration and, as a constant, that of the annealed sample, J.
    """
    iterations = len(recursion.energies_IN)
    return {
        "recursive process": recursion.energies_IN[:, 0].tolist(),
        "annealed sample": [float(energy(clean_YXC, hamiltonian))] * iterations,
    }


def energy_rows(energies: npt.NDArray[np.float64], annealed: float) -> dict[str, str]:
    """Return the summary row of the mean energy per site at the first and the last iteration.

    Args:
        energies: (iterations + 1,) mean energy per site, J.
        annealed: mean energy per site of the annealed samples, J.
    """
    text = f"{energies[0]:.4f} to {energies[-1]:.4f} J (annealed {annealed:.4f} J)"
    return {f"energy after {len(energies) - 1} iterations": text}
