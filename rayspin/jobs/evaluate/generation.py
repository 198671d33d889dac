"""Generate spins from random maps by the recursive process, by annealing and by the greedy method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pydantic

from rayspin.analysis import generation
from rayspin.analysis.figures import Panel, draw_experiment
from rayspin.analysis.frames import Frames, few_frames, write_frames
from rayspin.analysis.generation import generated, generation_rows, random_map
from rayspin.analysis.trajectory import Trajectory
from rayspin.jobs.evaluate.experiment import Experiment
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.evaluate.network import Case
from rayspin.jobs.tables import as_csv, mean, where
from rayspin.physics import AnnealSchedule
from rayspin.rundir import Summary, write_text


class Generation(Experiment):
    """Generation of spins from random maps, with energies, charges and seconds (2021 paper, Fig. 5).

    The samples are random maps. The dataset only gives the Hamiltonian of the energies. Sample i of each size uses the
    random stream (seed, i, size).
    """

    kind: Literal["generation"] = "generation"
    share_samples: ClassVar[int] = 1
    estimators: tuple[generation.Generator, ...] = pydantic.Field(  # type: ignore[assignment]
        default=("network", "exact", "annealing", "descent"), min_length=1
    )
    """As in the other experiments, and "annealing", the Monte Carlo method. "descent" is the greedy method."""
    samples: int = pydantic.Field(default=4, gt=0)
    """Number of random maps of each size."""
    sizes: tuple[Annotated[int, pydantic.Field(gt=0)], ...] = pydantic.Field(default=(64, 128, 256), min_length=1)
    """Sites along each side of the random maps."""
    iterations: int = pydantic.Field(default=50, gt=0)
    """Number of iterations of the recursive process."""
    schedule: AnnealSchedule = AnnealSchedule(sweeps=4000, quench_sweeps=1000, quench_overshoot=0.0)
    """Schedule of the annealing, with `quench_sweeps`."""
    sweeps: int = pydantic.Field(default=5000, gt=0)
    """Number of sweeps of the greedy method."""

    def check_network(self, network: Any, shape: tuple[int, int]) -> None:  # noqa: ARG002
        """Check that the network can be applied to each size.

        Args:
            network: config of the network.
            shape: (rows, columns) of the dataset; not used.

        Raises:
            InputError: the network does not fit a size.
        """
        for size in self.sizes:
            network.check_lattice(size)

    def timed_parts(self, samples: int) -> list[tuple[Self, float]]:
        """One part: the smallest size, since the cost is proportional to the number of sites."""
        least = min(self.sizes)
        return [(self.with_updates(sizes=(least,)), samples * sum((size / least) ** 2 for size in self.sizes))]

    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Return one row for each sample, size, estimator and recorded step."""
        return [
            row
            for sample in range(first, first + count)
            for size in self.sizes
            for estimator in self.estimators
            for row in generation_rows(self._generated(case, estimator, size, sample), estimator, size, sample)
        ]

    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write the table, and a picture of the first sample of the first size of at least 128, or the largest."""
        write_text(folder / "generation.csv", as_csv(rows))
        size = next((size for size in sorted(self.sizes) if size >= 128), max(self.sizes))
        pictures = [("random map", random_map((size, size), (self.seed, 0, size)))]
        kept, frames = few_frames(self.iterations), {}
        for estimator in self.estimators:
            made = self._generated(case, estimator, size, 0, kept)
            title = f"{estimator}, iteration {made.steps[-1]}"
            pictures.append((title, made.last[0]))
            recursive = estimator in {"network", "exact"}
            frames[estimator if recursive else title] = (
                np.stack([made.frames[step][0] for step in kept]) if recursive else made.last
            )
        write_frames(Frames("from a random map", "iteration", list(map(str, kept)), frames), folder, "random-map")
        draw_experiment([pictures], self._panels(where(rows, size=size)), folder / "generation.png")
        figures = {
            f"{size} x {size}, {estimator}": _row_text(where(rows, size=size, estimator=estimator))
            for size in self.sizes
            for estimator in self.estimators
        }
        return Summary("generation", figures, ("generation.png",))

    def _generated(
        self, case: Case, estimator: generation.Generator, size: int, sample: int, frames: Sequence[int] = ()
    ) -> Trajectory:
        return generated(
            estimator,
            case.network,
            case.hamiltonian,
            size,
            (self.seed, sample, size),
            iterations=self.iterations,
            isotropic=self.isotropic,
            schedule=self.schedule,
            sweeps=self.sweeps,
            frames=frames,
        )

    def _panels(self, rows: list[Row]) -> list[Panel]:
        energies: dict[str, tuple[list[int], list[float]]] = {}
        times: dict[str, tuple[list[float], list[float]]] = {}
        charges: dict[str, tuple[list[int], list[float]]] = {}
        for estimator in self.estimators:
            own = where(rows, estimator=estimator)
            steps = sorted({row["step"] for row in own} - {0})
            at = [where(own, step=step) for step in steps]
            energies[estimator] = steps, [mean(found, "energy") for found in at]
            times[estimator] = [mean(found, "seconds") for found in at], energies[estimator][1]
            charges[estimator] = steps, [sum(abs(row["charge"]) for row in found) / len(found) for found in at]
        return [
            Panel(energies, "iterations", "energy per site (J)", log_x=True, title="energy against iterations"),
            Panel(times, "seconds", "energy per site (J)", log_x=True, title="energy against time"),
            Panel(charges, "iterations", "|topological charge|", log_x=True, title="defects"),
        ]


def _row_text(rows: list[Row]) -> str:
    last = where(rows, step=max(row["step"] for row in rows))
    charge = sum(abs(row["charge"]) for row in last) / len(last)
    energy, seconds = mean(last, "energy"), mean(last, "seconds")
    return f"{energy:.4f} J, |charge| {charge:.1f}, after {last[0]['step']} in {seconds:.2g} s"
